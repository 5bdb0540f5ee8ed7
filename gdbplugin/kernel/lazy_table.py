"""The records of lazy pages as a table of raw rows: there may be tens of thousands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from functools import cached_property
from itertools import groupby
from operator import itemgetter

from gdbplugin.records import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, overload

    PageState = Literal["pending", "zero", "allocated", "corrupt"]

PAGE_BYTES = 4096
STATES: tuple[PageState, ...] = ("pending", "zero", "allocated", "corrupt")
STATE_OF: dict[tuple[int | None, int | None], PageState] = {
    (0, 0): "pending",
    (0, 1): "zero",
    (1, 0): "allocated",
}
"""The state of a page by its `is_allocated` and `is_zero_page`; other values are corrupt."""
FIELDS = (
    "virtual_address",
    "physical_address",
    "is_allocated",
    "is_zero_page",
    "owner",
    "access_count",
    "allocation_time",
)
"""The columns of a row."""
# These take a column of a whole table at the speed of C.
_FLAGS = itemgetter(2, 3)
_FLAGS_AND_OWNER = itemgetter(2, 3, 4)
_OWNER = itemgetter(4)
_ACCESSES = itemgetter(5)

_JSON_FLAGS: dict[Any, str] = {0: "false", 1: "true"}


@dataclass(frozen=True)
class LazyPage:
    """A reserved page."""

    virtual_address: int | None
    """Virtual address of its first byte."""
    physical_address: int | None
    """Physical address of its own frame or of the shared zero page; 0 while it is pending."""
    is_allocated: bool | None
    """Whether it has a frame of its own, mapped read-write; false for a page that maps the zero page."""
    is_zero_page: bool | None
    """Whether the shared zero page is mapped there, read-only."""
    owner: int | None
    """The task that reserved it."""
    access_count: int | None
    """Number of faults that were resolved here, and of hits of its cleared access flag."""
    allocation_time: int | None
    """When it got its frame, as a count of the generic timer; 0 until then."""
    state: PageState
    """Pending, zero or allocated, from its flags; corrupt if they contradict each other."""


class _Run(NamedTuple):
    """The fields of a `LazyRun`: a named tuple for speed."""

    start: int
    """First virtual address."""
    end: int
    """Virtual address one past the last byte."""
    state: PageState
    """Pending, zero or allocated, as the flags of the pages say; corrupt if flags contradict each other."""
    owner: int | None
    """The task that reserved them."""
    access_count: int
    """Sum of the access counts of the pages."""


class LazyRun(_Run):
    """Adjacent pages with the same owner and state."""

    __slots__ = ()
    json_fields = ("start", "end", "state", "owner", "access_count", "pages")

    @property
    def pages(self) -> int:
        """Number of pages."""
        return (self.end - self.start) // PAGE_BYTES


class LazyTable(Sequence[LazyPage]):
    """The records in use, as raw rows; `table[n]` makes a `LazyPage` of a row.

    A field that the kernel does not have is None in every row. `records` has the record number of each row.

    If `exact_flags` is true, the two flags of a page determine its state, as in `kernel/src/debugger.rs`. The
    design requires less: there `is_allocated` takes precedence, and a page with `is_zero_page` but without a
    physical address is still pending.
    """

    json_item = LazyPage

    def __init__(self, rows: list[tuple[Any, ...]], records: list[int], exact_flags: bool = True) -> None:
        self.rows = rows
        self.records = records
        self.exact_flags = exact_flags

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
            return LazyTable(self.rows[index], self.records[index], self.exact_flags)
        row = self.rows[index]
        virtual, physical, allocated, zero, owner, count, time = row
        state = self.state(row)
        return LazyPage(virtual, physical, _boolean(allocated), _boolean(zero), owner, count, time, state)

    def json(self) -> str:
        """The pages as a JSON array; made directly, as dicts would take three times as long."""
        rows = self.rows
        states = [self.state(row) for row in rows]
        if any(None in row for row in rows[:1]):
            # A missing field is None in every row.
            rows = [tuple("null" if value is None else value for value in row) for row in rows]
        flags: dict[Any, str] = {
            number: _JSON_FLAGS.get(number, "null") for pair in self.flags for number in pair
        }
        flags["null"] = "null"
        texts = [
            f'{{"virtual_address": {virtual}, "physical_address": {physical}, '
            f'"is_allocated": {flags[allocated]}, "is_zero_page": {flags[zero]}, '
            f'"owner": {owner}, "access_count": {count}, "allocation_time": {time}, "state": "{state}"}}'
            for (virtual, physical, allocated, zero, owner, count, time), state in zip(
                rows, states, strict=True
            )
        ]
        return "[" + ", ".join(texts) + "]"

    def owners(self) -> set[int | None]:
        """The owners of the pages."""
        return set(map(_OWNER, self.rows))

    def where(self, state: str | None = None, owners: Set[int] | None = None) -> LazyTable:
        """The rows with this state and one of these owners; None for any."""
        kept = [
            index
            for index, row in enumerate(self.rows)
            if (state is None or self.state(row) == state) and (owners is None or row[4] in owners)
        ]
        rows, records = [self.rows[index] for index in kept], [self.records[index] for index in kept]
        return LazyTable(rows, records, self.exact_flags)

    def state(self, row: tuple[Any, ...]) -> PageState:
        """The state of a row: one of `STATES`."""
        return page_state(row[1], row[2], row[3], self.exact_flags)

    @cached_property
    def flags(self) -> Counter[tuple[int | None, int | None]]:
        """Number of pages by their `is_allocated` and `is_zero_page`."""
        return Counter(map(_FLAGS, self.rows))

    def count_states(self) -> Counter[str]:
        """Number of pages by state."""
        if not self.exact_flags:
            return Counter(map(self.state, self.rows))
        counted: Counter[str] = Counter()
        for flags, count in self.flags.items():
            counted[STATE_OF.get(flags, "corrupt")] += count
        return counted

    def count_accesses(self) -> int:
        """Sum of the access counts of all pages."""
        return _accesses(self.rows)

    def runs(self) -> Iterator[LazyRun]:
        """The runs of adjacent pages with the same owner and state; ascending."""
        for _, group in groupby(self.rows, _FLAGS_AND_OWNER if self.exact_flags else self._state_and_owner):
            rows = list(group)
            state, owner = self.state(rows[0]), rows[0][4]
            start = 0
            # Mostly all pages of a group are adjacent, as the rows are in the order of their addresses.
            if not _are_adjacent(rows):
                for index in range(1, len(rows)):
                    if not _are_adjacent(rows[index - 1 : index + 1]):
                        yield _run(rows[start:index], state, owner)
                        start = index
            yield _run(rows[start:], state, owner)

    def _state_and_owner(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the pages of a run have in common."""
        return self.state(row), row[4]


class LazyRuns:
    """The runs of the pages of a table."""

    json_item = LazyRun

    def __init__(self, pages: LazyTable) -> None:
        self._pages = pages

    def __iter__(self) -> Iterator[LazyRun]:
        return self._pages.runs()

    def json(self) -> str:
        """The runs as a JSON array, made directly as for pages."""
        texts = [
            f'{{"start": {start}, "end": {end}, "state": "{state}", '
            f'"owner": {"null" if owner is None else owner}, "access_count": {count}, '
            f'"pages": {(end - start) // PAGE_BYTES}}}'
            for start, end, state, owner, count in self
        ]
        return "[" + ", ".join(texts) + "]"


def page_state(physical: int | None, allocated: int | None, zero: int | None, exact_flags: bool) -> PageState:
    """The state of a page, from its physical address and its flags; `exact_flags` as for a `LazyTable`."""
    if exact_flags:
        return STATE_OF.get((allocated, zero), "corrupt")
    if allocated not in (0, 1) or zero not in (0, 1):
        return "corrupt"
    if allocated:
        return "allocated"
    return "zero" if zero and physical else "pending"


def _are_adjacent(rows: list[tuple[Any, ...]]) -> bool:
    """Whether rows with ascending addresses are of adjacent pages."""
    return (rows[-1][0] or 0) - (rows[0][0] or 0) == (len(rows) - 1) * PAGE_BYTES


def _run(rows: list[tuple[Any, ...]], state: PageState, owner: int | None) -> LazyRun:
    start = rows[0][0] or 0
    return LazyRun(start, start + len(rows) * PAGE_BYTES, state, owner, _accesses(rows))


def _accesses(rows: list[tuple[Any, ...]]) -> int:
    return sum(filter(None, map(_ACCESSES, rows)))


def _boolean(number: int | None) -> bool | None:
    return bool(number) if number in (0, 1) else None
