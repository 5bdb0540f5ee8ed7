"""Stage 1 translation table descriptors in the VMSAv8-64 format (DDI 0487, D8.3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

VALID = 1 << 0
TABLE_OR_PAGE = 1 << 1
NON_SECURE = 1 << 5
AP_EL0 = 1 << 6
AP_READ_ONLY = 1 << 7
ACCESS_FLAG = 1 << 10
NOT_GLOBAL = 1 << 11
DIRTY_BIT_MODIFIER = 1 << 51
CONTIGUOUS = 1 << 52
PXN = 1 << 53
UXN = 1 << 54
PXN_TABLE = 1 << 59
UXN_TABLE = 1 << 60
AP_TABLE_NO_EL0 = 1 << 61
AP_TABLE_NO_WRITE = 1 << 62

LAST_LEVEL = 3
ADDRESS_BITS = 0x0000_FFFF_FFFF_F000
"""Where descriptors hold output addresses of up to 48 bits."""
SHAREABILITY = ("non-shareable", "reserved", "outer shareable", "inner shareable")

_HIERARCHICAL = PXN_TABLE | UXN_TABLE | AP_TABLE_NO_EL0 | AP_TABLE_NO_WRITE


class Kind(Enum):
    """What a descriptor is, at the level it was found."""

    INVALID = "invalid"
    TABLE = "table"
    BLOCK = "block"
    PAGE = "page"
    RESERVED = "reserved"
    """Valid bit set, but no encoding the architecture gives a meaning at this level. It faults."""


class Permissions(NamedTuple):
    """What one exception level may do; prints as `r-x`."""

    read: bool
    write: bool
    execute: bool

    def __str__(self) -> str:
        return "".join(letter if on else "-" for letter, on in zip("rwx", self, strict=True))


@dataclass(frozen=True)
class Attributes:
    """What a leaf descriptor says of its memory, the tables above it taken into account.

    `el0` and `el1` are the effective permissions; in a regime without EL0, `el0` grants nothing and
    `el1` speaks for the regime's own exception level. PAN is a property of the processor's state,
    not of the mapping, and is left out.
    """

    el0: Permissions
    el1: Permissions
    uxn: bool
    pxn: bool
    access_permissions: int
    access_flag: bool
    not_global: bool
    attribute_index: int
    shareability: str
    contiguous: bool
    dirty_bit_modifier: bool


def kind_of(descriptor: int, level: int, block_levels: frozenset[int]) -> Kind:
    """What `descriptor` is at `level`, where blocks may stand at `block_levels`."""
    if not descriptor & VALID:
        return Kind.INVALID
    if descriptor & TABLE_OR_PAGE:
        return Kind.PAGE if level == LAST_LEVEL else Kind.TABLE
    return Kind.BLOCK if level in block_levels else Kind.RESERVED


def inherit(inherited: int, table_descriptor: int) -> int:
    """Hierarchical attributes gathered so far, joined by those of one more table descriptor (D8.4.2)."""
    return inherited | (table_descriptor & _HIERARCHICAL)


def attributes(
    descriptor: int, inherited: int, *, has_el0: bool, write_implies_no_execute: bool
) -> Attributes:
    """Decode a leaf descriptor, with the hierarchical attributes `inherited` from above (D8.4, D8.5).

    `has_el0` is true for regimes that serve EL0 as well; `write_implies_no_execute` is SCTLR_ELx.WXN.
    """
    uxn = bool(descriptor & UXN or inherited & UXN_TABLE)
    pxn = bool(descriptor & PXN or inherited & PXN_TABLE)
    writable = not (descriptor & AP_READ_ONLY or inherited & AP_TABLE_NO_WRITE)
    if has_el0:
        for_el0 = bool(descriptor & AP_EL0) and not inherited & AP_TABLE_NO_EL0
        el0_write = for_el0 and writable
        el0 = Permissions(for_el0, el0_write, not uxn and not (write_implies_no_execute and el0_write))
        # What EL0 may write, EL1 never executes (D8.4.1).
        el1_execute = not pxn and not el0_write and not (write_implies_no_execute and writable)
    else:
        el0 = Permissions(False, False, False)
        el1_execute = not uxn and not (write_implies_no_execute and writable)
    return Attributes(
        el0=el0,
        el1=Permissions(True, writable, el1_execute),
        uxn=uxn,
        pxn=pxn,
        access_permissions=descriptor >> 6 & 3,
        access_flag=bool(descriptor & ACCESS_FLAG),
        not_global=bool(descriptor & NOT_GLOBAL),
        attribute_index=descriptor >> 2 & 7,
        shareability=SHAREABILITY[descriptor >> 8 & 3],
        contiguous=bool(descriptor & CONTIGUOUS),
        dirty_bit_modifier=bool(descriptor & DIRTY_BIT_MODIFIER),
    )
