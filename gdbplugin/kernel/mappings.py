"""What the hardware's tables map for each of the kernel's address spaces."""

from __future__ import annotations

from dataclasses import dataclass

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import ADDRESS_BITS
from gdbplugin.aarch64.maps import Leaf, Malformed, leaf_attributes, leaves
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.kernel.spaces import AddressSpace, AddressSpaces
from gdbplugin.kernel.target import Kernel

PAGE_BYTES = 4096
_ATTRIBUTES = ~ADDRESS_BITS
# Bounds for tables gone wild, more than TinyOS can have. All spaces together: some 700 tables for 96 spaces,
# 96 stacks of 2 MiB and 40,960 lazy pages. One space: its lazy pages, its stack, and its text.
_MAXIMUM_TABLES = 1500
_MAXIMUM_ENTRIES = 50_000


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
    found: dict[int, SpaceMap] = {}
    remaining = _MAXIMUM_TABLES
    for space in spaces.spaces:
        if not space.is_active or space.table is None:
            continue
        control = lower.with_table(space.table, space.asid)
        found[space.number] = _read_map(kernel, control, space.number, remaining)
        remaining -= len(found[space.number].tables)
    return found


def read_space(kernel: Kernel, space: AddressSpace) -> SpaceMap:
    """Walk the tables of one address space."""
    control = kernel.regime.lower.with_table(space.table or 0, space.asid)
    return _read_map(kernel, control, space.number, _MAXIMUM_TABLES)


def _read_map(kernel: Kernel, control: TranslationControl, number: int, maximum_tables: int) -> SpaceMap:
    """The map of one space; without pages if the tables have gone wild, for then those say nothing."""
    tables: list[int] = []
    pages: dict[int, Leaf] = {}
    malformed = []
    for entry in leaves(kernel.machine, control, maximum_tables, tables):
        if isinstance(entry, Leaf):
            pages[entry.start] = entry
        else:
            malformed.append(entry)
        if len(pages) + len(malformed) > _MAXIMUM_ENTRIES:
            reason = f"the walk stopped here, {_MAXIMUM_ENTRIES:,} entries being its limit"
            malformed = [Malformed(entry.start, 0, entry.level, 0, 0, entry.descriptor, reason)]
            return SpaceMap(number, {}, tuple(malformed), tuple(tables))
    return SpaceMap(number, pages, tuple(malformed), tuple(tables))
