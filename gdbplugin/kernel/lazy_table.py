"""The records of lazy pages as a table of raw rows, for there can be tens of thousands, and their sums."""

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

    State = Literal["pending", "zero", "allocated", "corrupt"]

PAGE_BYTES = 4096


STATES: tuple[State, ...] = ("pending", "zero", "allocated", "corrupt")


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


_FLAGS = itemgetter(2, 3)


_KIND = itemgetter(2, 3, 4)


_OWNER = itemgetter(4)


_ACCESSES = itemgetter(5)


STATE_OF: dict[tuple[int | None, int | None], State] = {
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
        return STATE_OF.get((row[2], row[3]), "corrupt") if self.promised else _state_by_design(row)

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
            counted[STATE_OF.get(flags, "corrupt")] += count
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
