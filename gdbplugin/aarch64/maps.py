"""Everything that translation tables map, in order of input address (DDI 0487, D8.2).

Each table is read once, whole, in one read. The walk of a map stops after a number of tables, as a table
that contains itself would otherwise never end. What cannot be followed is yielded in its place.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import (
    ADDRESS_BITS,
    ATTRIBUTE_BITS,
    IN_PLACE_BITS,
    LAST_LEVEL,
    TABLE_OR_PAGE,
    VALID,
    AddressFormat,
    Attributes,
    attributes,
    inherit,
)
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.machine import Machine, PhysicalReadError

MAXIMUM_TABLES = 8192
MAXIMUM_RUNS = 400_000
"""Limits of one walk: what takes a second or two, and no sane address space has."""
_COMPARED_AT_FIRST = 16
_new = tuple.__new__  # Half the cost of calling the class, where there are very many.


class Leaf(NamedTuple):
    """A block or page of a map. `inherited` are the hierarchical attributes of the tables above it."""

    start: int
    physical: int
    size: int
    level: int
    descriptor: int
    inherited: int


class Run(NamedTuple):
    """`pieces` leaves of one table that follow on each other in input, output, and all attributes.

    `descriptor` is the first one's; `size` is that of all together, in bytes.
    """

    start: int
    physical: int
    size: int
    level: int
    descriptor: int
    inherited: int
    pieces: int


class Malformed(NamedTuple):
    """A place in a map that cannot mean what it says: a reserved descriptor, an unreadable table."""

    start: int
    size: int
    level: int
    table: int
    entry: int
    descriptor: int
    reason: str


class MappedRange(NamedTuple):
    """A range of input addresses that maps to one range of output addresses with one set of attributes.

    `end` is exclusive. `sizes` tells how many leaves of which size (in bytes) make it up.
    """

    start: int
    end: int
    physical: int
    attributes: Attributes
    sizes: dict[int, int]


def leaf_attributes(regime: TranslationRegime, leaf: Leaf | Run) -> Attributes:
    """The effective attributes of a leaf of one of the regime's maps."""
    return attributes(leaf.descriptor, leaf.inherited, regime.control(leaf.start).rules)


def leaves(
    machine: Machine,
    control: TranslationControl,
    maximum_tables: int = MAXIMUM_TABLES,
    visited: list[int] | None = None,
    within: tuple[int, int] | None = None,
) -> Iterator[Leaf | Malformed]:
    """Every leaf of one control's tables, in ascending order of input address. Arguments as for `runs`."""
    for entry in runs(machine, control, maximum_tables, visited, within):
        if isinstance(entry, Malformed):
            yield entry
        elif entry.pieces == 1:
            yield _new(Leaf, entry[:6])
        else:
            start, physical, size, level, descriptor, inherited, pieces = entry
            span = size // pieces
            for index in range(0, size, span):
                yield _new(
                    Leaf, (start + index, physical + index, span, level, descriptor + index, inherited)
                )


def runs(
    machine: Machine,
    control: TranslationControl,
    maximum_tables: int = MAXIMUM_TABLES,
    visited: list[int] | None = None,
    within: tuple[int, int] | None = None,
) -> Iterator[Run | Malformed]:
    """The leaves of one control's tables, those that follow on each other taken together.

    A disabled or defective control maps nothing. `maximum_tables` is in tables of 4 KiB: larger ones
    count for several. The physical addresses of the tables that were read are added to `visited`.
    `within` is a range of input addresses (the end exclusive): no table is read that has no part in it,
    and leaves that lie in it partly are yielded whole.
    """
    if control.walks_disabled or control.defect is not None:
        return
    root = _Table(control.first_address, control.start_level, control.root_address, 0, 0, 0)
    if control.base >> control.output_bits:
        reason = f"{control.name} points beyond {control.output_bits} bits"
        yield root.malformed(control, reason)
        return
    # What is still to come, the next last: tables to visit, and entries found between them.
    pending: list[_Item] = [root]
    remaining_tables, remaining_runs = maximum_tables, MAXIMUM_RUNS
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            yield from item[:remaining_runs]
            remaining_runs -= len(item)
            if remaining_runs < 0:
                last = item[-1]
                reason = f"the walk stopped here, {MAXIMUM_RUNS:,} entries being its limit"
                yield Malformed(last.start, last.size, last.level, 0, 0, last.descriptor, reason)
                return
            continue
        if remaining_tables <= 0:
            reason = f"the walk stopped here, {maximum_tables:,} tables being its limit"
            yield item.malformed(control, reason)
            return
        remaining_tables -= max(1, control.table_bytes(item.level) >> 12)
        try:
            data = machine.read_physical(item.address, control.table_bytes(item.level))
        except PhysicalReadError as error:
            yield item.malformed(control, str(error))
            continue
        if visited is not None:
            visited.append(item.address)
        order = ">" if control.big_endian else "<"
        descriptors = struct.unpack(f"{order}{len(data) // 8}Q", data)
        pending.extend(reversed(_entries(control, item, descriptors, within)))


def mapped_ranges(
    regime: TranslationRegime, entries: Iterator[Run | Malformed]
) -> Iterator[MappedRange | Malformed]:
    """Join the runs of one control's map that differ in nothing but where they lie."""
    known: dict[int, Attributes] = {}
    equal: dict[Attributes, Attributes] = {}  # One object for all equal ones: told apart by identity.
    start = end = offset = 0
    attributes_here: Attributes | None = None
    sizes: dict[int, int] = {}
    for entry in entries:
        if isinstance(entry, Malformed):
            if attributes_here is not None:
                yield MappedRange(start, end, start + offset, attributes_here, sizes)
            yield entry
            attributes_here = None
            continue
        entry_start, physical, length, _, descriptor, inherited, pieces = entry
        key = descriptor & ATTRIBUTE_BITS | inherited
        found = known.get(key)
        if found is None:
            found = leaf_attributes(regime, entry)
            found = known[key] = equal.setdefault(found, found)
        if attributes_here is not None:
            if entry_start == end and physical - entry_start == offset and found is attributes_here:
                end += length
                size = length // pieces
                sizes[size] = sizes.get(size, 0) + pieces
                continue
            yield _new(MappedRange, (start, end, start + offset, attributes_here, sizes))
        start, end, offset, attributes_here = entry_start, entry_start + length, physical - entry_start, found
        sizes = {length // pieces: pieces}
    if attributes_here is not None:
        yield MappedRange(start, end, start + offset, attributes_here, sizes)


class _Table(NamedTuple):
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


_Item = _Table | list[Run | Malformed]


def _entries(
    control: TranslationControl,
    table: _Table,
    descriptors: Sequence[int],
    within: tuple[int, int] | None,
) -> list[_Item]:
    """The valid entries of one table in order, those between two tables gathered in a list."""
    # Told apart by bare arithmetic: a whole map has a hundred thousand entries and more.
    level, inherited = table.level, table.inherited
    shift = control.shift(level)
    span, output_bits = 1 << shift, control.output_bits
    in_place = control.address_format is AddressFormat.BITS_48
    leaf_mask, table_mask = ADDRESS_BITS & -span, ADDRESS_BITS & -(1 << control.granule_bits)
    leaf_bit = TABLE_OR_PAGE if level == LAST_LEVEL else 0
    leaves_allowed = level == LAST_LEVEL or level in control.block_levels
    entries: list[_Item] = []
    between: list[Run | Malformed] = []
    index, end = 0, len(descriptors)
    if within is not None:
        index = min(end, max(0, within[0] - table.start >> shift))
        end = max(0, min(end, -(table.start - within[1] >> shift)))
    while index < end:
        descriptor = descriptors[index]
        if not descriptor & VALID:
            index += 1
            continue
        first, start = index, table.start + (index << shift)
        index += 1
        is_leaf = descriptor & TABLE_OR_PAGE == leaf_bit
        if in_place:
            output = descriptor & (leaf_mask if is_leaf else table_mask)
        else:
            output = control.output_address(descriptor, shift if is_leaf else control.granule_bits)
        if output >> output_bits:
            reason = f"output address {output:#x} exceeds {output_bits} bits"
            between.append(Malformed(start, span, level, table.address, first, descriptor, reason))
        elif is_leaf and leaves_allowed:
            if index < end and descriptors[index] == descriptor + span:
                index = _run_end(control, descriptors, first, end, output, shift)
            pieces = index - first
            between.append(_new(Run, (start, output, pieces << shift, level, descriptor, inherited, pieces)))
        elif is_leaf or level == LAST_LEVEL:
            reason = "reserved descriptor"
            between.append(Malformed(start, span, level, table.address, first, descriptor, reason))
        else:
            if between:
                entries.append(between)
                between = []
            below = inherited if control.hierarchical_disabled else inherit(inherited, descriptor)
            entries.append(_Table(start, level + 1, output, below, first, descriptor))
    if between:
        entries.append(between)
    return entries


def _run_end(
    control: TranslationControl, descriptors: Sequence[int], first: int, end: int, output: int, shift: int
) -> int:
    """The index, at most `end`, after the run that begins at `first`: descriptors that differ by a span."""
    # Only so far as that carries into no other field, and leads to no address too large.
    field_bits = min(control.output_bits, IN_PLACE_BITS[control.address_format])
    room = (1 << field_bits) - (output & ((1 << field_bits) - 1))
    last = min(end, first + (room >> shift))
    span = 1 << shift
    index, following = first + 1, descriptors[first] + span
    # Many at a time, ever more of them: most leaves of a large map are in long runs.
    many = _COMPARED_AT_FIRST
    while index < last:
        stop = min(index + many, last)
        ahead = following + (stop - index) * span
        if descriptors[stop - 1] != ahead - span:
            break
        if descriptors[index:stop] != tuple(range(following, ahead, span)):
            break
        index, following, many = stop, ahead, 2 * many
    while index < last and descriptors[index] == following:
        index += 1
        following += span
    return index
