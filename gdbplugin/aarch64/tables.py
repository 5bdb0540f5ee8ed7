"""The entries of one translation table (DDI 0487, D8.3): leaves, tables below, and malformed ones."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

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
from gdbplugin.aarch64.leaves import LeafRun, Malformed, count_pieces
from gdbplugin.records import NamedTuple

_COMPARED_AT_FIRST = 16
_FEW = 16


class Table(NamedTuple):
    """A table still to be visited, and the descriptor that points to it."""

    start: int
    level: int
    address: int
    inherited: int
    entry: int
    descriptor: int

    def malformed(self, control: TranslationControl, reason: str) -> Malformed:
        """A place in the map for a table that cannot be followed."""
        size = control.table_bytes(self.level) // 8 << control.shift(self.level)
        return Malformed(self.start, size, self.level, self.address, self.entry, self.descriptor, reason)


Entry = Table | LeafRun | Malformed


def read_entries(
    control: TranslationControl, table: Table, data: bytes, within: tuple[int, int] | None
) -> list[Entry]:
    """The valid entries of a table in order, from its bytes; `within` as for `gdbplugin.aarch64.maps`."""
    if control.big_endian:
        data = packed_words.swapped(data)
    shift = control.shift(table.level)
    index, end = packed_words.nonzero_range(data)
    if within is not None:
        index = max(index, within[0] - table.start >> shift)
        end = min(end, -(table.start - within[1] >> shift))
    if index >= end:
        return []
    whole = _all_alike(control, table, data, index, end)
    if whole is not None:
        return [whole]
    descriptors = struct.unpack(f"<{len(data) // 8}Q", data)
    entries: list[Entry] = []
    # The level tells pages from tables by one bit's value; elsewhere that is what blocks have.
    leaf_bit = TABLE_OR_PAGE if table.level == LAST_LEVEL else 0
    leaves: _Leaves | None = None
    while index < end:
        descriptor = descriptors[index]
        if not descriptor & VALID:
            index += 1
        elif descriptor & TABLE_OR_PAGE == leaf_bit:
            leaves = leaves or _Leaves(control, table, descriptors)
            index = leaves.read(index, end, entries)
        else:
            entries.append(_below(control, table, index, descriptor))
            index += 1
    return entries


def _all_alike(
    control: TranslationControl, table: Table, data: bytes, first: int, end: int
) -> LeafRun | None:
    """The entries from `first` to `end` as one run, if all are leaves with equal attributes.

    That is so in most last tables of a large map; None only means that they must be looked at one by one.
    """
    count = end - first
    (descriptor,) = struct.unpack_from("<Q", data, 8 * first)
    kind = kind_of(descriptor, table.level, control.block_levels)
    in_place = control.address_format is AddressFormat.BITS_48
    if count < _FEW or kind not in (Kind.PAGE, Kind.BLOCK) or not in_place:
        return None
    shift = control.shift(table.level)
    size, mask = 1 << shift, address_mask(shift, control.address_format)
    bits, physical = descriptor & ~mask, descriptor & mask
    found = int.from_bytes(data[8 * first : 8 * end], "little")
    start, total = table.start + first * size, count * size
    if found == packed_words.repeated(descriptor, count) + packed_words.multiples(size, count):
        # Unless it carried out of the field that addresses have.
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


def _below(control: TranslationControl, table: Table, index: int, descriptor: int) -> Table | Malformed:
    """What an entry that is not a leaf leads to."""
    start = table.start + (index << control.shift(table.level))
    if table.level == LAST_LEVEL:
        return _malformed(control, table, index, descriptor, "reserved descriptor")
    output = control.output_address(descriptor, control.granule_bits)
    if output >> control.output_bits:
        return _malformed(control, table, index, descriptor, _too_large(control, output))
    hierarchical = not control.hierarchical_disabled
    inherited = inherit(table.inherited, descriptor) if hierarchical else table.inherited
    return Table(start, table.level + 1, output, inherited, index, descriptor)


def _malformed(
    control: TranslationControl, table: Table, index: int, descriptor: int, reason: str
) -> Malformed:
    shift = control.shift(table.level)
    start = table.start + (index << shift)
    return Malformed(start, 1 << shift, table.level, table.address, index, descriptor, reason)


def _too_large(control: TranslationControl, output: int) -> str:
    return f"output address {output:#x} exceeds {control.output_bits} bits"


class _Leaves:
    """The leaves of one table, read by a few operations on many of them instead of one by one."""

    def __init__(self, control: TranslationControl, table: Table, descriptors: Sequence[int]) -> None:
        self._control = control
        self._table = table
        self._descriptors = descriptors
        self._shift = control.shift(table.level)
        common = ~address_mask(self._shift, control.address_format)
        self._bits = [descriptor & common for descriptor in descriptors]

    def read(self, first: int, end: int, entries: list[Entry]) -> int:
        """Add the equal leaves that begin at an index to the entries; returns the index after them."""
        last = self._end_of_alike(first, end)
        control, table = self._control, self._table
        if table.level != LAST_LEVEL and table.level not in control.block_levels:
            self._add_each(first, last, entries, lambda _: "reserved descriptor")
            return last
        outputs = self._outputs(first, last)
        if max(outputs) >> control.output_bits:
            self._add_each(first, last, entries, self._complaint)
            return last
        entries.append(self._run(first, outputs))
        return last

    def _end_of_alike(self, first: int, end: int) -> int:
        """The index after the leaves that have the bits of the one at `first`."""
        bits = self._bits
        value, last, many = bits[first], first + 1, _COMPARED_AT_FIRST
        # Many at a time, and more each time: most leaves of a large map have many equal neighbours.
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

    def _complaint(self, output: int) -> str | None:
        return _too_large(self._control, output) if output >> self._control.output_bits else None

    def _run(self, first: int, outputs: list[int]) -> LeafRun:
        """The leaves from an index on, as many as there are outputs."""
        bits = self._bits[first]
        table, size, count = self._table, 1 << self._shift, len(outputs)
        start = table.start + first * size
        following = range(outputs[0], outputs[0] + count * size, size)
        if outputs[-1] == following[-1] and outputs == list(following):
            return LeafRun(start, count * size, table.level, bits, table.inherited, following, 1)
        pieces = count_pieces(outputs, size)
        return LeafRun(start, count * size, table.level, bits, table.inherited, outputs, pieces)

    def _add_each(
        self, first: int, last: int, entries: list[Entry], complaint: Callable[[int], str | None]
    ) -> None:
        """Leaves of which at least some are malformed, one by one."""
        for index, output in enumerate(self._outputs(first, last), first):
            reason = complaint(output)
            if reason is None:
                entries.append(self._run(index, [output]))
            else:
                descriptor = self._descriptors[index]
                entries.append(_malformed(self._control, self._table, index, descriptor, reason))
