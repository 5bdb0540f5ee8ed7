"""Frames that are mapped more than once, in ways that do not go together (DDI 0487, B2.11, D8.4.1).

Mappings that use frames alike are joined first. One pass over the borders of what is left then finds each
range of frames with several uses: its cost grows with the number of pieces, and not with that of pages.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from operator import itemgetter

from gdbplugin.aarch64.tables import Piece
from gdbplugin.records import NamedTuple

_new = tuple.__new__  # Takes half as long as calling the class, which matters for very many.


class Use(NamedTuple):
    """How a mapping uses its frames.

    `domain` tells physical addresses (None) from Secure ones (-1) and from the intermediate ones of a stage 2
    (its VMID). `memory` is the memory type and shareability, None if not known. `writers` and `executors` are
    the exception levels that may write and execute.
    """

    domain: int | None
    memory: str | None
    writers: frozenset[int]
    executors: frozenset[int]


class MappedPiece(NamedTuple):
    """A range of output addresses (`end` exclusive), the input address of the first, and whose it is."""

    physical: int
    end: int
    start: int
    owner: int


class Alias(NamedTuple):
    """A range of output addresses (`end` exclusive) that two mappings use in ways that do not go together.

    `mismatched`: memory types or shareability differ. Otherwise the frames are executed at `start` and
    written at `other_start`. `owner` and `other_owner` are those of the pieces.
    """

    mismatched: bool
    physical: int
    end: int
    owner: int
    start: int
    other_owner: int
    other_start: int


class FrameUses:
    """All pieces of memory that are mapped, by how they are used."""

    def __init__(self) -> None:
        self._pieces: dict[Use, list[MappedPiece]] = {}

    def add(self, use: Use, pieces: Iterable[MappedPiece]) -> None:
        """Add mapped pieces."""
        self._pieces.setdefault(use, []).extend(pieces)

    def aliases(self) -> Iterator[Alias]:
        """Each pair of mappings of the same frames that do not go together, roughly by output address."""
        for domain in sorted(
            {use.domain for use in self._pieces}, key=lambda one: -2 if one is None else one
        ):
            used = {use: _Index(found) for use, found in self._pieces.items() if use.domain == domain}
            for mismatched, first, second, low, high in _joined(_conflicts(used)):
                yield from _pairs(mismatched, low, high, used[first], used[second])


def conflicts_of(one: Use, other: Use) -> Iterator[tuple[bool, Use, Use]]:
    """How two uses of a frame do not go together: whether by memory type, and the two in order.

    A frame that a level executes must not be written by that level or by one with less privilege: a more
    privileged one may write, as a kernel writes its programs.
    """
    if one.memory is not None and other.memory is not None and one.memory != other.memory:
        yield True, one, other
    for first, second in ((one, other), (other, one)):
        if second.writers and first.executors and min(second.writers) <= max(first.executors):
            yield False, first, second


_Conflict = tuple[bool, Use, Use, int, int]
"""As `conflicts_of` has it, and the range of output addresses."""


def _conflicts(used: dict[Use, _Index]) -> Iterator[_Conflict]:
    """Every conflict between two borders of the joined ranges."""
    numbered = list(used)
    borders: list[tuple[int, int]] = []
    for number, index in enumerate(used.values()):
        for low, high in index.joined():
            borders += ((low, number + 1), (high, -number - 1))
    borders.sort(key=itemgetter(0))

    @cache
    def of_uses(here: frozenset[int]) -> tuple[tuple[bool, Use, Use], ...]:
        chosen = sorted(here)
        pairs = [(numbered[a], numbered[b]) for a in chosen for b in chosen if a < b]
        return tuple(found for pair in pairs for found in conflicts_of(*pair))

    here: set[int] = set()
    position = 0
    for place, change in borders:
        if place != position and len(here) > 1:
            for conflict in of_uses(frozenset(here)):
                yield (*conflict, position, place)
        position = place
        if change > 0:
            here.add(change - 1)
        else:
            here.discard(-change - 1)


def _joined(conflicts: Iterable[_Conflict]) -> Iterator[_Conflict]:
    """The same with adjacent ranges of one conflict as one, in ascending order of their ends."""
    pending: dict[tuple[bool, Use, Use], tuple[int, int]] = {}
    for mismatched, first, second, low, high in conflicts:
        key = (mismatched, first, second)
        known = pending.get(key)
        if known is not None and known[1] == low:
            pending[key] = (known[0], high)
            continue
        if known is not None:
            yield (*key, *known)
        pending[key] = (low, high)
    for key, known in sorted(pending.items(), key=lambda entry: entry[1]):
        yield (*key, *known)


def _pairs(mismatched: bool, low: int, high: int, first: _Index, second: _Index) -> Iterator[Alias]:
    """The mappings of a range of frames on both sides, joined where the input addresses go on."""
    last: Alias | None = None
    position = low
    while position < high:
        one, other = first.at(position), second.at(position)
        end = min(high, one.end, other.end)
        start = one.start + position - one.physical
        other_start = other.start + position - other.physical
        if last is not None and _goes_on(last, one.owner, start, other.owner, other_start):
            last = last._replace(end=end)
        else:
            if last is not None:
                yield last
            last = Alias(mismatched, position, end, one.owner, start, other.owner, other_start)
        position = end
    if last is not None:
        yield last


def _goes_on(last: Alias, owner: int, start: int, other_owner: int, other_start: int) -> bool:
    size = last.end - last.physical
    return (last.owner, last.start + size, last.other_owner, last.other_start + size) == (
        owner,
        start,
        other_owner,
        other_start,
    )


class _Index:
    """The pieces of one use by output address. They may overlap."""

    def __init__(self, pieces: Sequence[MappedPiece]) -> None:
        self._pieces = sorted(pieces)
        self._starts = [piece.physical for piece in self._pieces]
        # Of the pieces up to each, the one that ends last.
        self._reaching: list[MappedPiece] = list(accumulate(self._pieces, _later))

    def joined(self) -> Iterator[tuple[int, int]]:
        """The output addresses of all pieces as ranges without overlaps."""
        low = high = None
        for piece in self._pieces:
            if high is None or piece.physical > high:
                if low is not None and high is not None:
                    yield low, high
                low, high = piece.physical, piece.end
            elif piece.end > high:
                high = piece.end
        if low is not None and high is not None:
            yield low, high

    def at(self, physical: int) -> MappedPiece:
        """A piece with an output address, which there must be."""
        return self._reaching[bisect_right(self._starts, physical) - 1]


def _later(one: MappedPiece, other: MappedPiece) -> MappedPiece:
    """The piece that ends later."""
    return other if other.end > one.end else one


def pieces_at(pieces: Iterable[Piece], owner: int) -> list[MappedPiece]:
    """The pieces of a mapping by their output addresses."""
    return [
        _new(MappedPiece, (physical, physical + end - start, start, owner))
        for start, end, physical, _ in pieces
    ]
