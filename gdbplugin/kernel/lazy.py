"""Lazy pages: pages of reserved ranges that get their frame when they are first touched."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter

from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lazy_table import (
    FIELDS,
    PAGE_BYTES,
    STATE_OF,
    STATES,
    LazyPage,
    LazyRuns,
    LazyTable,
    page_state,
)
from gdbplugin.layout.decode import Columns, presence, value
from gdbplugin.layout.types import Array, Field, Option, Struct, Type, unwrap
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
_DESIGN_FIELDS = ("allocation_policy", "next_page_index")


@dataclass(frozen=True)
class LazyRange:
    """A reserved range."""

    number: int
    """Number of its slot, which other commands show as its name."""
    first: int | None
    """Number of its first record."""
    pages: int | None
    """Number of pages."""
    owner: int | None
    """The task that reserved it."""


@dataclass(frozen=True)
class StateCounts:
    """Number of pages by state."""

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

    `pages` are the records in use, `selected` those of them that the user asked for, or None for all. Other
    kernels of this design have no ranges and fewer counters, but a policy and an index.
    """

    json_fields = (*_COUNTERS, "ranges", "states", "runs", *_DESIGN_FIELDS)

    zero_frame: int | None
    """Physical address of the shared zero page."""
    reserved_pages: int | None
    """Pages that are reserved."""
    allocated_pages: int | None
    """Pages that have a frame of their own."""
    zero_pages: int | None
    """Pages that are mapped to the zero page."""
    zero_fault_count: int | None
    """Faults that mapped the zero page."""
    allocate_fault_count: int | None
    """Faults that gave a pending page its frame."""
    upgrade_fault_count: int | None
    """Faults that replaced the zero page with a frame."""
    access_flag_count: int | None
    """Hits of a cleared access flag."""
    fold_count: int | None
    """Pages folded back onto the zero page."""
    ranges: tuple[LazyRange, ...] | None
    """The reserved ranges; null in a kernel that does not record them."""
    pages: LazyTable
    allocation_policy: str | None = None
    """The allocation policy; null in a kernel that has only one."""
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
        """Runs of adjacent pages with the same owner and state, of the pages asked for; ascending."""
        return LazyRuns(self.pages if self.selected is None else self.selected)

    def pages_of(self, reserved: LazyRange) -> LazyTable:
        """The records of a reserved range."""
        records = self.pages.records
        first = reserved.first or 0
        return self.pages[bisect_left(records, first) : bisect_left(records, first + (reserved.pages or 0))]


def read_lazy_pages(kernel: Kernel, whole: bool = False, records: bool = True) -> LazyPages:
    """Decode the allocator's counters and ranges, and the records in use.

    By default only the records of the ranges are read. All records are read with `whole`, or if the sizes of
    the ranges do not add up to `reserved_pages`; without `records`, none are read.
    """
    return kernel.cached(f"lazy pages, {whole}, {records}", lambda: _read_lazy_pages(kernel, whole, records))


def find_lazy_page(kernel: Kernel, address: int, owner: int | None) -> LazyPage | None:
    """The lazy page at an address that a task has reserved; in a kernel of the design, any task."""
    if not kernel.has_debugger_interface:
        pages = read_lazy_pages(kernel, whole=True).pages
        return next((page for page in pages if page.virtual_address == address & -PAGE_BYTES), None)
    part = kernel.read_field(MANAGER, "lazy_allocator.ranges")
    for entry in part.value if part else ():
        first, reserved = entry.get("first"), entry.get("pages")
        if owner is None or entry.get("owner") != owner or not reserved or first is None:
            continue
        start = lazy_record(kernel, first).get("virtual_address")
        if start is None or not start <= address < start + reserved * PAGE_BYTES:
            continue
        values = lazy_record(kernel, first + (address - start) // PAGE_BYTES)
        page = kernel.make_record(LazyPage, values, f"lazy page {address:#x}", state="corrupt")
        page = replace(
            page, state=page_state(page.physical_address, page.is_allocated, page.is_zero_page, True)
        )
        return page if page.virtual_address == address & -PAGE_BYTES else None
    return None


def lazy_state_number(kernel: Kernel, page: LazyPage) -> int:
    """The state of a page as a number: 0 pending, 1 zero, 2 allocated, -1 corrupt."""
    state = page_state(
        page.physical_address, page.is_allocated, page.is_zero_page, kernel.has_debugger_interface
    )
    return STATES.index(state) if state != "corrupt" else -1


def lazy_record(kernel: Kernel, number: int) -> dict[str, Any]:
    """The fields of a record by its number; empty if there is no such record."""
    place = kernel.locate_field(MANAGER, "lazy_allocator.pages")
    array = unwrap(place.type) if place else None
    raw = kernel.read_element("lazy_allocator.pages", number)
    found = value(array.element, raw) if isinstance(array, Array) and raw is not None else None
    return found if isinstance(found, dict) else {}


def _read_lazy_pages(kernel: Kernel, whole: bool, records: bool) -> LazyPages:
    values: dict[str, Any] = dict.fromkeys(_COUNTERS)
    extra = [name for name in _DESIGN_FIELDS if kernel.has(MANAGER, f"lazy_allocator.{name}")]
    for name in (*_COUNTERS, *extra):
        counter = kernel.read_field(MANAGER, f"lazy_allocator.{name}")
        if counter is not None:
            values[name] = counter.value
    part = kernel.read_field(MANAGER, "lazy_allocator.ranges")
    ranges = None
    if part is not None:
        ranges = tuple(
            kernel.make_record(LazyRange, entry, f"lazy range {place}", number=place)
            for place, entry in enumerate(part.value)
            if entry.get("pages") != 0
        )
    spans: list[tuple[int, int]] | None = None
    if not records:
        spans = []
    elif ranges is not None and not whole:
        pages_of_ranges = sum(reserved.pages or 0 for reserved in ranges)
        spans = _spans(ranges) if pages_of_ranges == values["reserved_pages"] else None
    pages = _read_table(kernel, spans)
    return kernel.make_record(LazyPages, values, "lazy pages", ranges=ranges, pages=pages, selected=None)


def _spans(ranges: Sequence[LazyRange]) -> list[tuple[int, int]]:
    """The record numbers of the ranges as spans (first, end), ascending; adjacent spans are joined."""
    spans: list[tuple[int, int]] = []
    for first, pages in sorted((reserved.first or 0, reserved.pages or 0) for reserved in ranges):
        if spans and first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], first + pages))
        else:
            spans.append((first, first + pages))
    return spans


def _read_table(kernel: Kernel, spans: list[tuple[int, int]] | None) -> LazyTable:
    """The records in use; with `spans`, only of those record numbers."""
    place = kernel.locate_field(MANAGER, "lazy_allocator.pages")
    array = unwrap(place.type) if place else None
    if place is None or not isinstance(array, Array):
        return LazyTable([], [])
    record, is_used = array.element, None
    if isinstance(unwrap(record), Option):
        record, is_used = _optional_record(record)
    columns = Columns(record, FIELDS)
    for name in columns.missing:
        if kernel.has_debugger_interface:
            kernel.diagnostics.add_missing("LazyPage", f"field {name}")
        else:
            kernel.note_missing(f"LazyPage.{name}")
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


def _optional_record(element: Type) -> tuple[Struct, Callable[[Kernel, bytes, int], bool]]:
    """For slots that hold an optional record: its fields by their offset in the slot, and a function.

    The function tells whether a slot holds a record, from the bytes of all slots and the slot's index.
    """
    option = unwrap(element)
    record = unwrap(option.value.type) if isinstance(option, Option) else None
    if not isinstance(option, Option) or not isinstance(record, Struct):
        return Struct(element.name, element.size, ()), lambda _kernel, _data, _index: False
    start = option.value.offset
    moved = tuple(Field(field.name, start + field.offset, field.type) for field in record.fields)

    def is_used(kernel: Kernel, data: bytes, index: int) -> bool:
        found = presence(option, data, index * option.size)
        return kernel.valid_or_none(found, f"lazy page slot {index}") is True

    return Struct(element.name, element.size, moved), is_used


def _table(kernel: Kernel, rows: list[tuple[Any, ...]], records: list[int]) -> LazyTable:
    """The table of these rows in ascending order, which the records of other kernels may not have."""
    if not kernel.has_debugger_interface:
        order = sorted(range(len(rows)), key=lambda index: rows[index][0] or 0)
        rows, records = [rows[index] for index in order], [records[index] for index in order]
    table = LazyTable(rows, records, kernel.has_debugger_interface)
    _report_corrupt(kernel, table)
    return table


def _report_corrupt(kernel: Kernel, table: LazyTable) -> None:
    """A finding for each page with a flag that is not a boolean, or with both flags set."""
    bad = {pair for pair in table.flags if pair not in STATE_OF and None not in pair}
    if not table.exact_flags:
        bad.discard((1, 1))
    if not bad:
        return
    for row in table.rows:
        if (row[2], row[3]) in bad:
            page = "without an address" if row[0] is None else hex(row[0])
            kernel.diagnostics.add_finding(
                f"lazy page {page}: is_allocated, is_zero_page",
                "0 and 0, 0 and 1, or 1 and 0",
                f"{row[2]} and {row[3]}",
            )
