"""Lazy pages: reserved ranges whose pages exist only once touched."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from functools import cached_property
from itertools import groupby
from operator import itemgetter

from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.layout.decode import Columns, presence
from gdbplugin.layout.types import Array, Field, Option, Struct, Type, unwrap
from gdbplugin.records import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, overload

    State = Literal["pending", "zero", "allocated", "corrupt"]

PAGE_BYTES = 4096
STATES: tuple[State, ...] = ("pending", "zero", "allocated", "corrupt")

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
FIELDS = (
    "virtual_address",
    "physical_address",
    "is_allocated",
    "is_zero_page",
    "owner",
    "access_count",
    "allocation_time",
)
# Of whole tables, at the speed of C.
_ADDRESS = itemgetter(0)
_FLAGS = itemgetter(2, 3)
_KIND = itemgetter(2, 3, 4)
_OWNER = itemgetter(4)
_ACCESSES = itemgetter(5)
_STATE_OF: dict[tuple[int | None, int | None], State] = {
    (0, 0): "pending",
    (0, 1): "zero",
    (1, 0): "allocated",
}


_JSON_FLAGS: dict[Any, str] = {0: "false", 1: "true"}


@dataclass(frozen=True)
class LazyPage:
    """A reserved page."""

    virtual_address: int | None
    """Virtual address of its first byte."""
    physical_address: int | None
    """Physical address of its own frame, or of the shared zero page; 0 while it is pending."""
    is_allocated: bool | None
    """Whether it has a frame of its own, mapped read-write."""
    is_zero_page: bool | None
    """Whether the shared zero page is mapped there, read-only."""
    owner: int | None
    """The task that reserved it."""
    access_count: int | None
    """Faults that were resolved here, and hits of its cleared access flag."""
    allocation_time: int | None
    """When it got its frame, as a count of the generic timer; 0 before."""


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


class _Run(NamedTuple):
    """The fields of a `LazyRun`: a named tuple is what costs least, and can hold nothing but fields."""

    start: int
    """First virtual address."""
    end: int
    """Virtual address one past the last byte."""
    state: State
    """Pending, zero or allocated, as the flags of the pages say; corrupt if flags contradict each other."""
    owner: int | None
    """The task that reserved them."""
    access_count: int
    """Accesses counted by all of them together."""


class LazyRun(_Run):
    """Neighbouring pages of one owner and one state."""

    __slots__ = ()
    json_fields = ("start", "end", "state", "owner", "access_count", "pages")

    @property
    def pages(self) -> int:
        """How many pages they are."""
        return (self.end - self.start) // PAGE_BYTES


class LazyTable(Sequence[LazyPage]):
    """The records in use.

    Kept as raw rows, for there may be tens of thousands; a row becomes a `LazyPage` when it is asked
    for. A field the kernel has not is None in every row. `records` has the number of each row's record.

    With `promised` the two flags of a page tell its state, as in `kernel/src/debugger.rs`. The design itself
    promises less: what `is_allocated` says comes first there, and a page that is only to be filled with zeros
    when it is allocated has no physical address.
    """

    json_item = LazyPage

    def __init__(self, rows: list[tuple[Any, ...]], records: list[int], promised: bool = True) -> None:
        self.rows = rows
        self.records = records
        self.promised = promised

    def __len__(self) -> int:
        return len(self.rows)

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> LazyPage: ...

        @overload
        def __getitem__(self, index: slice) -> LazyTable: ...

    def __getitem__(self, index: int | slice) -> LazyPage | LazyTable:
        if isinstance(index, slice):
            if index.indices(len(self.rows)) == (0, len(self.rows), 1):
                return self
            return LazyTable(self.rows[index], self.records[index], self.promised)
        virtual, physical, allocated, zero, owner, count, time = self.rows[index]
        return LazyPage(virtual, physical, _boolean(allocated), _boolean(zero), owner, count, time)

    def json(self) -> str:
        """The pages as a JSON array. By way of dicts it would take three times as long."""
        rows = self.rows
        if any(None in row for row in rows[:1]):
            # A kernel without one of the fields has it in no row.
            rows = [tuple("null" if value is None else value for value in row) for row in rows]
        flags: dict[Any, str] = {
            number: _JSON_FLAGS.get(number, "null") for pair in self.flags for number in pair
        }
        flags["null"] = "null"
        texts = [
            f'{{"virtual_address": {virtual}, "physical_address": {physical}, '
            f'"is_allocated": {flags[allocated]}, "is_zero_page": {flags[zero]}, '
            f'"owner": {owner}, "access_count": {count}, "allocation_time": {time}}}'
            for virtual, physical, allocated, zero, owner, count, time in rows
        ]
        return "[" + ", ".join(texts) + "]"

    def owners(self) -> set[int | None]:
        """The tasks whose pages they are."""
        return set(map(_OWNER, self.rows))

    def where(self, state: str | None = None, owners: Set[int] | None = None) -> LazyTable:
        """The rows of a state and of some owners."""
        kept = [
            index
            for index, row in enumerate(self.rows)
            if (state is None or self.state(row) == state) and (owners is None or row[4] in owners)
        ]
        rows, records = [self.rows[index] for index in kept], [self.records[index] for index in kept]
        return LazyTable(rows, records, self.promised)

    def state(self, row: tuple[Any, ...]) -> State:
        """The state of a row: one of `STATES`."""
        return _STATE_OF.get((row[2], row[3]), "corrupt") if self.promised else _state_by_design(row)

    @cached_property
    def flags(self) -> Counter[tuple[int | None, int | None]]:
        """Pages by what they have in `is_allocated` and `is_zero_page`."""
        return Counter(map(_FLAGS, self.rows))

    def count_states(self) -> Counter[str]:
        """Pages by state."""
        if not self.promised:
            return Counter(map(self.state, self.rows))
        counted: Counter[str] = Counter()
        for flags, count in self.flags.items():
            counted[_STATE_OF.get(flags, "corrupt")] += count
        return counted

    def count_accesses(self) -> int:
        """Accesses counted by all pages together."""
        return _accesses(self.rows)

    def runs(self) -> Iterator[LazyRun]:
        """Neighbouring pages of one owner and state, summed; ascending."""
        for _, group in groupby(self.rows, _KIND if self.promised else self._kind):
            rows = list(group)
            state, owner = self.state(rows[0]), rows[0][4]
            start = 0
            # The rows of one group mostly are neighbours, as the records are in the order of their addresses.
            if not _are_neighbours(rows):
                for index in range(1, len(rows)):
                    if not _are_neighbours(rows[index - 1 : index + 1]):
                        yield _run(rows[start:index], state, owner)
                        start = index
            yield _run(rows[start:], state, owner)

    def _kind(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """What neighbours in a run have in common."""
        return self.state(row), row[4]


class LazyRuns:
    """The runs of lazy pages."""

    json_item = LazyRun

    def __init__(self, pages: LazyTable) -> None:
        self._pages = pages

    def __iter__(self) -> Iterator[LazyRun]:
        return self._pages.runs()

    def json(self) -> str:
        """The runs as a JSON array, written out as pages are."""
        texts = [
            f'{{"start": {start}, "end": {end}, "state": "{state}", '
            f'"owner": {"null" if owner is None else owner}, "access_count": {count}, '
            f'"pages": {(end - start) // PAGE_BYTES}}}'
            for start, end, state, owner, count in self
        ]
        return "[" + ", ".join(texts) + "]"


def _state_by_design(row: tuple[Any, ...]) -> State:
    """The state of a page of a kernel that has no more than the design: by its flags and where it is."""
    _, physical, allocated, zero, *_ = row
    if allocated not in (0, 1) or zero not in (0, 1):
        return "corrupt"
    if allocated:
        return "allocated"
    return "zero" if zero and physical else "pending"


def _are_neighbours(rows: list[tuple[Any, ...]]) -> bool:
    """Whether rows of ascending addresses are of pages that follow on each other."""
    return (rows[-1][0] or 0) - (rows[0][0] or 0) == (len(rows) - 1) * PAGE_BYTES


def _run(rows: list[tuple[Any, ...]], state: State, owner: int | None) -> LazyRun:
    start = rows[0][0] or 0
    return LazyRun(start, start + len(rows) * PAGE_BYTES, state, owner, _accesses(rows))


def _accesses(rows: list[tuple[Any, ...]]) -> int:
    return sum(filter(None, map(_ACCESSES, rows)))


def _boolean(number: int | None) -> bool | None:
    return bool(number) if number in (0, 1) else None


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
        elif all(map(_ADDRESS, found)):
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
    bad = {pair for pair in table.flags if pair not in _STATE_OF and None not in pair}
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
