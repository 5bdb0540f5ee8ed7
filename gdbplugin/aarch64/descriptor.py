"""Translation table descriptors in the VMSAv8-64 format (DDI 0487, D8.3, D8.4)."""

from __future__ import annotations

from enum import Enum

from gdbplugin.records import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

VALID = 1 << 0
TABLE_OR_PAGE = 1 << 1
NON_SECURE = 1 << 5
AP_EL0 = 1 << 6
AP_READ_ONLY = 1 << 7
ACCESS_FLAG = 1 << 10
NOT_GLOBAL = 1 << 11
NO_TRANSLATION = 1 << 16
GUARDED = 1 << 50
DIRTY_BIT_MODIFIER = 1 << 51
CONTIGUOUS = 1 << 52
PXN = 1 << 53
UXN = 1 << 54
STAGE2_READ = 1 << 6
STAGE2_WRITE = 1 << 7
PXN_TABLE = 1 << 59
UXN_TABLE = 1 << 60
AP_TABLE_NO_EL0 = 1 << 61
AP_TABLE_NO_WRITE = 1 << 62
NON_SECURE_TABLE = 1 << 63

LAST_LEVEL = 3
ADDRESS_BITS = 0x0000_FFFF_FFFF_F000
"""Where descriptors hold output addresses of up to 48 bits."""
SHAREABILITY = ("non-shareable", "reserved", "outer shareable", "inner shareable")

ATTRIBUTE_BITS = 0x007C_0000_0000_0FFF
"""Where leaf descriptors hold what `attributes` decodes; no hierarchical attribute is among these bits."""

_HIERARCHICAL = PXN_TABLE | UXN_TABLE | AP_TABLE_NO_EL0 | AP_TABLE_NO_WRITE
_HIERARCHICAL_NAMES = {
    PXN_TABLE: "PXNTable",
    UXN_TABLE: "UXNTable",
    AP_TABLE_NO_EL0: "APTable: no access from EL0",
    AP_TABLE_NO_WRITE: "APTable: read-only",
    NON_SECURE_TABLE: "NSTable",
}


class Kind(Enum):
    """What a descriptor is, at the level it was found."""

    INVALID = "invalid"
    TABLE = "table"
    BLOCK = "block"
    PAGE = "page"
    RESERVED = "reserved"
    """Valid bit set, but no encoding the architecture gives a meaning at this level. It faults."""


class AddressFormat(Enum):
    """Where descriptors hold the bits of an address (D8.3.1)."""

    BITS_48 = "48 bits, all in their place"
    LPA = "bits 51:48 in bits 15:12"
    """The 64 KiB granule on a processor with 52-bit physical addresses (FEAT_LPA)."""
    LPA2 = "bits 51:50 in bits 9:8"
    """4 and 16 KiB granules with TCR_ELx.DS (FEAT_LPA2); these bits are no shareability then."""


_IN_PLACE = {
    AddressFormat.BITS_48: ADDRESS_BITS,
    AddressFormat.LPA: 0x0000_FFFF_FFFF_0000,
    AddressFormat.LPA2: 0x0003_FFFF_FFFF_F000,
}
# The bits of an address that stand elsewhere: from which on, moved down by how many, and their mask there.
_MOVED = {AddressFormat.LPA: (48, 36, 0xF000), AddressFormat.LPA2: (50, 42, 0x300)}


class Permissions(NamedTuple):
    """What one exception level may do; prints as `r-x`."""

    read: bool
    write: bool
    execute: bool

    def __str__(self) -> str:
        return "".join(letter if on else "-" for letter, on in zip("rwx", self, strict=True))


NOTHING = Permissions(False, False, False)


@dataclass(frozen=True)
class AttributeRules:
    """What the registers say of how a descriptor's attributes are to be read.

    `has_el0`: the regime serves EL0 as well. `write_implies_no_execute`: SCTLR_ELx.WXN.
    `enhanced_pan`: SCTLR_ELx.EPAN. `hardware_dirty_state`: TCR_ELx.HD and HA, by which DBM makes a
    read-only mapping one that the first write turns writable. `el0_disabled`: TCR_ELx.E0PDn.
    `shareability`: TCR_ELx.SHn where descriptors hold none, else None. `stage` is 1 or 2; at stage 2
    `execute_never_by_level` tells that XN speaks of EL0 and EL1 apart (FEAT_XNX). `nested`: HCR_EL2.NV and
    NV1, by which EL1 is a guest's hypervisor and its descriptors are as EL2's; PSTATE.PAN counts as 0 then.
    """

    has_el0: bool = True
    write_implies_no_execute: bool = False
    enhanced_pan: bool = False
    hardware_dirty_state: bool = False
    el0_disabled: bool = False
    shareability: int | None = None
    stage: Literal[1, 2] = 1
    execute_never_by_level: bool = False
    nested: bool = False


DEFAULT_RULES = AttributeRules()


@dataclass(frozen=True)
class Attributes:
    """What a leaf descriptor says of its memory, the tables above it taken into account.

    `el0` and `el1` are the effective permissions; in a regime without EL0, `el0` grants nothing and
    `el1` speaks for the regime's own exception level. `el1_with_pan` is what is left of `el1` while
    PSTATE.PAN is set. `uxn` is XN in a regime without EL0. `shareability` is the field's, which
    device and non-cacheable memory does not heed. `dirty` is None where the dirty state is not
    tracked in the descriptor (DBM clear). At stage 2 `access_permissions` is S2AP, `attribute_index` is
    MemAttr, whole, and nothing is not global.
    """

    json_fields = (
        "shareability",
        "is_global as global",
        "access_flag",
        "dirty",
        "contiguous",
        "non_secure",
        "guarded",
    )

    el0: Permissions
    el1: Permissions
    el1_with_pan: Permissions
    uxn: bool
    pxn: bool
    access_permissions: int
    access_flag: bool
    """Whether the access flag is set."""
    not_global: bool
    attribute_index: int
    shareability: str
    """The shareability in the descriptor; device and non-cacheable memory ignores it."""
    contiguous: bool
    """Whether the contiguous bit is set."""
    dirty_bit_modifier: bool
    dirty: bool | None
    """Whether the memory is dirty; null where the descriptor does not track that."""
    non_secure: bool
    """The NS bit."""
    guarded: bool
    """The GP bit: branch targets are checked."""

    @property
    def is_global(self) -> bool:
        """Whether the mapping is for every ASID."""
        return not self.not_global


def kind_of(descriptor: int, level: int, block_levels: frozenset[int]) -> Kind:
    """What `descriptor` is at `level`, where blocks may stand at `block_levels`."""
    if not descriptor & VALID:
        return Kind.INVALID
    if descriptor & TABLE_OR_PAGE:
        return Kind.PAGE if level == LAST_LEVEL else Kind.TABLE
    return Kind.BLOCK if level in block_levels else Kind.RESERVED


def address_in(descriptor: int, low_bits: int, address_format: AddressFormat) -> int:
    """The address in a descriptor whose lowest `low_bits` bits are not the descriptor's to give."""
    address = descriptor & _IN_PLACE[address_format] & -(1 << low_bits)
    if address_format is AddressFormat.LPA:
        return address | (descriptor >> 12 & 0xF) << 48
    if address_format is AddressFormat.LPA2:
        return address | (descriptor >> 8 & 3) << 50
    return address


def address_mask(low_bits: int, address_format: AddressFormat) -> int:
    """Where a descriptor holds an address whose lowest `low_bits` bits are not the descriptor's to give."""
    _, _, moved = _MOVED.get(address_format, (0, 0, 0))
    return _IN_PLACE[address_format] & -(1 << low_bits) | moved


def with_address(bits: int, address: int, address_format: AddressFormat) -> int:
    """A descriptor, from its other bits and the address that it holds: the reverse of `address_in`."""
    first, down, moved = _MOVED.get(address_format, (64, 0, 0))
    return bits | address & _IN_PLACE[address_format] | (address >> first << first - down) & moved


def inherit(inherited: int, table_descriptor: int) -> int:
    """Hierarchical attributes gathered so far, joined by those of one more table descriptor (D8.4.2)."""
    return inherited | (table_descriptor & _HIERARCHICAL)


def hierarchical_names(descriptor: int, rules: AttributeRules) -> tuple[str, ...]:
    """What a table descriptor forbids to all that is below it, in the manual's words (D8.4.2).

    A regime without EL0 has one bit against execution, XNTable, and the bits of EL0 mean nothing there;
    under nested virtualization the same bit is EL1's.
    """
    names = _HIERARCHICAL_NAMES
    if rules.stage == 2:
        return ()
    if rules.nested or not rules.has_el0:
        names = {
            UXN_TABLE: "PXNTable" if rules.nested else "XNTable",
            **{bit: names[bit] for bit in (AP_TABLE_NO_WRITE, NON_SECURE_TABLE)},
        }
    return tuple(name for bit, name in names.items() if descriptor & bit)


def _permissions(
    descriptor: int, inherited: int, rules: AttributeRules, writable: bool
) -> tuple[Permissions, Permissions]:
    """The effective permissions of EL0 and of the privileged level (D8.4.1), PAN aside."""
    wxn = rules.write_implies_no_execute
    uxn = bool(descriptor & UXN or inherited & UXN_TABLE)
    if not rules.has_el0:
        return NOTHING, Permissions(True, writable, not uxn and not (wxn and writable))
    for_el0 = bool(descriptor & AP_EL0) and not inherited & AP_TABLE_NO_EL0
    el0_write = for_el0 and writable
    el0 = Permissions(for_el0, el0_write, not uxn and not (wxn and el0_write))
    pxn = bool(descriptor & PXN or inherited & PXN_TABLE)
    # What EL0 may write, the privileged level never executes.
    execute = not pxn and not el0_write and not (wxn and writable)
    return el0, Permissions(True, writable, execute)


def attributes(descriptor: int, inherited: int, rules: AttributeRules) -> Attributes:
    """Decode a leaf descriptor, with the hierarchical attributes `inherited` from above (D8.4, D8.5)."""
    if rules.stage == 2:
        return _stage2_attributes(descriptor, rules)
    if rules.nested:
        descriptor, inherited = _as_of_el2(descriptor), _hierarchical_as_of_el2(inherited)
    modifier = bool(descriptor & DIRTY_BIT_MODIFIER)
    clean = bool(descriptor & AP_READ_ONLY)
    read_only = clean and not (modifier and rules.hardware_dirty_state)
    writable = not (read_only or inherited & AP_TABLE_NO_WRITE)
    el0, el1 = _permissions(descriptor, inherited, rules, writable)
    # PAN takes away what EL0 may read; with EPAN also what EL0 may only execute (D8.4.1).
    heeds_pan = rules.has_el0 and not rules.nested
    kept_from_el1 = heeds_pan and (el0.read or (rules.enhanced_pan and el0.execute))
    return Attributes(
        el0=NOTHING if rules.el0_disabled else el0,
        el1=el1,
        el1_with_pan=Permissions(False, False, el1.execute) if kept_from_el1 else el1,
        uxn=bool(descriptor & UXN or inherited & UXN_TABLE),
        pxn=bool(descriptor & PXN or inherited & PXN_TABLE),
        access_permissions=descriptor >> 6 & 3,
        access_flag=bool(descriptor & ACCESS_FLAG),
        not_global=bool(descriptor & NOT_GLOBAL),
        attribute_index=descriptor >> 2 & 7,
        shareability=_shareability(descriptor, rules),
        contiguous=bool(descriptor & CONTIGUOUS),
        dirty_bit_modifier=modifier,
        dirty=not clean if modifier else None,
        non_secure=bool(descriptor & NON_SECURE),
        guarded=bool(descriptor & GUARDED),
    )


def _as_of_el2(descriptor: int) -> int:
    """A leaf of EL1's under nested virtualization in the usual form.

    Bit 54 is PXN; AP[1] and UXN count as 0.
    """
    return descriptor & ~(AP_EL0 | PXN | UXN) | (PXN if descriptor & UXN else 0)


def _hierarchical_as_of_el2(inherited: int) -> int:
    """The same for hierarchical attributes: bit 60 is PXNTable, and APTable[0] clear."""
    forbids = _HIERARCHICAL & ~AP_TABLE_NO_WRITE
    return inherited & ~forbids | (PXN_TABLE if inherited & UXN_TABLE else 0)


def _shareability(descriptor: int, rules: AttributeRules) -> str:
    return SHAREABILITY[descriptor >> 8 & 3 if rules.shareability is None else rules.shareability]


def _stage2_attributes(descriptor: int, rules: AttributeRules) -> Attributes:
    """Decode a leaf descriptor of stage 2 (D8.4.2, D8.5.5): what a hypervisor leaves of a guest's memory."""
    modifier = bool(descriptor & DIRTY_BIT_MODIFIER)
    dirty = bool(descriptor & STAGE2_WRITE)
    readable = bool(descriptor & STAGE2_READ)
    writable = dirty or (modifier and rules.hardware_dirty_state)
    # Bit 54 forbids execution; with FEAT_XNX, bit 53 turns that round for the privileged level alone.
    el0_never = bool(descriptor & UXN)
    el1_never = el0_never ^ bool(descriptor & PXN and rules.execute_never_by_level)
    el1 = Permissions(readable, writable, not el1_never)
    return Attributes(
        el0=Permissions(readable, writable, not el0_never),
        el1=el1,
        el1_with_pan=el1,
        uxn=el0_never,
        pxn=el1_never,
        access_permissions=descriptor >> 6 & 3,
        access_flag=bool(descriptor & ACCESS_FLAG),
        not_global=False,
        attribute_index=descriptor >> 2 & 15,
        shareability=_shareability(descriptor, rules),
        contiguous=bool(descriptor & CONTIGUOUS),
        dirty_bit_modifier=modifier,
        dirty=dirty if modifier else None,
        non_secure=False,
        guarded=False,
    )
