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
SHAREABILITY = ("non-shareable", "reserved", "outer shareable", "inner shareable")
ADDRESS_BITS = 0x0000_FFFF_FFFF_F000
"""The bits of a descriptor that hold an output address of up to 48 bits."""
ATTRIBUTE_BITS = 0x007C_0000_0000_0FFF
"""The bits of a leaf descriptor that `attributes` decodes; hierarchical attributes are in other bits."""


class Kind(Enum):
    """The kind of a descriptor, which depends on the level of its table."""

    INVALID = "invalid"
    TABLE = "table"
    BLOCK = "block"
    PAGE = "page"
    RESERVED = "reserved"
    """Valid bit set, but a reserved encoding at this level: a translation fault."""


class AddressFormat(Enum):
    """Where descriptors hold the bits of an address (D8.3.1)."""

    BITS_48 = "48 bits, in bits 47:12"
    LPA = "bits 51:48 in bits 15:12"
    """64 KiB granule on a processor with 52-bit physical addresses (FEAT_LPA)."""
    LPA2 = "bits 51:50 in bits 9:8"
    """4 and 16 KiB granules with TCR_ELx.DS (FEAT_LPA2): bits 9:8 then do not hold the shareability."""


class Permissions(NamedTuple):
    """The permissions of one exception level; as text `r-x`."""

    read: bool
    write: bool
    execute: bool

    def __str__(self) -> str:
        return "".join(letter if on else "-" for letter, on in zip("rwx", self, strict=True))


NO_ACCESS = Permissions(False, False, False)


@dataclass(frozen=True)
class AttributeRules:
    """The register settings that determine what the attributes in a descriptor mean.

    `has_el0`: the regime includes EL0. `write_implies_no_execute`: SCTLR_ELx.WXN. `enhanced_pan`:
    SCTLR_ELx.EPAN. `hardware_dirty_state`: TCR_ELx.HD and HA; hardware then makes a read-only mapping with
    DBM writable on the first write. `el0_disabled`: TCR_ELx.E0PDn. `shareability`: TCR_ELx.SHn if
    descriptors do not hold it, else None. `execute_never_by_level`: XN of stage 2 distinguishes EL0 and EL1
    (FEAT_XNX). `nested`: HCR_EL2.NV and NV1; EL1 is then a guest's hypervisor, its descriptors have EL2's
    format, and PSTATE.PAN counts as 0.
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
    """The effective attributes in a leaf descriptor, with those inherited from the tables above it.

    In a regime without EL0, `el0` is `NO_ACCESS`, `el1` holds the permissions of the regime's own exception
    level, and `uxn` is XN. `el1_with_pan` is `el1` while PSTATE.PAN is set. `dirty` is None if the
    descriptor does not track the dirty state (DBM clear). At stage 2 `access_permissions` is S2AP,
    `attribute_index` is all of MemAttr, and `not_global` is false.
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
    """The shareability in the descriptor; device and non-cacheable memory ignore it."""
    contiguous: bool
    """Whether the contiguous bit is set."""
    dirty_bit_modifier: bool
    dirty: bool | None
    """Whether the memory is dirty; null if the descriptor does not track that."""
    non_secure: bool
    """The NS bit."""
    guarded: bool
    """The GP bit: branch targets are checked."""

    @property
    def is_global(self) -> bool:
        """Whether the mapping is for every ASID."""
        return not self.not_global


def kind_of(descriptor: int, level: int, block_levels: frozenset[int]) -> Kind:
    """The kind of a descriptor at `level`; `block_levels` are the levels that may hold blocks."""
    if not descriptor & VALID:
        return Kind.INVALID
    if descriptor & TABLE_OR_PAGE:
        return Kind.PAGE if level == LAST_LEVEL else Kind.TABLE
    return Kind.BLOCK if level in block_levels else Kind.RESERVED


def attributes(descriptor: int, inherited: int, rules: AttributeRules) -> Attributes:
    """Decode a leaf descriptor, with the hierarchical attributes `inherited` from above (D8.4, D8.5)."""
    if rules.stage == 2:
        return _stage2_attributes(descriptor, rules)
    if rules.nested:
        descriptor, inherited = _without_el2_format(descriptor), _hierarchical_without_el2_format(inherited)
    modifier = bool(descriptor & DIRTY_BIT_MODIFIER)
    clean = bool(descriptor & AP_READ_ONLY)
    read_only = clean and not (modifier and rules.hardware_dirty_state)
    writable = not (read_only or inherited & AP_TABLE_NO_WRITE)
    el0, el1 = _permissions(descriptor, inherited, rules, writable)
    # PAN applies to memory that EL0 may read; with EPAN also to memory that EL0 may only execute (D8.4.1).
    has_pan = rules.has_el0 and not rules.nested
    blocked_by_pan = has_pan and (el0.read or (rules.enhanced_pan and el0.execute))
    return Attributes(
        el0=NO_ACCESS if rules.el0_disabled else el0,
        el1=el1,
        el1_with_pan=Permissions(False, False, el1.execute) if blocked_by_pan else el1,
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


def _permissions(
    descriptor: int, inherited: int, rules: AttributeRules, writable: bool
) -> tuple[Permissions, Permissions]:
    """The effective permissions of EL0 and of the privileged level while PAN is clear (D8.4.1)."""
    wxn = rules.write_implies_no_execute
    uxn = bool(descriptor & UXN or inherited & UXN_TABLE)
    if not rules.has_el0:
        return NO_ACCESS, Permissions(True, writable, not uxn and not (wxn and writable))
    for_el0 = bool(descriptor & AP_EL0) and not inherited & AP_TABLE_NO_EL0
    el0_write = for_el0 and writable
    el0 = Permissions(for_el0, el0_write, not uxn and not (wxn and el0_write))
    pxn = bool(descriptor & PXN or inherited & PXN_TABLE)
    # The privileged level never executes memory that EL0 may write.
    execute = not pxn and not el0_write and not (wxn and writable)
    return el0, Permissions(True, writable, execute)


def _without_el2_format(descriptor: int) -> int:
    """A leaf descriptor of EL1 in EL2's format (HCR_EL2.NV1), changed to the usual format of EL1.

    Bit 54 is PXN; AP[1] and UXN count as 0.
    """
    return descriptor & ~(AP_EL0 | PXN | UXN) | (PXN if descriptor & UXN else 0)


def _hierarchical_without_el2_format(inherited: int) -> int:
    """The same for hierarchical attributes: bit 60 is PXNTable; APTable[0] counts as 0."""
    replaced = _HIERARCHICAL & ~AP_TABLE_NO_WRITE
    return inherited & ~replaced | (PXN_TABLE if inherited & UXN_TABLE else 0)


def _stage2_attributes(descriptor: int, rules: AttributeRules) -> Attributes:
    """Decode a leaf descriptor of stage 2 (D8.4.2, D8.5.5)."""
    modifier = bool(descriptor & DIRTY_BIT_MODIFIER)
    dirty = bool(descriptor & STAGE2_WRITE)
    readable = bool(descriptor & STAGE2_READ)
    writable = dirty or (modifier and rules.hardware_dirty_state)
    # Bit 54 forbids execution; with FEAT_XNX, bit 53 inverts that for the privileged level only.
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


def _shareability(descriptor: int, rules: AttributeRules) -> str:
    return SHAREABILITY[descriptor >> 8 & 3 if rules.shareability is None else rules.shareability]


_IN_PLACE = {
    AddressFormat.BITS_48: ADDRESS_BITS,
    AddressFormat.LPA: 0x0000_FFFF_FFFF_0000,
    AddressFormat.LPA2: 0x0003_FFFF_FFFF_F000,
}
"""The bits of a descriptor that hold the same bits of an address."""
# The high bits of an address that a descriptor holds lower down: the first of them, the distance that they
# are moved, and their mask in the descriptor.
_MOVED = {AddressFormat.LPA: (48, 36, 0xF000), AddressFormat.LPA2: (50, 42, 0x300)}


def address_in(descriptor: int, low_bits: int, address_format: AddressFormat) -> int:
    """The address in a descriptor, whose lowest `low_bits` bits are zero."""
    address = descriptor & _IN_PLACE[address_format] & -(1 << low_bits)
    if address_format is AddressFormat.LPA:
        return address | (descriptor >> 12 & 0xF) << 48
    if address_format is AddressFormat.LPA2:
        return address | (descriptor >> 8 & 3) << 50
    return address


def address_mask(low_bits: int, address_format: AddressFormat) -> int:
    """The bits of a descriptor that hold an address whose lowest `low_bits` bits are zero."""
    _, _, moved = _MOVED.get(address_format, (0, 0, 0))
    return _IN_PLACE[address_format] & -(1 << low_bits) | moved


def with_address(bits: int, address: int, address_format: AddressFormat) -> int:
    """A descriptor made of an address and of its other bits; the reverse of `address_in`."""
    first, down, moved = _MOVED.get(address_format, (64, 0, 0))
    return bits | address & _IN_PLACE[address_format] | (address >> first << first - down) & moved


_HIERARCHICAL = PXN_TABLE | UXN_TABLE | AP_TABLE_NO_EL0 | AP_TABLE_NO_WRITE
_HIERARCHICAL_NAMES = {
    PXN_TABLE: "PXNTable",
    UXN_TABLE: "UXNTable",
    AP_TABLE_NO_EL0: "APTable: no access from EL0",
    AP_TABLE_NO_WRITE: "APTable: read-only",
    NON_SECURE_TABLE: "NSTable",
}


def inherit(inherited: int, table_descriptor: int) -> int:
    """The inherited hierarchical attributes together with those of one more table descriptor (D8.4.2)."""
    return inherited | (table_descriptor & _HIERARCHICAL)


def hierarchical_names(descriptor: int, rules: AttributeRules) -> tuple[str, ...]:
    """The hierarchical attributes that a table descriptor sets, by the manual's names (D8.4.2).

    In a regime without EL0, UXNTable is called XNTable and the bits for EL0 have no meaning. Under nested
    virtualization UXNTable is EL1's PXNTable.
    """
    if rules.stage == 2:
        return ()
    names = _HIERARCHICAL_NAMES
    if rules.nested or not rules.has_el0:
        names = {
            UXN_TABLE: "PXNTable" if rules.nested else "XNTable",
            **{bit: names[bit] for bit in (AP_TABLE_NO_WRITE, NON_SECURE_TABLE)},
        }
    return tuple(name for bit, name in names.items() if descriptor & bit)
