"""What changed in the mappings of any kernel between two moments: ranges of addresses, by address space.

The objects of TinyOS are compared by `diff`; this needs only the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gdbplugin.aarch64.maps import Bounds, leaf_runs, mapped_ranges
from gdbplugin.aarch64.tables import Malformed
from gdbplugin.aarch64.walk import table_memory
from gdbplugin.kernel.maps import all_spaces
from gdbplugin.kernel.selection import Selection, choose
from gdbplugin.kernel.target import Target
from gdbplugin.records import NamedTuple, dataclass

_EVERYTHING = 1 << 64


@dataclass(frozen=True)
class MapChange:
    """A range of addresses whose mapping changed."""

    table: int
    """Physical address of the root table of the address space."""
    start: int
    """The first address."""
    end: int
    """The exclusive end."""
    before: str | None
    """What it was mapped to, in words; null for nothing."""
    after: str | None
    """What it is mapped to now."""


class _Mapped(NamedTuple):
    """A range of addresses that is mapped to one range of physical memory, with one set of attributes."""

    start: int
    end: int
    physical: int
    words: str

    def at(self, address: int) -> tuple[int, str]:
        """What an address in it is mapped to."""
        return self.physical + address - self.start, self.words


class MapMoment(NamedTuple):
    """What is mapped at one moment, by root table; and where reading stopped at its bounds, if it did."""

    spaces: dict[int, list[_Mapped]]
    stopped_at: int | None


def read_map_moment(target: Target) -> MapMoment:
    """Read the mappings of all address spaces that are known. Raises what `choose` raises."""
    view = choose(target, Selection())
    bounds = Bounds()
    found: dict[int, list[_Mapped]] = {}
    if not view.regime.enabled:
        return MapMoment(found, None)
    machine = table_memory(view.machine, view.regime)
    for space in all_spaces(target, view):
        pieces = found.setdefault(space.control.root_address, [])
        entries = leaf_runs(machine, space.control, bounds)
        for part in mapped_ranges(space.regime, entries):
            if isinstance(part, Malformed):
                continue
            # Without the flags that the hardware sets.
            words = ", ".join(view.access_words(part.attributes))
            for piece in part.pieces():
                pieces.append(_Mapped(piece.start, piece.end, piece.physical, words))
    return MapMoment(found, bounds.stopped_at)


def map_changes(before: MapMoment, after: MapMoment) -> Iterator[MapChange]:
    """The ranges whose mapping changed, in the address spaces that both moments have."""
    for table in sorted(before.spaces.keys() & after.spaces.keys()):
        yield from _joined(table, _differences(before.spaces[table], after.spaces[table]))


class _Difference(NamedTuple):
    start: int
    end: int
    before: tuple[int, str] | None
    after: tuple[int, str] | None


def _differences(old: Sequence[_Mapped], new: Sequence[_Mapped]) -> Iterator[_Difference]:
    """The parts, between all edges, where two lists of ranges in ascending order differ."""
    one, other = iter(old), iter(new)
    first, second = next(one, None), next(other, None)
    position = 0
    while first is not None or second is not None:
        if first is not None and first.end <= position:
            first = next(one, None)
        elif second is not None and second.end <= position:
            second = next(other, None)
        else:
            edges = [
                edge
                for part in (first, second)
                if part is not None
                for edge in (part.start, part.end)
                if edge > position
            ]
            end = min(edges, default=_EVERYTHING)
            was, now = (
                None if part is None or not part.start <= position < part.end else part.at(position)
                for part in (first, second)
            )
            if was != now:
                yield _Difference(position, end, was, now)
            position = end


def _joined(table: int, differences: Iterable[_Difference]) -> Iterator[MapChange]:
    """Adjacent differences of the same kind as one change."""
    whole: _Difference | None = None
    for one in differences:
        if whole is not None and whole.end == one.start and _kind(whole) == _kind(one):
            whole = whole._replace(end=one.end)
            continue
        if whole is not None:
            yield _change(table, whole)
        whole = one
    if whole is not None:
        yield _change(table, whole)


def _kind(one: _Difference) -> tuple[str | None, str | None]:
    return one.before and one.before[1], one.after and one.after[1]


def _change(table: int, whole: _Difference) -> MapChange:
    texts = (None if side is None else f"{side[0]:#x}, {side[1]}" for side in (whole.before, whole.after))
    return MapChange(table, whole.start, whole.end, *texts)
