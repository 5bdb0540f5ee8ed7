"""What a processor can do in translating addresses, by its ID registers (DDI 0487, D24.2.81 and on).

Where an ID register cannot be read, the feature counts as there: what the control registers ask for is
then believed, as a running system asks for what it has.
"""

from __future__ import annotations

from gdbplugin.aarch64.registers import decode, physical_address_bits
from gdbplugin.machine import Machine
from gdbplugin.records import dataclass, replace

WIDEST_ADDRESS_BITS = 52
_AS_AT_STAGE_1, _NO_GRANULE, _LONG_ADDRESSES = 0, 1, 3
"""Values of ID_AA64MMFR0_EL1.TGran*_2."""


@dataclass(frozen=True)
class Features:
    """The features of one core that a walk depends on.

    `physical_bits` is the width of its physical addresses; `granules` and `long_addresses` hold
    granules by their width in bits (12, 14, 16), the latter those that support TCR_ELx.DS.
    """

    physical_bits: int = WIDEST_ADDRESS_BITS
    granules: frozenset[int] = frozenset({12, 14, 16})
    long_addresses: frozenset[int] = frozenset({12, 14})
    large_virtual_addresses: bool = True
    small_tables: bool = True
    el0_can_be_disabled: bool = True


def read_features(machine: Machine, core: int) -> Features:
    """The features of a core."""
    model = machine.register("ID_AA64MMFR0_EL1", core)
    more = machine.register("ID_AA64MMFR2_EL1", core)
    found = Features()
    if model is not None:
        fields = decode("ID_AA64MMFR0_EL1", model)
        granules = {12: fields["TGran4"] != 15, 14: fields["TGran16"] != 0, 16: fields["TGran64"] != 15}
        long_addresses = {12: fields["TGran4"] == 1, 14: fields["TGran16"] == 2}
        found = Features(
            physical_bits=min(physical_address_bits(fields["PARange"]), WIDEST_ADDRESS_BITS),
            granules=frozenset(width for width, there in granules.items() if there),
            long_addresses=frozenset(width for width, there in long_addresses.items() if there),
        )
    if more is None:
        return found
    fields = decode("ID_AA64MMFR2_EL1", more)
    return Features(
        found.physical_bits,
        found.granules,
        found.long_addresses,
        large_virtual_addresses=fields["VARange"] != 0,
        small_tables=fields["ST"] != 0,
        el0_can_be_disabled=fields["E0PD"] != 0,
    )


def of_stage2(features: Features, machine: Machine, core: int) -> Features:
    """The same core's features as far as stage 2 is concerned: its granules may be others (D24.2.81)."""
    model = machine.register("ID_AA64MMFR0_EL1", core)
    if model is None:
        return features
    fields = decode("ID_AA64MMFR0_EL1", model)
    granules, long_addresses = set(features.granules), set(features.long_addresses)
    for width, field in ((12, "TGran4_2"), (14, "TGran16_2"), (16, "TGran64_2")):
        support = fields[field]
        if support == _AS_AT_STAGE_1:
            continue
        (granules.discard if support == _NO_GRANULE else granules.add)(width)
        (long_addresses.add if support == _LONG_ADDRESSES else long_addresses.discard)(width)
    return replace(features, granules=frozenset(granules), long_addresses=frozenset(long_addresses))


def hardware_updates(machine: Machine, core: int) -> int:
    """ID_AA64MMFR1_EL1.HAFDBS: 0 none, 1 the access flag, 2 the dirty state too; unknown counts as 2."""
    value = machine.register("ID_AA64MMFR1_EL1", core)
    return 2 if value is None else min(decode("ID_AA64MMFR1_EL1", value)["HAFDBS"], 2)
