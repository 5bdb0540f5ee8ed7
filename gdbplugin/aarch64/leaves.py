"""The leaves of translation tables: alone, in runs, and joined to pieces of memory; and malformed entries.

A whole map may have more than a hundred thousand leaves. Those of one table that differ only in their output
address are kept together, as one `LeafRun`, and are split only when somebody asks for each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import sub

from gdbplugin.records import NamedTuple

_new = tuple.__new__  # Half the cost of calling the class, where there are very many.


class Leaf(NamedTuple):
    """A block or page of a map. `inherited` are the hierarchical attributes of the tables above it."""

    start: int
    physical: int
    size: int
    level: int
    descriptor: int
    inherited: int


class LeafRun(NamedTuple):
    """Leaves of one table with adjacent input addresses and equal attributes.

    `size` is their total size in bytes; `bits` is what their descriptors have in common, which is all but the
    output address. `outputs` has each leaf's output address: a `range` if these are adjacent too, which is
    one piece, otherwise numbers; `piece_count` is the number of pieces.
    """

    start: int
    size: int
    level: int
    bits: int
    inherited: int
    outputs: Sequence[int]
    piece_count: int

    @property
    def physical(self) -> int:
        """The output address of the first leaf."""
        return self.outputs[0]

    @property
    def leaf_size(self) -> int:
        """What one leaf spans, in bytes."""
        return self.size // len(self.outputs)

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """Each piece: its start, its output address, and the number of its leaves."""
        if self.piece_count == 1:
            yield self.start, self.outputs[0], len(self.outputs)
            return
        start, outputs, size = self.start, self.outputs, self.leaf_size
        first = 0
        for index, distance in enumerate(map(sub, outputs[1:], outputs), 1):
            if distance != size:
                yield start + first * size, outputs[first], index - first
                first = index
        yield start + first * size, outputs[first], len(outputs) - first

    def cut(self, start: int, end: int) -> LeafRun:
        """The leaves that have a part between two addresses; some must."""
        size = self.leaf_size
        low, high = max(0, start - self.start) // size, -(-(end - self.start) // size)
        if low == 0 and high >= len(self.outputs):
            return self
        outputs = self.outputs[low:high]
        count = 1 if self.piece_count == 1 else count_pieces(outputs, size)
        return self._replace(
            start=self.start + low * size, size=len(outputs) * size, outputs=outputs, piece_count=count
        )


class Malformed(NamedTuple):
    """An entry of a table that cannot be followed: a reserved descriptor, an unreadable table."""

    start: int
    """First input address."""
    size: int
    """Bytes of input addresses."""
    level: int
    """Level of the table."""
    table: int
    """Physical address of the table."""
    entry: int
    """Index of the descriptor in its table."""
    descriptor: int
    """The descriptor's value."""
    reason: str
    """Why, in words."""


class Piece(NamedTuple):
    """A range of input addresses (`end` exclusive) that maps to one range of output addresses.

    `sizes` is the number of its leaves by their size in bytes.
    """

    start: int
    end: int
    physical: int
    sizes: dict[int, int]


def count_pieces(outputs: Sequence[int], size: int) -> int:
    """The number of pieces that leaves of one size form, by their outputs."""
    return len(outputs) - list(map(sub, outputs[1:], outputs)).count(size)


def count_pieces_of(runs: Sequence[LeafRun]) -> int:
    """The number of pieces that runs with adjacent input addresses form."""
    count = 0
    end = None
    for run in runs:
        outputs = run.outputs
        count += run.piece_count - (outputs[0] == end)
        end = outputs[-1] + run.leaf_size
    return count


def pieces_of(runs: Iterable[LeafRun]) -> Iterator[Piece]:
    """The pieces that runs with adjacent input addresses form."""
    start = end = offset = 0
    sizes: dict[int, int] = {}
    for run in runs:
        size = run.leaf_size
        for piece_start, physical, count in run.pieces():
            if sizes and physical - piece_start == offset:
                end += count * size
                sizes[size] = sizes.get(size, 0) + count
                continue
            if sizes:
                yield _new(Piece, (start, end, start + offset, sizes))
            start, end = piece_start, piece_start + count * size
            offset, sizes = physical - piece_start, {size: count}
    if sizes:
        yield _new(Piece, (start, end, start + offset, sizes))


def cut(runs: Sequence[LeafRun], start: int, end: int) -> list[LeafRun]:
    """The leaves that have a part between two addresses, of runs with adjacent input addresses."""
    first = max(0, bisect_right(runs, start, key=lambda run: run.start) - 1)
    found = []
    for index in range(first, len(runs)):
        run = runs[index]
        if run.start >= end:
            break
        if run.start + run.size > start:
            found.append(run.cut(start, end))
    return found
