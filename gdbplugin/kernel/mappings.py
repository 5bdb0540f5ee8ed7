"""What the hardware's tables map for each of the kernel's address spaces."""

from __future__ import annotations

from dataclasses import dataclass

from gdbplugin.aarch64.descriptor import ADDRESS_BITS
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.walk import Leaf, Malformed, leaf_attributes, leaves
from gdbplugin.kernel.spaces import AddressSpaces
from gdbplugin.kernel.target import Kernel

PAGE_BYTES = 4096
_ATTRIBUTES = ~ADDRESS_BITS
# Of all spaces together. More than TinyOS can have: its 96 spaces, 96 stacks of 2 MiB and 40,960 lazy pages
# need some 700; and few enough that tables gone wild end within a second.
_MAXIMUM_TABLES = 1500


@dataclass(frozen=True)
class SpaceMap:
    """The pages of one address space by virtual address, its malformed entries, and its tables' addresses."""

    number: int
    pages: dict[int, Leaf]
    malformed: tuple[Malformed, ...]
    tables: tuple[int, ...]


class Permissions:
    """The effective EL0 permissions of leaves, as `rw-`; worked out once for each kind of descriptor."""

    def __init__(self, regime: TranslationRegime) -> None:
        self._regime = regime
        self._known: dict[tuple[int, int], str] = {}

    def el0(self, leaf: Leaf) -> str:
        """What EL0 may do there."""
        key = (leaf.descriptor & _ATTRIBUTES, leaf.inherited)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = str(leaf_attributes(self._regime, leaf).el0)
        return known


def read_mappings(kernel: Kernel, spaces: AddressSpaces) -> dict[int, SpaceMap]:
    """Walk the tables of every active address space, by its number. Each table is read once."""
    lower = kernel.regime.lower
    found = {}
    remaining = _MAXIMUM_TABLES
    for space in spaces.spaces:
        if not space.is_active or space.table is None:
            continue
        tables: list[int] = []
        pages: dict[int, Leaf] = {}
        malformed = []
        control = lower.with_table(space.table, space.asid)
        for entry in leaves(kernel.machine, control, remaining, tables):
            if isinstance(entry, Malformed):
                malformed.append(entry)
            else:
                pages[entry.start] = entry
        remaining -= len(tables)
        if remaining == 0:
            pages = {}  # Tables gone wild: what they map says nothing.
        found[space.number] = SpaceMap(space.number, pages, tuple(malformed), tuple(tables))
    return found
