"""The fields of a system register's value, with the meaning of each in words (DDI 0487, D24.2)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gdbplugin.aarch64.descriptor import SHAREABILITY
from gdbplugin.aarch64.faults import class_name, fault_status
from gdbplugin.aarch64.registers import (
    ESR_LAYOUTS,
    FORMATS,
    FORMATS_WITH_E2H,
    PAR_FAULTED,
    Layout,
    bits,
    memory_type,
)
from gdbplugin.records import dataclass

_CACHEABILITY = {
    0: "non-cacheable",
    1: "write-back, write-allocate",
    2: "write-through, no write-allocate",
    3: "write-back, no write-allocate",
}
_SHAREABILITY = dict(enumerate(SHAREABILITY))
_WIDTHS = {
    0: "32 bits, 4 GiB",
    1: "36 bits, 64 GiB",
    2: "40 bits, 1 TiB",
    3: "42 bits, 4 TiB",
    4: "44 bits, 16 TiB",
    5: "48 bits, 256 TiB",
    6: "52 bits, 4 PiB",
    7: "56 bits, 64 PiB",
}
_TAG_CHECKS = {0: "ignored", 1: "synchronous", 2: "asynchronous", 3: "reads synchronous, writes asynchronous"}
_MASKED = {0: "not masked", 1: "masked"}
_WALKS = {0: "walks allowed", 1: "walks disabled"}
_HIERARCHICAL = {0: "hierarchical permissions on", 1: "hierarchical permissions off"}
_TOP_BYTE = {0: "top byte used", 1: "top byte ignored"}
_EL0_RANGE = {0: "EL0 may use the range", 1: "EL0 faults on the range"}

MEANINGS: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "TCR.TG0": {0: "4 KiB", 1: "64 KiB", 2: "16 KiB", 3: "reserved"},
        "TCR.TG1": {0: "reserved", 1: "16 KiB", 2: "4 KiB", 3: "64 KiB"},
        **dict.fromkeys(("TCR.IRGN0", "TCR.IRGN1", "TCR.ORGN0", "TCR.ORGN1"), _CACHEABILITY),
        **dict.fromkeys(("TCR.SH0", "TCR.SH1", "PAR.SH"), _SHAREABILITY),
        **dict.fromkeys(("TCR.IPS", "TCR.PS", "ID_AA64MMFR0.PARange"), _WIDTHS),
        **dict.fromkeys(("TCR.EPD0", "TCR.EPD1"), _WALKS),
        **dict.fromkeys(("TCR.HPD", "TCR.HPD0", "TCR.HPD1"), _HIERARCHICAL),
        **dict.fromkeys(("TCR.TBI", "TCR.TBI0", "TCR.TBI1"), _TOP_BYTE),
        **dict.fromkeys(("TCR.E0PD0", "TCR.E0PD1"), _EL0_RANGE),
        "TCR.A1": {0: "ASID from TTBR0", 1: "ASID from TTBR1"},
        "TCR.VS": {0: "8-bit VMIDs", 1: "16-bit VMIDs"},
        "TCR.AS": {0: "8-bit ASIDs", 1: "16-bit ASIDs"},
        "TCR.HA": {0: "software sets the access flag", 1: "hardware sets the access flag"},
        "TCR.HD": {0: "software keeps the dirty state", 1: "hardware keeps the dirty state"},
        "TCR.DS": {0: "48-bit descriptors", 1: "52-bit descriptors"},
        "TTBR.CnP": {0: "not common", 1: "common to the cores that share it"},
        "SCTLR.M": {0: "MMU off", 1: "MMU on"},
        "SCTLR.C": {0: "data not cacheable", 1: "data cacheable"},
        "SCTLR.I": {0: "instructions not cacheable", 1: "instructions cacheable"},
        "SCTLR.A": {0: "alignment not checked", 1: "alignment checked"},
        "SCTLR.WXN": {0: "writable memory may be executable", 1: "writable memory is never executable"},
        "SCTLR.SPAN": {0: "PAN is set on exceptions", 1: "PAN is kept on exceptions"},
        "SCTLR.EPAN": {
            0: "PAN blocks what EL0 may read",
            1: "PAN blocks what EL0 may read or execute",
        },
        "SCTLR.EE": {0: "little-endian", 1: "big-endian"},
        "SCTLR.E0E": {0: "little-endian", 1: "big-endian"},
        **dict.fromkeys(("SCTLR.TCF", "SCTLR.TCF0"), _TAG_CHECKS),
        "HCR.VM": {0: "stage 2 off", 1: "stage 2 on"},
        "HCR.PTW": {0: "stage 1 tables may be in device memory", 1: "stage 1 tables in device memory fault"},
        "HCR.FWB": {0: "stage 2 weakens memory types", 1: "stage 2 sets memory types"},
        "HCR.DC": {0: "stage 1 as in SCTLR_EL1.M", 1: "stage 1 off, memory cacheable"},
        "HCR.TGE": {0: "exceptions of EL0 go to EL1", 1: "exceptions of EL0 go to EL2"},
        "HCR.E2H": {0: "EL2 with one range", 1: "EL2 hosts an operating system (two ranges)"},
        "HCR.RW": {0: "EL1 is AArch32", 1: "EL1 is AArch64"},
        "SCR.NS": {0: "secure", 1: "non-secure"},
        "SCR.RW": {0: "EL2 and EL1 are AArch32", 1: "EL2 or EL1 is AArch64"},
        "SCR.EEL2": {0: "no secure EL2", 1: "secure EL2"},
        "ESR.IL": {0: "16-bit instruction", 1: "32-bit instruction"},
        "ESR.WnR": {0: "read", 1: "write"},
        "ESR.FnV": {0: "FAR is valid", 1: "FAR is not valid"},
        "ESR.S1PTW": {0: "not on a stage 1 walk", 1: "stage 2 fault on a stage 1 walk"},
        "ESR.SAS": {0: "byte", 1: "halfword", 2: "word", 3: "doubleword"},
        "ESR.Direction": {0: "write (MSR)", 1: "read (MRS)"},
        "PAR.F": {0: "translated", 1: "faulted"},
        "PAR.S": {0: "stage 1", 1: "stage 2"},
        **{f"PSTATE.{name}": _MASKED for name in "DAIF"},
        "PSTATE.EL": {level: f"EL{level}" for level in range(4)},
        "PSTATE.SP": {0: "SP_EL0", 1: "SP of the exception level"},
        "PSTATE.nRW": {0: "AArch64", 1: "AArch32"},
        "PSTATE.PAN": {0: "EL0's memory accessible", 1: "EL0's memory not accessible"},
        "ID_AA64MMFR0.ASIDBits": {0: "8 bits", 2: "16 bits"},
        "ID_AA64MMFR0.TGran4": {0: "4 KiB", 1: "4 KiB, 52-bit addresses", 15: "no 4 KiB"},
        "ID_AA64MMFR0.TGran16": {0: "no 16 KiB", 1: "16 KiB", 2: "16 KiB, 52-bit addresses"},
        "ID_AA64MMFR0.TGran64": {0: "64 KiB", 15: "no 64 KiB"},
        "ID_AA64MMFR1.HAFDBS": {0: "none", 1: "access flag", 2: "access flag and dirty state"},
        "ID_AA64MMFR1.PAN": {0: "none", 1: "PAN", 2: "PAN, AT S1E1RP", 3: "PAN, EPAN"},
        "ID_AA64MMFR1.VH": {0: "no E2H", 1: "E2H"},
        "ID_AA64MMFR1.HPDS": {0: "none", 1: "HPD", 2: "HPD, HWU"},
        "ID_AA64MMFR1.VMIDBits": {0: "8 bits", 2: "16 bits"},
        "ID_AA64MMFR1.XNX": {0: "one XN for EL1 and EL0 at stage 2", 1: "XN for each at stage 2"},
        "ID_AA64MMFR2.FWB": {0: "none", 1: "FWB"},
        "ID_AA64MMFR2.VARange": {0: "48 bits", 1: "52 bits with 64 KiB", 2: "56 bits"},
        "ID_AA64MMFR2.ST": {0: "none", 1: "small tables"},
        "ID_AA64MMFR2.CnP": {0: "none", 1: "CnP"},
        "ID_AA64MMFR2.BBM": {0: "level 0", 1: "level 1", 2: "level 2"},
        "ID_AA64MMFR2.E0PD": {0: "none", 1: "E0PD"},
    }
)
"""Field values in words, by register without its level (`TCR`) and field."""

RESERVED = "reserved"
_STEMS = {
    "CPSR": "PSTATE",
    "SPSR": "PSTATE",
    "TTBR0": "TTBR",
    "TTBR1": "TTBR",
    "VTTBR": "TTBR",
    "VTCR": "TCR",
}
_SIZES = ("T0SZ", "T1SZ")
_STATUS = ("DFSC", "IFSC", "FST")


@dataclass(frozen=True)
class RegisterField:
    """Bits `high` to `low` of a register, their value, and its meaning if that is known.

    Bits that are in no known field have the name `reserved`.
    """

    name: str
    """Name of the field."""
    high: int
    """Highest bit."""
    low: int
    """Lowest bit."""
    value: int
    """The field's value."""
    meaning: str | None = None
    """What the value means, in words; null if that is not known."""

    @property
    def reserved(self) -> bool:
        """Whether these bits are in no known field."""
        return self.name == RESERVED


REGISTERS: tuple[str, ...] = tuple(FORMATS)
"""The registers that can be described, by the manual's names, and CPSR for PSTATE."""


def describe(name: str, value: int, *, e2h: bool = False) -> tuple[RegisterField, ...]:
    """The fields of a register's value, from bit 63 down to bit 0 without a gap.

    `e2h` is HCR_EL2.E2H. Raises KeyError for a register that is not one of `REGISTERS`.
    """
    stem = name.rpartition("_EL")[0] or name
    stem = _STEMS.get(stem, stem)
    fields: list[RegisterField] = []
    above = 64
    for field, (high, low) in _layout(name, value, e2h).items():
        if high + 1 < above:
            fields.append(RegisterField(RESERVED, above - 1, high + 1, bits(value, above - 1, high + 1)))
        found = bits(value, high, low)
        fields.append(RegisterField(field, high, low, found, _meaning(stem, field, found, low)))
        above = low
    if above:
        fields.append(RegisterField(RESERVED, above - 1, 0, bits(value, above - 1, 0)))
    return tuple(fields)


def _layout(name: str, value: int, e2h: bool) -> Layout:
    layout = (FORMATS_WITH_E2H if e2h else FORMATS)[name]
    if name == "PAR_EL1" and value & 1:
        return PAR_FAULTED
    if name.startswith("ESR_"):
        return ESR_LAYOUTS.get(bits(value, 31, 26), layout)
    return layout


def _meaning(stem: str, field: str, value: int, low: int) -> str | None:
    known = MEANINGS.get(f"{stem}.{field}", {}).get(value)
    if known is not None:
        return known
    if field in _SIZES:
        return f"{64 - value}-bit addresses" if value else "no size"
    if field in ("BADDR", "PA", "VBA"):
        return f"{value << low:#x}"
    if field == "FIPA":
        return f"{value << 12:#x}"
    if stem == "MAIR" or (stem == "PAR" and field == "ATTR"):
        return memory_type(value)
    if field == "EC":
        return class_name(value)
    if field in _STATUS:
        return str(fault_status(value))
    return None
