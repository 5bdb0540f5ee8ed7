"""What a map of translation tables is made of: leaves, alone and many together, and what cannot be followed.

A whole map has a hundred thousand leaves and more. Those of one table that differ in nothing but their
output are kept together, as one `Extent`, and are told apart only where somebody asks for each.
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


class Extent(NamedTuple):
    """Leaves of one table that follow on each other in input address and have all attributes alike.

    `size` is that of all together, in bytes; `bits` is what their descriptors have in common, which is all
    but the output address. `outputs` has each leaf's: a `range` where they too follow on each other, which
    is one piece, else numbers with `pieces` pieces that do.
    """

    start: int
    size: int
    level: int
    bits: int
    inherited: int
    outputs: Sequence[int]
    pieces: int

    @property
    def physical(self) -> int:
        """The output address of the first leaf."""
        return self.outputs[0]

    @property
    def leaf_size(self) -> int:
        """What one leaf spans, in bytes."""
        return self.size // len(self.outputs)

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """Each piece: its start, its output address, and the number of its leaves."""
        if self.pieces == 1:
            yield self.start, self.outputs[0], len(self.outputs)
            return
        start, outputs, size = self.start, self.outputs, self.leaf_size
        first = 0
        for index, distance in enumerate(map(sub, outputs[1:], outputs), 1):
            if distance != size:
                yield start + first * size, outputs[first], index - first
                first = index
        yield start + first * size, outputs[first], len(outputs) - first

    def cut(self, start: int, end: int) -> Extent:
        """The leaves that have a part between two addresses; some must."""
        size = self.leaf_size
        low, high = max(0, start - self.start) // size, -(-(end - self.start) // size)
        if low == 0 and high >= len(self.outputs):
            return self
        outputs = self.outputs[low:high]
        pieces = 1 if self.pieces == 1 else count_pieces(outputs, size)
        return self._replace(
            start=self.start + low * size, size=len(outputs) * size, outputs=outputs, pieces=pieces
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
    """A range of input addresses (`end` exclusive) that maps to one range of outputs.

    `sizes` tells how many leaves of which size (in bytes) make it up.
    """

    start: int
    end: int
    physical: int
    sizes: dict[int, int]


def count_pieces(outputs: Sequence[int], size: int) -> int:
    """How many pieces leaves of that size are in, by their outputs."""
    return len(outputs) - list(map(sub, outputs[1:], outputs)).count(size)


def count_joined(extents: Sequence[Extent]) -> int:
    """How many pieces there are in extents that follow on each other in input address."""
    count = 0
    end = None
    for extent in extents:
        outputs = extent.outputs
        count += extent.pieces - (outputs[0] == end)
        end = outputs[-1] + extent.leaf_size
    return count


def joined(extents: Iterable[Extent]) -> Iterator[Piece]:
    """The pieces of extents that follow on each other in input address."""
    start = end = offset = 0
    sizes: dict[int, int] = {}
    for extent in extents:
        size = extent.leaf_size
        for run_start, physical, count in extent.runs():
            if sizes and physical - run_start == offset:
                end += count * size
                sizes[size] = sizes.get(size, 0) + count
                continue
            if sizes:
                yield _new(Piece, (start, end, start + offset, sizes))
            start, end = run_start, run_start + count * size
            offset, sizes = physical - run_start, {size: count}
    if sizes:
        yield _new(Piece, (start, end, start + offset, sizes))


def cut(extents: Sequence[Extent], start: int, end: int) -> list[Extent]:
    """The leaves that have a part between two addresses, of extents that follow on each other."""
    first = max(0, bisect_right(extents, start, key=lambda extent: extent.start) - 1)
    found = []
    for index in range(first, len(extents)):
        extent = extents[index]
        if extent.start >= end:
            break
        if extent.start + extent.size > start:
            found.append(extent.cut(start, end))
    return found
