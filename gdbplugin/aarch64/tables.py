"""The entries of one translation table: leaves, other tables, and malformed entries (DDI 0487, D8.3).

A map may have more than a hundred thousand leaves. Adjacent leaves of one table that differ only in their
output address are kept together as one `LeafRun`, which is split only on demand.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import sub

from gdbplugin.aarch64 import packed_words
from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import (
    LAST_LEVEL,
    TABLE_OR_PAGE,
    VALID,
    AddressFormat,
    Kind,
    address_mask,
    inherit,
    kind_of,
)
from gdbplugin.records import NamedTuple

_new = tuple.__new__  # Takes half as long as calling the class, which matters for very many.


class Leaf(NamedTuple):
    """A block or page of a map; `inherited` are the hierarchical attributes of the tables above it."""

    start: int
    physical: int
    size: int
    level: int
    descriptor: int
    inherited: int


class LeafRun(NamedTuple):
    """Leaves of one table with adjacent input addresses and equal attributes.

    `size` is their total size in bytes. `bits` are the bits that their descriptors have in common: all but
    the output address. `outputs` are the output addresses of the leaves, a `range` if they are adjacent.
    `piece_count` is the number of pieces, see `Piece`.
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
        """The size of one leaf, in bytes."""
        return self.size // len(self.outputs)

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """The start, the output address and the number of leaves of each piece."""
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
        """The leaves that overlap a range of addresses, of which there must be some."""
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
    """An entry that cannot be followed: a reserved descriptor, or one that leads to an unreadable table."""

    start: int
    """The first input address of the entry."""
    size: int
    """Size of the range of input addresses, in bytes."""
    level: int
    """Level of the table."""
    table: int
    """Physical address of the table."""
    entry: int
    """Index of the descriptor in the table."""
    descriptor: int
    """The descriptor's value."""
    reason: str
    """Why it cannot be followed, in words."""


class Piece(NamedTuple):
    """A range of input addresses (`end` exclusive) that maps to one range of output addresses.

    `sizes` has the number of its leaves by their size in bytes.
    """

    start: int
    end: int
    physical: int
    sizes: dict[int, int]


def count_pieces(outputs: Sequence[int], size: int) -> int:
    """The number of pieces that adjacent leaves of one size form, by their output addresses."""
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
    """The leaves that overlap a range of addresses; the runs must have adjacent input addresses."""
    first = max(0, bisect_right(runs, start, key=lambda run: run.start) - 1)
    found = []
    for index in range(first, len(runs)):
        run = runs[index]
        if run.start >= end:
            break
        if run.start + run.size > start:
            found.append(run.cut(start, end))
    return found


class Table(NamedTuple):
    """A table that has not been read yet, and the descriptor that points to it."""

    start: int
    level: int
    address: int
    inherited: int
    entry: int
    descriptor: int

    def malformed(self, control: TranslationControl, reason: str) -> Malformed:
        """The malformed entry for a table that cannot be read."""
        size = control.table_bytes(self.level) // 8 << control.shift(self.level)
        return Malformed(self.start, size, self.level, self.address, self.entry, self.descriptor, reason)


Entry = Table | LeafRun | Malformed


def read_entries(
    control: TranslationControl, table: Table, data: bytes, within: tuple[int, int] | None
) -> list[Entry]:
    """The valid entries of a table, in order, from its bytes; `within` as for `maps.leaf_runs`."""
    if control.big_endian:
        data = packed_words.swapped(data)
    shift = control.shift(table.level)
    index, end = packed_words.nonzero_range(data)
    if within is not None:
        index = max(index, within[0] - table.start >> shift)
        end = min(end, -(table.start - within[1] >> shift))
    if index >= end:
        return []
    run = _single_run(control, table, data, index, end)
    if run is not None:
        return [run]
    descriptors = struct.unpack(f"<{len(data) // 8}Q", data)
    entries: list[Entry] = []
    # This bit is set in a page; at other levels it is set in a table and clear in a block.
    leaf_bit = TABLE_OR_PAGE if table.level == LAST_LEVEL else 0
    leaves: _LeafReader | None = None
    while index < end:
        descriptor = descriptors[index]
        if not descriptor & VALID:
            index += 1
        elif descriptor & TABLE_OR_PAGE == leaf_bit:
            leaves = leaves or _LeafReader(control, table, descriptors)
            index = leaves.read(index, end, entries)
        else:
            entries.append(_next_table(control, table, index, descriptor))
            index += 1
    return entries


_FEW_ENTRIES = 16


def _single_run(
    control: TranslationControl, table: Table, data: bytes, first: int, end: int
) -> LeafRun | None:
    """The entries from `first` to `end` as one run, if all are leaves with equal attributes.

    Most level 3 tables of a large map are one run. None means that the entries must be read one by one.
    """
    count = end - first
    (descriptor,) = struct.unpack_from("<Q", data, 8 * first)
    kind = kind_of(descriptor, table.level, control.block_levels)
    in_place = control.address_format is AddressFormat.BITS_48
    if count < _FEW_ENTRIES or kind not in (Kind.PAGE, Kind.BLOCK) or not in_place:
        return None
    shift = control.shift(table.level)
    size, mask = 1 << shift, address_mask(shift, control.address_format)
    bits, physical = descriptor & ~mask, descriptor & mask
    found = int.from_bytes(data[8 * first : 8 * end], "little")
    start, total = table.start + first * size, count * size
    if found == packed_words.repeated(descriptor, count) + packed_words.multiples(size, count):
        # The addition must not have carried out of the address field.
        if physical + total > 1 << control.output_bits or physical + total > mask + size:
            return None
        outputs = range(physical, physical + total, size)
        return LeafRun(start, total, table.level, bits, table.inherited, outputs, 1)
    addresses = found & packed_words.repeated(mask & (1 << control.output_bits) - 1, count)
    if found - addresses != packed_words.repeated(bits, count):
        return None
    pieces = count - packed_words.count_steps(addresses, count, size)
    return LeafRun(
        start, total, table.level, bits, table.inherited, packed_words.Words(addresses, count), pieces
    )


def _next_table(control: TranslationControl, table: Table, index: int, descriptor: int) -> Table | Malformed:
    """The table that an entry leads to which is not a leaf."""
    start = table.start + (index << control.shift(table.level))
    if table.level == LAST_LEVEL:
        return _malformed(control, table, index, descriptor, "reserved descriptor")
    output = control.output_address(descriptor, control.granule_bits)
    if output >> control.output_bits:
        return _malformed(control, table, index, descriptor, _too_large(control, output))
    hierarchical = not control.hierarchical_disabled
    inherited = inherit(table.inherited, descriptor) if hierarchical else table.inherited
    return Table(start, table.level + 1, output, inherited, index, descriptor)


_FIRST_COMPARED = 16


class _LeafReader:
    """Reads the leaves of one table, many with each operation."""

    def __init__(self, control: TranslationControl, table: Table, descriptors: Sequence[int]) -> None:
        self._control = control
        self._table = table
        self._descriptors = descriptors
        self._shift = control.shift(table.level)
        common = ~address_mask(self._shift, control.address_format)
        self._bits = [descriptor & common for descriptor in descriptors]

    def read(self, first: int, end: int, entries: list[Entry]) -> int:
        """Add the leaves from `first` on with equal attributes to `entries`; return the index after them."""
        last = self._end_of_equal(first, end)
        control, table = self._control, self._table
        if table.level != LAST_LEVEL and table.level not in control.block_levels:
            self._add_each(first, last, entries, lambda _: "reserved descriptor")
            return last
        outputs = self._outputs(first, last)
        if max(outputs) >> control.output_bits:
            self._add_each(first, last, entries, self._reason)
            return last
        entries.append(self._run(first, outputs))
        return last

    def _end_of_equal(self, first: int, end: int) -> int:
        """The index after the leaves that have the same bits as the one at `first`."""
        bits = self._bits
        value, last, many = bits[first], first + 1, _FIRST_COMPARED
        # Many at a time, and twice as many each time: most leaves of a large map have many equal neighbours.
        while last + many <= end and bits[last : last + many].count(value) == many:
            last, many = last + many, 2 * many
        while last < end and bits[last] == value:
            last += 1
        return last

    def _outputs(self, first: int, last: int) -> list[int]:
        chosen = self._descriptors[first:last]
        if self._control.address_format is AddressFormat.BITS_48:
            mask = address_mask(self._shift, AddressFormat.BITS_48)
            return [descriptor & mask for descriptor in chosen]
        return [self._control.output_address(descriptor, self._shift) for descriptor in chosen]

    def _reason(self, output: int) -> str | None:
        """Why a leaf with this output address is malformed, or None."""
        return _too_large(self._control, output) if output >> self._control.output_bits else None

    def _run(self, first: int, outputs: list[int]) -> LeafRun:
        """The run of leaves that starts at an index and has these output addresses."""
        bits = self._bits[first]
        table, size, count = self._table, 1 << self._shift, len(outputs)
        start = table.start + first * size
        following = range(outputs[0], outputs[0] + count * size, size)
        if outputs[-1] == following[-1] and outputs == list(following):
            return LeafRun(start, count * size, table.level, bits, table.inherited, following, 1)
        pieces = count_pieces(outputs, size)
        return LeafRun(start, count * size, table.level, bits, table.inherited, outputs, pieces)

    def _add_each(
        self, first: int, last: int, entries: list[Entry], find_reason: Callable[[int], str | None]
    ) -> None:
        """Add leaves one by one, some of which are malformed."""
        for index, output in enumerate(self._outputs(first, last), first):
            reason = find_reason(output)
            if reason is None:
                entries.append(self._run(index, [output]))
            else:
                descriptor = self._descriptors[index]
                entries.append(_malformed(self._control, self._table, index, descriptor, reason))


def _malformed(
    control: TranslationControl, table: Table, index: int, descriptor: int, reason: str
) -> Malformed:
    shift = control.shift(table.level)
    start = table.start + (index << shift)
    return Malformed(start, 1 << shift, table.level, table.address, index, descriptor, reason)


def _too_large(control: TranslationControl, output: int) -> str:
    return f"output address {output:#x} exceeds {control.output_bits} bits"
