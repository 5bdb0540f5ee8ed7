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
    from typing import Any, overload

PAGE_BYTES = 4096
STATES = ("pending", "zero", "allocated", "corrupt")

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
_STATE_OF: dict[tuple[int | None, int | None], str] = {(0, 0): "pending", (0, 1): "zero", (1, 0): "allocated"}


@dataclass(frozen=True)
class LazyPage:
    """A reserved page. `physical_address` is of its own frame or the zero page, 0 while pending."""

    virtual_address: int | None
    physical_address: int | None
    is_allocated: bool | None
    is_zero_page: bool | None
    owner: int | None
    access_count: int | None
    allocation_time: int | None


@dataclass(frozen=True)
class LazyRange:
    """A range as it was reserved: its number, that of its first record, its pages, and the task that did."""

    number: int
    first: int | None
    pages: int | None
    owner: int | None


class LazyRun(NamedTuple):
    """Neighbouring pages of one owner and one state: `end` is exclusive."""

    start: int
    end: int
    state: str
    owner: int | None
    access_count: int

    @property
    def pages(self) -> int:
        """How many."""
        return (self.end - self.start) // PAGE_BYTES


class LazyTable(Sequence[LazyPage]):
    """The records in use.

    Kept as raw rows, for there may be tens of thousands; a row becomes a `LazyPage` when it is asked
    for. A field the kernel has not is None in every row. `records` has the number of each row's record.

    With `promised` the two flags of a page tell its state, as in `kernel/src/debugger.rs`. The design itself
    promises less: what `is_allocated` says comes first there, and a page that is only to be filled with zeros
    when it is allocated has no physical address.
    """

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

    def state(self, row: tuple[Any, ...]) -> str:
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


def _state_by_design(row: tuple[Any, ...]) -> str:
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


def _run(rows: list[tuple[Any, ...]], state: str, owner: int | None) -> LazyRun:
    start = rows[0][0] or 0
    return LazyRun(start, start + len(rows) * PAGE_BYTES, state, owner, _accesses(rows))


def _accesses(rows: list[tuple[Any, ...]]) -> int:
    return sum(filter(None, map(_ACCESSES, rows)))


def _boolean(number: int | None) -> bool | None:
    return bool(number) if number in (0, 1) else None


@dataclass(frozen=True)
class LazyPages:
    """The lazy page allocator: its counters as it keeps them, and the records in use.

    The last two are of other kernels of this design, which have neither ranges nor most of the counters.
    """

    zero_frame: int | None
    reserved_pages: int | None
    allocated_pages: int | None
    zero_pages: int | None
    zero_fault_count: int | None
    allocate_fault_count: int | None
    upgrade_fault_count: int | None
    access_flag_count: int | None
    fold_count: int | None
    ranges: tuple[LazyRange, ...] | None
    pages: LazyTable
    allocation_policy: str | None = None
    next_page_index: int | None = None

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
    return kernel.record(LazyPages, values, "lazy pages", ranges=ranges, pages=pages)


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
