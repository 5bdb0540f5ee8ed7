"""A system register's value as fields that a person can read (DDI 0487, D24.2)."""

from __future__ import annotations

from gdbplugin.aarch64.memory_types import memory_type
from gdbplugin.aarch64.register_fields import (
    ESR_LAYOUTS,
    FORMATS,
    FORMATS_WITH_E2H,
    PAR_FAULTED,
    Layout,
)
from gdbplugin.aarch64.register_meanings import MEANINGS
from gdbplugin.aarch64.registers import bits
from gdbplugin.aarch64.syndromes import class_name, fault_status
from gdbplugin.records import dataclass

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
class Field:
    """Bits `high` to `low` of a register, their value, and what it means where that is known.

    Bits that no field names appear too, under the name `reserved`: nothing of the value is lost.
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
    """What the value means, in words; null where that is not known."""

    @property
    def reserved(self) -> bool:
        """Whether no field of the register is known to be here."""
        return self.name == RESERVED


REGISTERS: tuple[str, ...] = tuple(FORMATS)
"""The registers that can be described, by the manual's names, and CPSR."""


def describe(name: str, value: int, *, e2h: bool = False) -> tuple[Field, ...]:
    """The fields of a register's value from bit 63 down, without a gap.

    `e2h` is HCR_EL2.E2H. Raises KeyError for a register that is not one of `REGISTERS`.
    """
    stem = name.rpartition("_EL")[0] or name
    stem = _STEMS.get(stem, stem)
    fields: list[Field] = []
    above = 64
    for field, (high, low) in _layout(name, value, e2h).items():
        if high + 1 < above:
            fields.append(Field(RESERVED, above - 1, high + 1, bits(value, above - 1, high + 1)))
        found = bits(value, high, low)
        fields.append(Field(field, high, low, found, _meaning(stem, field, found, low)))
        above = low
    if above:
        fields.append(Field(RESERVED, above - 1, 0, bits(value, above - 1, 0)))
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
