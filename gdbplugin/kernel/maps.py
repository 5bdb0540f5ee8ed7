"""The map of an address space: what `tinyos maps` shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.cores import read_cores
from gdbplugin.aarch64.descriptor import Attributes
from gdbplugin.aarch64.maps import MAXIMUM_TABLES, Malformed, mapped_ranges, runs
from gdbplugin.aarch64.memory_types import is_device
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.places import NoSymbols, Place, Places, Symbols, places_of_program, read_places
from gdbplugin.kernel.selection import Selection, SelectionError, View, choose
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.stopped import Stopped
from gdbplugin.machine import Machine, MachineError, MachineGoneError

_MALFORMED_KEPT = 1000
_new = tuple.__new__  # Half the cost of calling the class, where there are very many.
_Piece = tuple[int, int, int, Attributes, str | None, int | None, dict[int, int]]
"""Start, end, physical address, attributes, memory type, ASID, sizes: a mapped range of one space."""


class Mapping(NamedTuple):
    """A range of input addresses (`end` exclusive) that maps to one range of outputs, and what it is.

    `asid` is None where it is global. `sizes` tells how many leaves of which size (in bytes) make it up.
    """

    start: int
    end: int
    physical: int
    attributes: Attributes
    memory_type: str | None
    asid: int | None
    sizes: dict[int, int]
    owner: str
    place: Place | None
    task: int | None


@dataclass(frozen=True)
class AddressMap(Noticed):
    """A map, or the part of one that was asked for.

    `tables` counts the tables that were read, `leaves` the blocks and pages found in them, before any
    filter. With the MMU off there are no mappings: every address is its own output. `aliases` is the
    physical address whose aliases were asked for: the mappings are then those that contain it, of every
    address space that is known.
    """

    view: View
    mappings: tuple[Mapping, ...]
    malformed: tuple[Malformed, ...]
    malformed_count: int
    tables: int
    leaves: int
    spaces: int
    filtered: bool
    limit: int | None
    aliases: int | None

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self.mappings)

    def __len__(self) -> int:
        return len(self.mappings)


class _Space(NamedTuple):
    """Tables to be walked, in their regime; `asid` and `task` are whose they are."""

    regime: TranslationRegime
    control: TranslationControl
    asid: int | None
    task: int | None


class _Wanted(NamedTuple):
    """The filters."""

    range: tuple[int, int] | None
    permissions: PermissionFilter | None
    owner: str | None
    physical: int | None

    @property
    def any(self) -> bool:
        return any(entry is not None for entry in self)


class PermissionFilter:
    """Permissions that a mapping is to have: `r-x`, `?w?`, `el0:r--`, `el1:?w?`.

    A letter must be there, `-` must not, `?` may. Without a level, either level's permissions may be it.
    """

    def __init__(self, text: str) -> None:
        level, colon, letters = text.lower().rpartition(":")
        if (colon and level not in ("el0", "el1")) or not self._is_pattern(letters):
            raise SelectionError(
                f'"{text}" is no pattern of permissions: r-x, ? for either; el0:?w? for one level'
            )
        self._levels = (level,) if level else ("el0", "el1")
        self._letters = letters

    @staticmethod
    def _is_pattern(letters: str) -> bool:
        pairs = zip(letters, "rwx", strict=False)
        return len(letters) == 3 and all(letter in (name, "-", "?") for letter, name in pairs)

    def matches(self, attributes: Attributes) -> bool:
        """Whether a mapping's permissions are as wanted."""
        return any(self._fits(str(getattr(attributes, level))) for level in self._levels)

    def _fits(self, permissions: str) -> bool:
        return all(wanted in ("?", there) for wanted, there in zip(self._letters, permissions, strict=True))


def read_maps(
    stopped: Stopped,
    symbols: Symbols | None = None,
    *,
    range: tuple[int, int] | None = None,  # noqa: A002 (the user's word)
    permissions: str | None = None,
    owner: str | None = None,
    find_physical: int | None = None,
    limit: int | None = None,
    **selection: int,
) -> AddressMap:
    """Walk all tables of an address space, or for `find_physical` of all known if none is chosen.

    `range` is a start and an exclusive end, `limit` the most mappings to keep; `selection` are the fields
    of `Selection`. Raises what `choose` raises.
    """
    view = choose(stopped, Selection(**selection))
    pattern = None if permissions is None else PermissionFilter(permissions)
    wanted = _Wanted(range, pattern, owner.lower() if owner else None, find_physical)
    reader = _Reader(view, _places(stopped, symbols or NoSymbols()), wanted)
    if not view.regime.enabled:
        spaces = []
    elif find_physical is not None and not {"asid", "ttbr"} & selection.keys():
        spaces = _all_spaces(stopped, view)
    else:
        spaces = [_Space(view.regime, control, view.asid, view.task) for control in view.regime.controls]
    mappings: list[Mapping] = []
    for space in spaces:
        mappings += reader.mappings(space)
    kept = mappings if limit is None else mappings[:limit]
    return AddressMap(
        view=view,
        mappings=tuple(kept),
        malformed=tuple(reader.malformed[:_MALFORMED_KEPT]),
        malformed_count=len(reader.malformed),
        tables=len(reader.visited),
        leaves=reader.leaves,
        spaces=len(spaces),
        filtered=wanted.any,
        limit=limit if len(kept) < len(mappings) else None,
        aliases=find_physical,
    )


def _places(stopped: Stopped, symbols: Symbols) -> Places:
    """What is known to lie where: by TinyOS's records where it is that, else by the program's sections."""
    kernel = stopped.kernel
    if kernel is None:
        return places_of_program(symbols)
    try:
        return read_places(kernel, symbols)
    except MachineGoneError:
        raise
    except MachineError as error:
        stopped.journal.note(f"what TinyOS has on record could not be read: {error}")
        return places_of_program(symbols)


def _all_spaces(stopped: Stopped, view: View) -> list[_Space]:
    """The selected regime's tables, and the lower half of every other address space that is known."""
    regime = view.regime
    spaces = [_Space(regime, control, view.asid, None) for control in regime.controls]
    if regime.level != 1:
        return spaces
    known = {regime.lower.root_address}
    kernel = stopped.kernel
    if kernel is not None:
        for space in read_spaces(kernel).spaces:
            if space.table == regime.lower.root_address:
                spaces[0] = spaces[0]._replace(task=space.number)
            elif space.table is not None and space.table not in known:
                known.add(space.table)
                other = regime.with_lower_table(space.table, space.asid)
                spaces.append(_Space(other, other.lower, space.asid, space.number))
    for core in read_cores(stopped.machine):
        if core.ttbr0 is not None and core.mmu_enabled and core.ttbr0.base not in known:
            known.add(core.ttbr0.base)
            other = regime.with_lower_table(core.ttbr0.base, core.ttbr0.asid)
            spaces.append(_Space(other, other.lower, core.ttbr0.asid, None))
    return spaces


class _Reader:
    """Walks spaces; keeps what of them is wanted, and counts what there is."""

    def __init__(self, view: View, places: Places, wanted: _Wanted) -> None:
        self._view = view
        self._machine: Machine = view.machine
        self._places = places
        self._wanted = wanted
        self.malformed: list[Malformed] = []
        self.visited: list[int] = []
        self.leaves = 0

    def mappings(self, space: _Space) -> list[Mapping]:
        """The mappings of one space that are wanted."""
        remaining = MAXIMUM_TABLES - len(self.visited)
        wanted = self._wanted
        kept: list[Mapping] = []
        facts: dict[int, tuple[bool, str | None, int | None]] = {}
        around: Place | None = None
        for entry in mapped_ranges(space.regime, runs(self._machine, space.control, remaining, self.visited)):
            if isinstance(entry, Malformed):
                self.malformed.append(entry)
                continue
            start, end, physical, attributes, sizes = entry
            self.leaves += sum(sizes.values())
            # Equal attributes of one map are one object: what follows from them is worked out once.
            known = facts.get(id(attributes))
            if known is None:
                known = facts[id(attributes)] = self._facts(space, attributes)
            permitted, memory, asid = known
            if not permitted:
                continue
            if wanted.physical is not None and not physical <= wanted.physical < physical + end - start:
                continue
            if wanted.range is not None:
                start, end = max(start, wanted.range[0]), min(end, wanted.range[1])
                if start >= end:
                    continue
                if end - start != entry.end - entry.start:
                    sizes = _sizes_within(sizes, end - start)
                physical += start - entry.start
            piece = (start, end, physical, attributes, memory, asid, sizes)
            if around is None or not around.start <= start < around.end:
                around = self._places.at(start)
            if around is not None and end <= around.end and (wanted.physical, wanted.owner) == (None, None):
                kept.append(_new(Mapping, (*piece, around.name, around, space.task)))
            else:
                kept += self._parts(space, piece)
        return kept

    def _facts(self, space: _Space, attributes: Attributes) -> tuple[bool, str | None, int | None]:
        """Whether such attributes are wanted, the memory type, and the ASID that entries with them have."""
        return (
            self._wanted.permissions is None or self._wanted.permissions.matches(attributes),
            self._view.memory_type(attributes.attribute_index),
            space.asid if space.regime.has_el0 and attributes.not_global else None,
        )

    def _parts(self, space: _Space, piece: _Piece) -> Iterator[Mapping]:
        """A mapped range by what lies in it."""
        start, end, physical, attributes, memory, asid, sizes = piece
        wanted = self._wanted
        for low, high, place in self._places.split(start, end):
            output = physical + low - start
            if wanted.physical is not None and not output <= wanted.physical < output + high - low:
                continue
            owner = place.name if place else _unrecorded(space.control, low, output, memory)
            if wanted.owner is not None and wanted.owner not in owner.lower():
                continue
            inside = sizes if high - low == end - start else _sizes_within(sizes, high - low)
            yield Mapping(low, high, output, attributes, memory, asid, inside, owner, place, space.task)


def _sizes_within(sizes: dict[int, int], size: int) -> dict[int, int]:
    """The leaves of a part of a mapped range, where they can be told: those of one size."""
    if len(sizes) == 1:
        (leaf,) = sizes
        return {leaf: -(-size // leaf)}
    return {}


def _unrecorded(control: TranslationControl, start: int, physical: int, memory: str | None) -> str:
    """What a mapping that nobody has on record looks like; empty where it looks like nothing special."""
    if is_device(memory):
        return "device"
    if start == physical:
        return "identity map"
    if control.upper and start - physical == control.first_address:
        return "linear map"
    return ""
