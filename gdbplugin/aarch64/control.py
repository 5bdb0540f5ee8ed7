"""One range of input addresses: the tables that translate it, and their shape (DDI 0487, D8.2)."""

from __future__ import annotations

from functools import cached_property

from gdbplugin.aarch64.descriptor import DEFAULT_RULES, AddressFormat, AttributeRules, address_in
from gdbplugin.records import dataclass, replace

_BLOCK_LEVELS = {
    (12, AddressFormat.BITS_48): frozenset({1, 2}),
    (12, AddressFormat.LPA2): frozenset({0, 1, 2}),
    (14, AddressFormat.BITS_48): frozenset({2}),
    (14, AddressFormat.LPA2): frozenset({1, 2}),
    (16, AddressFormat.BITS_48): frozenset({2}),
    (16, AddressFormat.LPA): frozenset({1, 2}),
}
_CONTIGUOUS_ENTRIES = {
    (12, 1): 16,
    (12, 2): 16,
    (12, 3): 16,
    (14, 2): 32,
    (14, 3): 128,
    (16, 2): 32,
    (16, 3): 32,
}
"""Number of entries the contiguous bit joins, by granule and level (D8.6.1)."""


@dataclass(frozen=True)
class TranslationControl:
    """One range of input addresses and the tables that translate it: a TTBR and its part of a TCR.

    All widths are in bits. `root_level` is the level of the root table where a register names it, as at
    stage 2: the root may then be up to 16 tables that follow on each other. Where it is None the widths
    decide. `defect` says why the setting cannot translate anything; every access through it is then a
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
    root_level: int | None = None
    defect: str | None = None
    """Why nothing can be translated by it; null where something can."""

    @property
    def granule(self) -> int:
        """Size of the granule, in bytes."""
        return 1 << self.granule_bits

    @property
    def stride(self) -> int:
        """Number of input address bits one level of tables resolves."""
        return self.granule_bits - 3

    @property
    def start_level(self) -> int:
        """The level of the root table: -1 for addresses of more than 48 bits by the 4 KiB granule."""
        if self.root_level is not None:
            return self.root_level
        return 4 - -(-(self.input_bits - self.granule_bits) // self.stride)

    @property
    def block_levels(self) -> frozenset[int]:
        """The levels at which a block descriptor may stand."""
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
        """`shift` of every level there is."""
        return {level: self.granule_bits + (3 - level) * self.stride for level in range(-1, 4)}

    def shift(self, level: int) -> int:
        """Number of low input address bits below the index of `level`: log2 of what one entry spans."""
        return self.shifts[level]

    def table_bytes(self, level: int) -> int:
        """Size of a table of `level`; the root may be smaller than a granule or, at stage 2, larger."""
        if level == self.start_level:
            return 8 << (self.input_bits - self.shift(level))
        return 1 << self.granule_bits

    def contiguous_bytes(self, level: int) -> int | None:
        """What a leaf with the contiguous bit set spans with its neighbours; None where it means nothing."""
        entries = _CONTIGUOUS_ENTRIES.get((self.granule_bits, level))
        return None if entries is None else entries << self.shift(level)

    def output_address(self, descriptor: int, low_bits: int) -> int:
        """The address in a descriptor whose lowest `low_bits` bits are not the descriptor's to give."""
        return address_in(descriptor, low_bits, self.address_format)

    def covers(self, address: int) -> bool:
        """Whether the 64-bit `address` is an input address of this range."""
        top = 55 if self.top_byte_ignored else 63
        ones = (1 << (top - self.input_bits + 1)) - 1
        return (address >> self.input_bits) & ones == (ones if self.upper else 0)

    def with_table(self, base: int, asid: int | None) -> TranslationControl:
        """The same control over other tables: another task's address space."""
        return replace(self, base=base, asid=asid)
