"""Lazy pages: reserved ranges whose pages exist only once touched."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter

from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lazy_table import FIELDS, STATE_OF, STATES, LazyRuns, LazyTable
from gdbplugin.layout.decode import Columns, presence
from gdbplugin.layout.types import Array, Field, Option, Struct, Type, unwrap
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    State = Literal["pending", "zero", "allocated", "corrupt"]


_COUNTERS = (
    "zero_frame",
    "reserved_pages",
    "allocated_pages",
    "zero_pages",
    "zero_fault_count",
    "allocate_fault_count",
    "upgrade_fault_count",
    "access_flag_count",
    "fold_count",
)
_OF_DESIGN = ("allocation_policy", "next_page_index")


@dataclass(frozen=True)
class LazyRange:
    """A range as it was reserved."""

    number: int
    """Number of its slot, by which other commands name it."""
    first: int | None
    """Number of its first record."""
    pages: int | None
    """How many pages it has."""
    owner: int | None
    """The task that reserved it."""


@dataclass(frozen=True)
class StateCounts:
    """Pages by their state."""

    pending: int
    """Pages that are only reserved."""
    zero: int
    """Pages that are mapped to the shared zero page."""
    allocated: int
    """Pages that have a frame of their own."""
    corrupt: int
    """Pages whose flags contradict each other."""


@dataclass(frozen=True)
class LazyPages:
    """The lazy page allocator.

    `pages` are the records in use; of them `selected` are those that were asked for, None if that is all.
    Other kernels of this design have neither ranges nor most of the counters, but a policy and an index.
    """

    json_fields = (*_COUNTERS, "ranges", "states", "runs", *_OF_DESIGN)

    zero_frame: int | None
    """Physical address of the shared zero page."""
    reserved_pages: int | None
    """Pages that are reserved now."""
    allocated_pages: int | None
    """Pages that have a frame of their own."""
    zero_pages: int | None
    """Pages that are mapped to the zero page."""
    zero_fault_count: int | None
    """Faults that mapped the zero page."""
    allocate_fault_count: int | None
    """Faults that gave a pending page its frame."""
    upgrade_fault_count: int | None
    """Faults that replaced the zero page by a frame."""
    access_flag_count: int | None
    """Hits of a cleared access flag."""
    fold_count: int | None
    """Pages folded back onto the zero page."""
    ranges: tuple[LazyRange, ...] | None
    """The ranges as they were reserved; null in a kernel that has no ranges on record."""
    pages: LazyTable
    allocation_policy: str | None = None
    """The policy by which pages are allocated; null in a kernel that has only one."""
    next_page_index: int | None = None
    """The index that the allocator continues from; null in a kernel that has no such index."""

    selected: LazyTable | None = None

    @property
    def states(self) -> StateCounts:
        """All reserved pages by state."""
        counted = self.pages.count_states()
        return StateCounts(*(counted[state] for state in STATES))

    @property
    def runs(self) -> LazyRuns:
        """The pages that were asked for, neighbours of one owner and state summed up; ascending."""
        return LazyRuns(self.pages if self.selected is None else self.selected)

    def pages_of(self, reserved: LazyRange) -> LazyTable:
        """The records of a reserved range."""
        records = self.pages.records
        first = reserved.first or 0
        return self.pages[bisect_left(records, first) : bisect_left(records, first + (reserved.pages or 0))]


def read_lazy_pages(kernel: Kernel, whole: bool = False, records: bool = True) -> LazyPages:
    """Decode the allocator's counters and ranges, and the records of the pages in use.

    Of the records, those that the ranges name are read; all, with `whole`, or where the ranges do not
    account for every reserved page; none, without `records`.
    """
    return kernel.once(f"lazy pages, {whole}, {records}", lambda: _read_lazy_pages(kernel, whole, records))


def _read_lazy_pages(kernel: Kernel, whole: bool, records: bool) -> LazyPages:
    values: dict[str, Any] = dict.fromkeys(_COUNTERS)
    extra = [name for name in _OF_DESIGN if kernel.has(MANAGER, f"lazy_allocator.{name}")]
    for name in (*_COUNTERS, *extra):
        counter = kernel.part(MANAGER, f"lazy_allocator.{name}")
        if counter is not None:
            values[name] = counter.value
    part = kernel.part(MANAGER, "lazy_allocator.ranges")
    ranges = None
    if part is not None:
        ranges = tuple(
            kernel.record(LazyRange, entry, f"lazy range {place}", number=place)
            for place, entry in enumerate(part.value)
            if entry.get("pages") != 0
        )
    named = sum(reserved.pages or 0 for reserved in ranges or ())
    spans = None if whole or ranges is None or named != values["reserved_pages"] else _spans(ranges)
    pages = _read_table(kernel, spans if records else [])
    return kernel.record(LazyPages, values, "lazy pages", ranges=ranges, pages=pages, selected=None)


def _spans(ranges: Sequence[LazyRange]) -> list[tuple[int, int]]:
    """The records of the ranges as spans of first and end, ascending, touching ones joined."""
    spans: list[tuple[int, int]] = []
    for first, pages in sorted((reserved.first or 0, reserved.pages or 0) for reserved in ranges):
        if spans and first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], first + pages))
        else:
            spans.append((first, first + pages))
    return spans


def _read_table(kernel: Kernel, spans: list[tuple[int, int]] | None) -> LazyTable:
    """The records in use, of all or of some spans of them, their fields in the order of `FIELDS`."""
    place = kernel.place(MANAGER, "lazy_allocator.pages")
    array = unwrap(place.type) if place else None
    if place is None or not isinstance(array, Array):
        return LazyTable([], [])
    record, is_used = array.element, None
    if isinstance(unwrap(record), Option):
        record, is_used = _optional(record)
    columns = Columns(record, FIELDS)
    for name in columns.missing:
        if kernel.keeps_promises:
            kernel.journal.lack("LazyPage", f"field {name}")
        else:
            kernel.lack(f"LazyPage.{name}")
    rows: list[tuple[Any, ...]] = []
    records: list[int] = []
    for first, end in [(0, array.count)] if spans is None else spans:
        end = min(end, array.count)
        if first >= end:
            continue
        size = columns.row_bytes
        data = kernel.memory.read(place.address + first * size, (end - first) * size)
        found = columns.rows(data)
        if columns.present != FIELDS:
            places = [columns.position(name) for name in FIELDS]
            found = [tuple([None if at is None else row[at] for at in places]) for row in found]
        if is_used is not None:
            used = [index for index in range(len(found)) if is_used(kernel, data, index)]
        elif all(map(itemgetter(0), found)):
            rows += found
            records += range(first, end)
            continue
        else:
            used = [index for index, row in enumerate(found) if row[0] != 0]
        rows += [found[index] for index in used]
        records += [first + index for index in used]
    return _table(kernel, rows, records)


def _table(kernel: Kernel, rows: list[tuple[Any, ...]], records: list[int]) -> LazyTable:
    """The table of these records; ascending, which the slots of other kernels need not be."""
    promised = kernel.keeps_promises
    if not promised:
        order = sorted(range(len(rows)), key=lambda index: rows[index][0] or 0)
        rows, records = [rows[index] for index in order], [records[index] for index in order]
    table = LazyTable(rows, records, promised)
    _report_corrupt(kernel, table)
    return table


def _optional(element: Type) -> tuple[Struct, Callable[[Kernel, bytes, int], bool]]:
    """Of slots that hold a record or nothing: the record as it lies in one, and what tells if it does."""
    option = unwrap(element)
    record = unwrap(option.value.type) if isinstance(option, Option) else None
    if not isinstance(option, Option) or not isinstance(record, Struct):
        return Struct(element.name, element.size, ()), lambda _kernel, _data, _index: False
    start = option.value.offset
    moved = tuple(Field(field.name, start + field.offset, field.type) for field in record.fields)

    def is_used(kernel: Kernel, data: bytes, index: int) -> bool:
        found = presence(option, data, index * option.size)
        return kernel.checked(found, f"lazy page slot {index}") is True

    return Struct(element.name, element.size, moved), is_used


def _report_corrupt(kernel: Kernel, table: LazyTable) -> None:
    """A finding for each boolean that is none, and for a page that claims both states at once."""
    bad = {pair for pair in table.flags if pair not in STATE_OF and None not in pair}
    if not table.promised:
        bad.discard((1, 1))
    if not bad:
        return
    for row in table.rows:
        if (row[2], row[3]) in bad:
            kernel.journal.find(
                f"lazy page {'of no address' if row[0] is None else hex(row[0])}: is_allocated, is_zero_page",
                "0 and 0, 0 and 1, or 1 and 0",
                f"{row[2]} and {row[3]}",
            )
