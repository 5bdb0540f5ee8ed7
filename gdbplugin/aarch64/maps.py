"""Everything that translation tables map, in order of input address (DDI 0487, D8.2).

Each table is read once, whole, in one read, and those that come next are announced to the machine. A walk of
a map stops after a number of tables and of leaves: tables that lead back to themselves are legitimate, and
yet have no end worth the wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import ATTRIBUTE_BITS, Attributes, attributes, with_address
from gdbplugin.aarch64.leaves import Leaf, LeafRun, Malformed, Piece, count_pieces_of, pieces_of
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.tables import Entry, Table, read_entries
from gdbplugin.machine import Machine, PhysicalReadError, prefetch
from gdbplugin.records import NamedTuple

MAXIMUM_TABLES = 4096
MAXIMUM_ENTRIES = 150_000
"""What a map is read up to: what takes a second or so, even over a debug stub and as JSON."""
_PREFETCHED_TABLES = 32
"""How many tables are asked for together: enough of them that few waits are left."""
_new = tuple.__new__  # Half the cost of calling the class, where there are very many.


class Bounds:
    """How much more may be read. Given to several walks, it bounds all of them together.

    `tables` are counted in 4 KiB: larger ones count for several. `entries` are runs of leaves, their pieces,
    and malformed entries: what a map costs in addition to its tables.
    """

    def __init__(self, tables: int | None = None, entries: int | None = None) -> None:
        self.maximum_tables = MAXIMUM_TABLES if tables is None else tables
        self.maximum_entries = MAXIMUM_ENTRIES if entries is None else entries
        self._tables, self._entries = self.maximum_tables, self.maximum_entries
        self.stopped_at: int | None = None
        """The input address at which a walk ended before its time; None where none did."""

    def take_table(self, size: int, start: int) -> bool:
        """Whether one more table, of that many bytes, may be read for the input address."""
        if self._tables <= 0 or self._entries <= 0:
            self.stopped_at = start if self.stopped_at is None else self.stopped_at
            return False
        self._tables -= max(1, size >> 12)
        return True

    def take_entries(self, found: Sequence[Entry]) -> None:
        """They were found in a table. What one holds is never divided: the next table is too much then."""
        self._entries -= sum(1 + entry.piece_count if isinstance(entry, LeafRun) else 1 for entry in found)

    @property
    def limit(self) -> str:
        """Which of the bounds it was, in words."""
        if self._entries <= 0:
            return f"{self.maximum_entries:,} entries"
        return f"{self.maximum_tables:,} tables"


class MappedRange(NamedTuple):
    """A range of input addresses (`end` exclusive) that is mapped throughout, with one set of attributes."""

    start: int
    end: int
    attributes: Attributes
    runs: list[LeafRun]

    @property
    def piece_count(self) -> int:
        """The number of its pieces."""
        return count_pieces_of(self.runs)

    def pieces(self) -> Iterator[Piece]:
        """Its parts that map to one range of output addresses each."""
        return pieces_of(self.runs)


def leaf_attributes(regime: TranslationRegime, start: int, bits: int, inherited: int) -> Attributes:
    """The effective attributes of a leaf of one of the regime's maps, by its descriptor, address or not."""
    return attributes(bits, inherited, regime.control(start).rules)


def leaf_runs(
    machine: Machine,
    control: TranslationControl,
    bounds: Bounds | None = None,
    visited: list[int] | None = None,
    within: tuple[int, int] | None = None,
) -> Iterator[LeafRun | Malformed]:
    """The leaves of one control's tables, in ascending order of input address.

    A disabled or defective control maps nothing. The physical addresses of the tables that were read are
    added to `visited`. `within` is a range of input addresses (the end exclusive): no table is read that
    has no part in it, and leaves that lie in it partly are yielded whole. Where the `bounds` are reached
    the walk ends, and they say so.
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
    pending: list[Entry] = [root]  # What is still to come, the next last.
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
            following = _following(item, pending)
            announced |= following
            prefetch(machine, [(address, size) for address in following])
        try:
            data = machine.read_physical(item.address, size)
        except PhysicalReadError as error:
            yield item.malformed(control, str(error))
            continue
        if visited is not None:
            visited.append(item.address)
        found = read_entries(control, item, data, within)
        bounds.take_entries(found)
        found.reverse()
        pending += found


def _following(table: Table, pending: Sequence[Entry]) -> set[int]:
    """The addresses of a table and of the next ones of its level, as far as they are known by now."""
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
    """Every leaf of one control's tables, by ascending input address. Arguments as for `leaf_runs`."""
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


def mapped_ranges(
    regime: TranslationRegime, entries: Iterable[LeafRun | Malformed]
) -> Iterator[MappedRange | Malformed]:
    """Join the runs of one control's map that have adjacent input addresses and equal attributes.

    Equal attributes of one map are one object.
    """
    known: dict[int, Attributes] = {}
    equal: dict[Attributes, Attributes] = {}
    here: list[LeafRun] = []
    end = 0
    attributes_here: Attributes | None = None
    for entry in entries:
        if isinstance(entry, Malformed):
            if here and attributes_here is not None:
                yield MappedRange(here[0].start, end, attributes_here, here)
            here = []
            yield entry
            continue
        key = entry.bits & ATTRIBUTE_BITS | entry.inherited
        found = known.get(key)
        if found is None:
            found = leaf_attributes(regime, entry.start, entry.bits, entry.inherited)
            found = known[key] = equal.setdefault(found, found)
        if here and entry.start == end and found is attributes_here:
            here.append(entry)
        else:
            if here and attributes_here is not None:
                yield MappedRange(here[0].start, end, attributes_here, here)
            here, attributes_here = [entry], found
        end = entry.start + entry.size
    if here and attributes_here is not None:
        yield MappedRange(here[0].start, end, attributes_here, here)
