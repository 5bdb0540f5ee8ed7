"""What the hardware's tables map for each of the kernel's address spaces."""

from __future__ import annotations

import re

from gdbplugin.aarch64.access import permissions_by_level
from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import ADDRESS_BITS, Attributes
from gdbplugin.aarch64.leaves import Leaf, Malformed
from gdbplugin.aarch64.maps import Bounds, leaf_attributes, leaves
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.walk import memory_of
from gdbplugin.kernel.kernel import Kernel, SelectionError
from gdbplugin.kernel.spaces import AddressSpace, AddressSpaces
from gdbplugin.records import dataclass


class PermissionFilter:
    """The permissions that a mapping must have: `r-x`, `?w?`, `el0:r--`, `el1:?w?`.

    A letter must be there, `-` must not, `?` may. Without a level, any of the regime's levels may have them.
    Raises `SelectionError` for anything else, and for a level that the regime does not have.
    """

    def __init__(self, text: str, regime: TranslationRegime) -> None:
        level, colon, letters = text.upper().rpartition(":")
        if (colon and not re.fullmatch("EL[0-3]", level)) or not self._is_pattern(letters.lower()):
            raise SelectionError(f'"{text}" is not a pattern of permissions (examples: r-x, ?w?, el0:r--)')
        known = [f"EL{number}" for number in regime.levels]
        if level and level not in known:
            raise SelectionError(f"the {regime.name} regime has no {level} (known: {', '.join(known)})")
        self._levels = regime.levels
        self._level = level
        self._letters = letters.lower()

    @staticmethod
    def _is_pattern(letters: str) -> bool:
        pairs = zip(letters, "rwx", strict=False)
        return len(letters) == 3 and all(letter in (name, "-", "?") for letter, name in pairs)

    def matches(self, attributes: Attributes) -> bool:
        """Whether a mapping's permissions are as wanted."""
        allowed = permissions_by_level(self._levels, attributes)
        return any(self._fits(found) for level, found in allowed.items() if self._level in ("", level))

    def _fits(self, permissions: str) -> bool:
        return all(wanted in ("?", there) for wanted, there in zip(self._letters, permissions, strict=True))


PAGE_BYTES = 4096
_ATTRIBUTES = ~ADDRESS_BITS
# More than TinyOS can have. One space: 40,960 lazy pages, a stack of 2 MiB, and its text.
MAXIMUM_SPACE_TABLES = 200
MAXIMUM_SPACE_PAGES = 50_000
# All of them: some 700 tables for 96 spaces, 96 stacks and the lazy pages.
MAXIMUM_PAGES = 150_000


@dataclass(frozen=True)
class SpaceMap:
    """The pages of one address space by virtual address, its malformed entries, and its tables' addresses.

    Where its tables have no end it has none of these, and `endless_from` is an address that the walk came to.
    `is_read` is False where it was left out as others have no end.
    """

    number: int
    pages: dict[int, Leaf]
    malformed: tuple[Malformed, ...]
    tables: tuple[int, ...]
    endless_from: int | None = None
    is_read: bool = True

    @property
    def is_known(self) -> bool:
        """Whether what is not in `pages` is not mapped."""
        return self.is_read and self.endless_from is None


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
            known = self._known[key] = str(
                leaf_attributes(self._regime, leaf.start, leaf.descriptor, leaf.inherited).el0
            )
        return known


def read_space_maps(kernel: Kernel, spaces: AddressSpaces) -> dict[int, SpaceMap]:
    """Walk the tables of every active address space, by its number. Each table is read once."""
    lower = kernel.regime.lower
    found: dict[int, SpaceMap] = {}
    remaining = MAXIMUM_PAGES
    for space in spaces.active:
        if not space.is_active or space.table is None:
            continue
        if remaining <= 0:
            found[space.number] = SpaceMap(space.number, {}, (), (), is_read=False)
            continue
        found[space.number] = _read_map(kernel, lower.with_table(space.table, space.asid), space.number)
        endless = found[space.number].endless_from is not None
        remaining -= MAXIMUM_SPACE_PAGES if endless else len(found[space.number].pages)
    left_out = [number for number, space in found.items() if not space.is_read]
    if left_out:
        kernel.journal.note(
            f"the tables of {len(left_out)} address spaces were not read, from space {left_out[0]} on: "
            "those of others have no end"
        )
    return found


def read_space_map(kernel: Kernel, space: AddressSpace, within: tuple[int, int]) -> SpaceMap:
    """Walk those tables of one address space that map addresses in a range, its end exclusive."""
    control = kernel.regime.lower.with_table(space.table or 0, space.asid)
    return _read_map(kernel, control, space.number, within)


def _read_map(
    kernel: Kernel, control: TranslationControl, number: int, within: tuple[int, int] | None = None
) -> SpaceMap:
    """The map of one space; without pages if its tables have no end, for then those say nothing."""
    # An entry for each page, and one more where it differs from its neighbours.
    bounds = Bounds(MAXIMUM_SPACE_TABLES, 2 * MAXIMUM_SPACE_PAGES)
    tables: list[int] = []
    pages: dict[int, Leaf] = {}
    malformed = []
    for entry in leaves(memory_of(kernel.machine, kernel.regime), control, bounds, tables, within):
        if isinstance(entry, Leaf):
            pages[entry.start] = entry
        else:
            malformed.append(entry)
        if len(pages) > MAXIMUM_SPACE_PAGES:
            return SpaceMap(number, {}, (), (), endless_from=entry.start)
    if bounds.stopped_at is not None:
        return SpaceMap(number, {}, (), (), endless_from=bounds.stopped_at)
    return SpaceMap(number, pages, tuple(malformed), tuple(tables))
