"""Everything that translation tables map, in order of input address (DDI 0487, D8.2).

Each table is read with one read, and the machine is told in advance which tables come next. Reading stops
after a number of tables and leaves, as tables may lead back to themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import ATTRIBUTE_BITS, Attributes, attributes, with_address
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.tables import (
    Entry,
    Leaf,
    LeafRun,
    Malformed,
    Piece,
    Table,
    count_pieces_of,
    pieces_of,
    read_entries,
)
from gdbplugin.machine import Machine, PhysicalReadError, prefetch
from gdbplugin.records import NamedTuple

MAXIMUM_TABLES = 4096
MAXIMUM_ENTRIES = 150_000
"""The default bounds of a map: reading so much takes about a second, even over a debug stub and as JSON."""
_PREFETCHED_TABLES = 32
_new = tuple.__new__  # Takes half as long as calling the class, which matters for very many.


class Bounds:
    """How much more may be read; given to several walks, it bounds them all together.

    Tables are counted in units of 4 KiB. Entries are runs of leaves, their pieces, and malformed entries.
    """

    def __init__(self, tables: int | None = None, entries: int | None = None) -> None:
        self.maximum_tables = MAXIMUM_TABLES if tables is None else tables
        self.maximum_entries = MAXIMUM_ENTRIES if entries is None else entries
        self._tables, self._entries = self.maximum_tables, self.maximum_entries
        self.stopped_at: int | None = None
        """The input address at which a walk stopped at the bounds; None if none did."""

    def take_table(self, size: int, start: int) -> bool:
        """Whether one more table may be read: of `size` bytes, for input addresses from `start` on."""
        if self._tables <= 0 or self._entries <= 0:
            self.stopped_at = start if self.stopped_at is None else self.stopped_at
            return False
        self._tables -= max(1, size >> 12)
        return True

    def take_entries(self, found: Sequence[Entry]) -> None:
        """Count the entries of a table. They may exceed the bounds: then the next table is not read."""
        self._entries -= sum(1 + entry.piece_count if isinstance(entry, LeafRun) else 1 for entry in found)

    @property
    def limit(self) -> str:
        """The bound that was reached, in words."""
        if self._entries <= 0:
            return f"{self.maximum_entries:,} entries"
        return f"{self.maximum_tables:,} tables"


def leaf_runs(
    machine: Machine,
    control: TranslationControl,
    bounds: Bounds | None = None,
    visited: list[int] | None = None,
    within: tuple[int, int] | None = None,
    tables: list[Table] | None = None,
) -> Iterator[LeafRun | Malformed]:
    """The leaves of one control's tables, in ascending order of input address.

    A disabled or defective control maps nothing. The physical address of each table that is read is added to
    `visited`, and the table to `tables`. With a range `within` of input addresses (the end exclusive) only
    tables that overlap it are read; leaves that overlap it are yielded whole. The walk stops at the `bounds`,
    see `Bounds.stopped_at`.
    """
    if control.walks_disabled or control.defect is not None:
        return
    first, last = control.first_address, control.first_address + (1 << control.input_bits)
    if within is not None and not (within[0] < last and first < within[1]):
        return
    root = Table(first, control.start_level, control.root_address, 0, 0, 0)
    if control.base >> control.output_bits:
        yield root.malformed(control, f"{control.name} points beyond {control.output_bits} bits")
        return
    bounds = bounds or Bounds()
    pending: list[Entry] = [root]  # In reverse order.
    announced: set[int] = set()
    while pending:
        item = pending.pop()
        if not isinstance(item, Table):
            yield item
            continue
        size = control.table_bytes(item.level)
        if not bounds.take_table(size, item.start):
            return
        if item.address not in announced:
            following = _next_tables(item, pending)
            announced |= following
            prefetch(machine, [(address, size) for address in following])
        try:
            data = machine.read_physical(item.address, size)
        except PhysicalReadError as error:
            yield item.malformed(control, str(error))
            continue
        if visited is not None:
            visited.append(item.address)
        if tables is not None:
            tables.append(item)
        found = read_entries(control, item, data, within)
        bounds.take_entries(found)
        found.reverse()
        pending += found


def _next_tables(table: Table, pending: Sequence[Entry]) -> set[int]:
    """The addresses of a table and of the tables that will be read next, if they are of its level."""
    found = {table.address}
    for item in reversed(pending):
        if len(found) >= _PREFETCHED_TABLES or not isinstance(item, Table) or item.level != table.level:
            break
        found.add(item.address)
    return found


def leaves(
    machine: Machine,
    control: TranslationControl,
    bounds: Bounds | None = None,
    visited: list[int] | None = None,
    within: tuple[int, int] | None = None,
) -> Iterator[Leaf | Malformed]:
    """Every leaf of one control's tables, in ascending order; arguments as for `leaf_runs`."""
    address_format = control.address_format
    for entry in leaf_runs(machine, control, bounds, visited, within):
        if isinstance(entry, Malformed):
            yield entry
            continue
        start, size, level, bits, inherited, outputs, _ = entry
        span = size // len(outputs)
        for address, output in zip(range(start, start + size, span), outputs, strict=True):
            descriptor = with_address(bits, output, address_format)
            yield _new(Leaf, (address, output, span, level, descriptor, inherited))


class MappedRange(NamedTuple):
    """A mapped range of input addresses (`end` exclusive) with one set of attributes and no gaps."""

    start: int
    end: int
    attributes: Attributes
    runs: list[LeafRun]

    @property
    def piece_count(self) -> int:
        """The number of pieces, see `Piece`."""
        return count_pieces_of(self.runs)

    def pieces(self) -> Iterator[Piece]:
        """The parts that map to one range of output addresses each."""
        return pieces_of(self.runs)


def mapped_ranges(
    regime: TranslationRegime, entries: Iterable[LeafRun | Malformed]
) -> Iterator[MappedRange | Malformed]:
    """Join the runs of one control that have adjacent input addresses and equal attributes.

    The results of one call share one object for equal attributes.
    """
    known: dict[int, Attributes] = {}
    equal: dict[Attributes, Attributes] = {}
    runs: list[LeafRun] = []
    end = 0
    here: Attributes | None = None
    for entry in entries:
        if isinstance(entry, Malformed):
            if here is not None:
                yield MappedRange(runs[0].start, end, here, runs)
            here = None
            yield entry
            continue
        key = entry.bits & ATTRIBUTE_BITS | entry.inherited
        found = known.get(key)
        if found is None:
            found = leaf_attributes(regime, entry.start, entry.bits, entry.inherited)
            found = known[key] = equal.setdefault(found, found)
        if found is here and entry.start == end:
            runs.append(entry)
        else:
            if here is not None:
                yield MappedRange(runs[0].start, end, here, runs)
            runs, here = [entry], found
        end = entry.start + entry.size
    if here is not None:
        yield MappedRange(runs[0].start, end, here, runs)


def leaf_attributes(regime: TranslationRegime, start: int, bits: int, inherited: int) -> Attributes:
    """The effective attributes of a leaf; `bits` is its descriptor, with or without the output address."""
    return attributes(bits, inherited, regime.control(start).rules)
