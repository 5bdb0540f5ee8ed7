"""One range of input addresses: its tables, their shape, and the registers that set them up (D8.2, D24.2).

What a processor supports comes from its ID registers (D24.2.81 and on). Where an ID register cannot be read,
the feature counts as supported: a running system enables only what it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from gdbplugin.aarch64.descriptor import DEFAULT_RULES, AddressFormat, AttributeRules, address_in
from gdbplugin.aarch64.registers import bits, decode, physical_address_bits
from gdbplugin.machine import Machine
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

_BLOCK_LEVELS = {
    (12, AddressFormat.BITS_48): frozenset({1, 2}),
    (12, AddressFormat.LPA2): frozenset({0, 1, 2}),
    (14, AddressFormat.BITS_48): frozenset({2}),
    (14, AddressFormat.LPA2): frozenset({1, 2}),
    (16, AddressFormat.BITS_48): frozenset({2}),
    (16, AddressFormat.LPA): frozenset({1, 2}),
}
"""The levels that may hold block descriptors, by granule width and address format."""
_CONTIGUOUS_ENTRIES = {12: {1: 16, 2: 16, 3: 16}, 14: {2: 32, 3: 128}, 16: {2: 32, 3: 32}}
"""Number of entries that the contiguous bit joins, by granule width and level (D8.6.1)."""


@dataclass(frozen=True)
class TranslationControl:
    """One range of input addresses and the tables that translate it: a TTBR and its fields of the TCR.

    All widths are in bits. `base` is the address in the TTBR. `upper` marks the range of TTBR1.
    `stage2_start_level` is the level of the root table that VTCR_EL2.SL0 gives; the root may then be up to
    16 adjacent tables. At stage 1 it is None: the widths decide. With a `defect` every access is a
    translation fault at level 0.
    """

    json_fields = (
        "name as register",
        "root_address as table",
        "first_address as first",
        "granule",
        "input_bits",
        "output_bits",
        "start_level",
        "walks_disabled",
        "defect",
    )

    name: str
    """The register that holds the table's address: a TTBR, or VTTBR_EL2."""
    base: int
    asid: int | None
    granule_bits: int
    input_bits: int
    """Width of input addresses, in bits."""
    output_bits: int
    """Width of output addresses, in bits."""
    upper: bool
    top_byte_ignored: bool = False
    walks_disabled: bool = False
    """TCR_ELx.EPDn."""
    hierarchical_disabled: bool = False
    hardware_access_flag: bool = False
    common_not_private: bool = False
    big_endian: bool = False
    address_format: AddressFormat = AddressFormat.BITS_48
    rules: AttributeRules = DEFAULT_RULES
    stage2_start_level: int | None = None
    defect: str | None = None
    """Why these register values cannot translate any address; null if they can."""

    @property
    def granule(self) -> int:
        """Size of the granule, in bytes."""
        return 1 << self.granule_bits

    @property
    def stride(self) -> int:
        """Number of input address bits that one level of tables resolves."""
        return self.granule_bits - 3

    @property
    def start_level(self) -> int:
        """The level of the root table: -1 for addresses of more than 48 bits by the 4 KiB granule."""
        if self.stage2_start_level is not None:
            return self.stage2_start_level
        return 4 - -(-(self.input_bits - self.granule_bits) // self.stride)

    @property
    def block_levels(self) -> frozenset[int]:
        """The levels that may hold block descriptors."""
        return _BLOCK_LEVELS[self.granule_bits, self.address_format]

    @property
    def root_address(self) -> int:
        """Physical address of the root table: the TTBR's base, aligned to the table's size (D8.2.5)."""
        return self.base & ~(self.table_bytes(self.start_level) - 1)

    @property
    def first_address(self) -> int:
        """The lowest input address of the range."""
        return (1 << 64) - (1 << self.input_bits) if self.upper else 0

    @cached_property
    def shifts(self) -> dict[int, int]:
        """`shift` of each level from -1 to 3."""
        return {level: self.granule_bits + (3 - level) * self.stride for level in range(-1, 4)}

    def shift(self, level: int) -> int:
        """Number of input address bits below the index of `level`: an entry spans 2**shift bytes."""
        return self.shifts[level]

    def table_bytes(self, level: int) -> int:
        """Size of a table of `level`; the root may be smaller than a granule or, at stage 2, larger."""
        if level == self.start_level:
            return 8 << (self.input_bits - self.shift(level))
        return 1 << self.granule_bits

    def contiguous_bytes(self, level: int) -> int | None:
        """Size of the block of memory that the contiguous bit joins; None for a level without that bit."""
        entries = _CONTIGUOUS_ENTRIES[self.granule_bits].get(level)
        return None if entries is None else entries << self.shift(level)

    def output_address(self, descriptor: int, low_bits: int) -> int:
        """The address in a descriptor, whose lowest `low_bits` bits are zero."""
        return address_in(descriptor, low_bits, self.address_format)

    @property
    def byte_order(self) -> Literal["big", "little"]:
        """The byte order of the descriptors."""
        return "big" if self.big_endian else "little"

    def covers(self, address: int) -> bool:
        """Whether the 64-bit `address` is an input address of this range."""
        top = 55 if self.top_byte_ignored else 63
        ones = (1 << (top - self.input_bits + 1)) - 1
        return (address >> self.input_bits) & ones == (ones if self.upper else 0)

    def with_table(self, base: int, asid: int | None) -> TranslationControl:
        """The same range with other tables: those of another task's address space."""
        return replace(self, base=base, asid=asid)


_MAX_ADDRESS_BITS = 52


@dataclass(frozen=True)
class Features:
    """The features of one core that a walk depends on.

    `physical_bits` is the width of its physical addresses. `granules` are the granules that it supports, by
    their width in bits (12, 14, 16), and `ds_granules` those for which it supports TCR_ELx.DS (FEAT_LPA2).
    `large_virtual_addresses` is FEAT_LVA, `small_tables` FEAT_TTST, `el0_can_be_disabled` FEAT_E0PD.
    """

    physical_bits: int = _MAX_ADDRESS_BITS
    granules: frozenset[int] = frozenset({12, 14, 16})
    ds_granules: frozenset[int] = frozenset({12, 14})
    large_virtual_addresses: bool = True
    small_tables: bool = True
    el0_can_be_disabled: bool = True


def read_features(machine: Machine, core: int) -> Features:
    """The features of a core."""
    found = Features()
    memory_model_0 = machine.register("ID_AA64MMFR0_EL1", core)
    if memory_model_0 is not None:
        fields = decode("ID_AA64MMFR0_EL1", memory_model_0)
        supported = {12: fields["TGran4"] != 15, 14: fields["TGran16"] != 0, 16: fields["TGran64"] != 15}
        with_ds = {12: fields["TGran4"] == 1, 14: fields["TGran16"] == 2}
        found = replace(
            found,
            physical_bits=min(physical_address_bits(fields["PARange"]), _MAX_ADDRESS_BITS),
            granules=frozenset(width for width, is_supported in supported.items() if is_supported),
            ds_granules=frozenset(width for width, is_supported in with_ds.items() if is_supported),
        )
    memory_model_2 = machine.register("ID_AA64MMFR2_EL1", core)
    if memory_model_2 is not None:
        fields = decode("ID_AA64MMFR2_EL1", memory_model_2)
        found = replace(
            found,
            large_virtual_addresses=fields["VARange"] != 0,
            small_tables=fields["ST"] != 0,
            el0_can_be_disabled=fields["E0PD"] != 0,
        )
    return found


# Values of ID_AA64MMFR0_EL1.TGran*_2: as at stage 1, not supported, supported with DS.
_AS_AT_STAGE_1, _NOT_SUPPORTED, _WITH_DS = 0, 1, 3


def read_stage2_features(machine: Machine, core: int) -> Features:
    """The features of a core at stage 2, which may support other granules than stage 1 (D24.2.81)."""
    features = read_features(machine, core)
    memory_model_0 = machine.register("ID_AA64MMFR0_EL1", core)
    if memory_model_0 is None:
        return features
    fields = decode("ID_AA64MMFR0_EL1", memory_model_0)
    granules, ds_granules = set(features.granules), set(features.ds_granules)
    for width, field in ((12, "TGran4_2"), (14, "TGran16_2"), (16, "TGran64_2")):
        support = fields[field]
        if support == _AS_AT_STAGE_1:
            continue
        (granules.discard if support == _NOT_SUPPORTED else granules.add)(width)
        (ds_granules.add if support == _WITH_DS else ds_granules.discard)(width)
    return replace(features, granules=frozenset(granules), ds_granules=frozenset(ds_granules))


_TG0_GRANULE_BITS = {0: 12, 1: 16, 2: 14}
_TG1_GRANULE_BITS = {1: 14, 2: 12, 3: 16}


@dataclass(frozen=True)
class RangeFields:
    """The fields of a TCR for one range, with the same names for every layout of a TCR.

    `number` is the n of TnSZ: 1 for the range of TTBR1, else 0.
    """

    number: int
    size_offset: int  # TnSZ
    granule: int  # TGn
    shareability: int  # SHn
    top_byte_ignored: bool  # TBIn
    walks_disabled: bool  # EPDn
    hierarchical_disabled: bool  # HPDn
    el0_disabled: bool  # E0PDn
    physical_size: int  # IPS or PS
    ds: bool  # DS

    @classmethod
    def of(cls, number: int, tcr: Mapping[str, int], two_ranges: bool) -> RangeFields:
        """The fields of range `number`, which is 0 where there is only one."""
        suffix = str(number) if two_ranges else ""
        return cls(
            number,
            size_offset=tcr[f"T{number}SZ"],
            granule=tcr[f"TG{number}"],
            shareability=tcr[f"SH{number}"],
            top_byte_ignored=bool(tcr[f"TBI{suffix}"]),
            walks_disabled=bool(tcr.get(f"EPD{number}", 0)),
            hierarchical_disabled=bool(tcr[f"HPD{suffix}"]),
            el0_disabled=bool(tcr.get(f"E0PD{number}", 0)),
            physical_size=tcr["IPS" if two_ranges else "PS"],
            ds=bool(tcr["DS"]),
        )

    def granule_bits(self, features: Features) -> int:
        """The granule's width.

        For a reserved or unsupported TGn it is the smallest supported one, as in QEMU: the manual leaves the
        choice to the implementation (D24.2, TCR_EL1.TG0).
        """
        chosen = (_TG1_GRANULE_BITS if self.number else _TG0_GRANULE_BITS).get(self.granule)
        if chosen in features.granules and chosen is not None:
            return chosen
        return min(features.granules, default=12)


def translation_control(
    fields: RangeFields, names: tuple[str, str], table: int, features: Features, rules: AttributeRules
) -> TranslationControl:
    """One range, from the value `table` of its TTBR and its fields of the TCR; `names` are the registers'."""
    name, tcr = names
    granule_bits = fields.granule_bits(features)
    address_format = _address_format(fields, granule_bits, features)
    smallest, largest = _size_offset_bounds(granule_bits, address_format, features)
    defect, size_offset = None, fields.size_offset
    if not smallest <= size_offset <= largest:
        defect = f"{tcr}.T{fields.number}SZ is {size_offset}, outside {smallest} to {largest}"
        # Nothing is translated, but the shape of the tables must still make sense.
        size_offset = min(max(size_offset, smallest), largest)
    widest = 48 if address_format is AddressFormat.BITS_48 else _MAX_ADDRESS_BITS
    return TranslationControl(
        name=name,
        base=_base(table, fields, address_format),
        asid=None,
        granule_bits=granule_bits,
        input_bits=64 - size_offset,
        output_bits=min(physical_address_bits(fields.physical_size), features.physical_bits, widest),
        upper=fields.number == 1,
        top_byte_ignored=fields.top_byte_ignored,
        walks_disabled=fields.walks_disabled,
        hierarchical_disabled=fields.hierarchical_disabled,
        common_not_private=bool(table & 1),
        address_format=address_format,
        rules=replace(
            rules,
            el0_disabled=fields.el0_disabled and features.el0_can_be_disabled,
            shareability=fields.shareability if address_format is AddressFormat.LPA2 else None,
        ),
        defect=defect,
    )


_MAX_CONCATENATED_BITS = 4
"""At stage 2 up to 2**4 tables may be concatenated as the root."""


def stage2_control(
    vtcr: Mapping[str, int], table: int, features: Features, rules: AttributeRules
) -> TranslationControl:
    """The range of stage 2, from the value `table` of VTTBR_EL2 and the fields of VTCR_EL2 (D8.2.3, D24.2).

    `features` are those of stage 2.
    """
    fields = RangeFields(
        0,
        size_offset=vtcr["T0SZ"],
        granule=vtcr["TG0"],
        shareability=vtcr["SH0"],
        top_byte_ignored=False,
        walks_disabled=False,
        hierarchical_disabled=True,  # Descriptors of stage 2 have no hierarchical attributes.
        el0_disabled=False,
        physical_size=vtcr["PS"],
        ds=bool(vtcr["DS"]),
    )
    control = translation_control(fields, ("VTTBR_EL2", "VTCR_EL2"), table, features, rules)
    level = _stage2_start_level(vtcr, control.granule_bits, control.address_format, features)
    defect = control.defect
    is_wide = control.address_format is not AddressFormat.BITS_48
    widest = features.physical_bits if is_wide else min(features.physical_bits, 48)
    if defect is None and control.input_bits > widest:
        defect = f"VTCR_EL2.T0SZ gives input addresses of {control.input_bits} bits, more than {widest}"
    if defect is None and level is None:
        defect = f"VTCR_EL2.SL0 is {vtcr['SL0']}, which is reserved here"
    if defect is None and level is not None:
        index_bits = control.input_bits - control.shift(level)
        if not 1 <= index_bits <= control.stride + _MAX_CONCATENATED_BITS:
            defect = f"VTCR_EL2.SL0 is {vtcr['SL0']}, which does not fit T0SZ {vtcr['T0SZ']}"
    return replace(control, stage2_start_level=None if defect else level, defect=defect)


_STAGE2_START_LEVELS = {12: {0: 2, 1: 1, 2: 0, 3: 3}, 14: {0: 3, 1: 2, 2: 1, 3: 0}, 16: {0: 3, 1: 2, 2: 1}}
"""By granule width and VTCR_EL2.SL0 (D24.2)."""
_SL0_2_PHYSICAL_BITS = {12: 44, 14: 42, 16: 44}
"""The least width of physical addresses with which SL0 may be 2, by granule width."""


def _stage2_start_level(
    vtcr: Mapping[str, int], granule_bits: int, address_format: AddressFormat, features: Features
) -> int | None:
    """The level at which stage 2 starts, from VTCR_EL2.SL0 and SL2; None for reserved values."""
    sl0 = vtcr["SL0"]
    is_lpa2 = address_format is AddressFormat.LPA2
    if granule_bits == 12 and is_lpa2 and vtcr["SL2"]:
        return -1 if sl0 == 0 else None
    if sl0 == 3 and not (features.small_tables if granule_bits == 12 else is_lpa2):
        return None
    if sl0 == 2 and features.physical_bits < _SL0_2_PHYSICAL_BITS[granule_bits]:
        return None
    return _STAGE2_START_LEVELS[granule_bits].get(sl0)


def _address_format(fields: RangeFields, granule_bits: int, features: Features) -> AddressFormat:
    if granule_bits == 16 and features.physical_bits >= _MAX_ADDRESS_BITS:
        return AddressFormat.LPA
    if granule_bits != 16 and fields.ds and granule_bits in features.ds_granules:
        return AddressFormat.LPA2
    return AddressFormat.BITS_48


_MAX_SIZE_OFFSET = 39
_MAX_SIZE_OFFSET_SMALL_TABLES = {12: 48, 14: 48, 16: 47}
_MIN_SIZE_OFFSET = 16
_MIN_SIZE_OFFSET_52_BITS = 12


def _size_offset_bounds(
    granule_bits: int, address_format: AddressFormat, features: Features
) -> tuple[int, int]:
    """The smallest and the largest TnSZ (D8.2.3)."""
    is_large = (
        features.large_virtual_addresses if granule_bits == 16 else address_format is AddressFormat.LPA2
    )
    largest = _MAX_SIZE_OFFSET_SMALL_TABLES[granule_bits] if features.small_tables else _MAX_SIZE_OFFSET
    return _MIN_SIZE_OFFSET_52_BITS if is_large else _MIN_SIZE_OFFSET, largest


_PHYSICAL_SIZE_52_BITS = 6


def _base(table: int, fields: RangeFields, address_format: AddressFormat) -> int:
    """The table's address in a TTBR; with 52-bit addresses, bits 51:48 are in bits 5:2 (D24.2, TTBR0_EL1)."""
    has_52_bits = address_format is AddressFormat.LPA2 or (
        address_format is AddressFormat.LPA and fields.physical_size >= _PHYSICAL_SIZE_52_BITS
    )
    if has_52_bits:
        return bits(table, 5, 2) << 48 | bits(table, 47, 6) << 6
    return bits(table, 47, 1) << 1
