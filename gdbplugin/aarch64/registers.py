"""System registers by named fields (DDI 0487, chapter D23).

Fields that are not in a register's table are reserved, or of no use to a reader of address
translation; `decode` leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gdbplugin.machine import Machine

Fields = Mapping[str, int]

_TTBR = {"ASID": (63, 48), "BADDR": (47, 1), "CnP": (0, 0)}

_TCR_EL1 = {
    "T0SZ": (5, 0),
    "EPD0": (7, 7),
    "IRGN0": (9, 8),
    "ORGN0": (11, 10),
    "SH0": (13, 12),
    "TG0": (15, 14),
    "T1SZ": (21, 16),
    "A1": (22, 22),
    "EPD1": (23, 23),
    "IRGN1": (25, 24),
    "ORGN1": (27, 26),
    "SH1": (29, 28),
    "TG1": (31, 30),
    "IPS": (34, 32),
    "AS": (36, 36),
    "TBI0": (37, 37),
    "TBI1": (38, 38),
    "HA": (39, 39),
    "HD": (40, 40),
    "HPD0": (41, 41),
    "HPD1": (42, 42),
    "DS": (59, 59),
}

_SCTLR_EL1 = {"M": (0, 0), "A": (1, 1), "C": (2, 2), "I": (12, 12), "WXN": (19, 19), "SPAN": (23, 23)}

_ID_AA64MMFR0_EL1 = {
    "PARange": (3, 0),
    "ASIDBits": (7, 4),
    "TGran16": (23, 20),
    "TGran64": (27, 24),
    "TGran4": (31, 28),
}

_ESR = {"EC": (31, 26), "IL": (25, 25), "ISS": (24, 0)}

_CPSR = {
    "N": (31, 31),
    "Z": (30, 30),
    "C": (29, 29),
    "V": (28, 28),
    "PAN": (22, 22),
    "D": (9, 9),
    "A": (8, 8),
    "I": (7, 7),
    "F": (6, 6),
    "nRW": (4, 4),
    "EL": (3, 2),
    "SP": (0, 0),
}

FORMATS: Mapping[str, Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "TTBR0_EL1": _TTBR,
        "TTBR1_EL1": _TTBR,
        "TCR_EL1": _TCR_EL1,
        "SCTLR_EL1": _SCTLR_EL1,
        "ID_AA64MMFR0_EL1": _ID_AA64MMFR0_EL1,
        "ESR_EL1": _ESR,
        "CPSR": _CPSR,
    }
)
"""Register name to its fields; each field as its highest and lowest bit."""

PHYSICAL_ADDRESS_BITS = (32, 36, 40, 42, 44, 48, 52, 56)
"""Meaning of TCR_EL1.IPS and of ID_AA64MMFR0_EL1.PARange, by their value."""


def bits(value: int, high: int, low: int) -> int:
    """Bits `high` down to `low` of `value`, both included."""
    return (value >> low) & ((1 << (high - low + 1)) - 1)


def decode(name: str, value: int) -> dict[str, int]:
    """The named fields of a register's value; KeyError for a register that has no table here."""
    return {field: bits(value, high, low) for field, (high, low) in FORMATS[name].items()}


def physical_address_bits(encoded: int) -> int:
    """Width of a physical address, in bits, by IPS or PARange; reserved values count as the widest."""
    return PHYSICAL_ADDRESS_BITS[min(encoded, len(PHYSICAL_ADDRESS_BITS) - 1)]


def asid_bits(machine: Machine, core: int) -> int:
    """Width, in bits, of the ASIDs the core uses: 16 if it has them and TCR_EL1.AS asks for them, else 8.

    Where ID_AA64MMFR0_EL1 cannot be read, TCR_EL1.AS is believed.
    """
    control = machine.register("TCR_EL1", core)
    features = machine.register("ID_AA64MMFR0_EL1", core)
    if control is None or not decode("TCR_EL1", control)["AS"]:
        return 8
    if features is not None and decode("ID_AA64MMFR0_EL1", features)["ASIDBits"] == 0:
        return 8
    return 16


def exception_level(machine: Machine, core: int) -> int | None:
    """The exception level a core is stopped at, from the processor state's bits 3:2; None if unknown.

    A processor in AArch32 state (nRW set) keeps a mode there instead, of which only User is EL0.
    """
    state = machine.register("CPSR", core)
    if state is None:
        return None
    fields = decode("CPSR", state)
    if fields["nRW"]:
        return 0 if bits(state, 3, 0) == 0 else None
    return fields["EL"]
