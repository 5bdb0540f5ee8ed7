"""Rows of a difference: one changed field of one object, beside the events that explain it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.events import Event
from gdbplugin.kernel.interface import Clock
from gdbplugin.records import NamedTuple, dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = ("stacks", "lazy", "mappings", "pressure", "spaces", "tasks", "frames", "counters")
"""The kinds of objects that are compared, in the order in which they are shown."""


@dataclass(frozen=True)
class Row:
    """A changed field of one object, or of adjacent pages that changed in the same way."""

    kind: str
    """Kind of object: stacks, lazy, mappings, pressure, spaces, tasks, frames or counters."""
    object: str
    """The object, in words."""
    number: int | None
    """ID of the stack, number of the task or of the address space; null for anything else."""
    asid: int | None
    """ASID of the address space that pages belong to; null for anything else."""
    field: str
    """Name of the field; `mapping` for what is mapped at pages."""
    before: int | str | bool | None
    """The earlier value; null if there was none. Pages together have the sum of counts, the newest time."""
    after: int | str | bool | None
    """The later value; null if there is none."""
    events: tuple[int, ...]
    """The numbers of the events that explain the change, ascending."""
    needs_event: bool = False
    """Whether it is a change of state, which must have an event; false for counters and times."""
    explained: bool | None = None
    """Whether events explain the change; null if it needs no event, or if that cannot be told."""
    start: int | None = None
    """First address of the pages; null for an object that is not pages."""
    end: int | None = None
    """Exclusive end of the pages."""
    frames_before: tuple[int, ...] | None = None
    """Physical address of each page or block before, by virtual address; null if there was none."""
    frames_after: tuple[int, ...] | None = None
    """Physical address of each page or block after; null if there is none."""

    @property
    def is_state(self) -> bool:
        """Whether it is more than a counter or a time, which change all the time."""
        return self.needs_event or self.field in _STATE

    @property
    def size(self) -> int | None:
        """Bytes of the pages."""
        return None if self.start is None or self.end is None else self.end - self.start


_STATE = frozenset(
    (
        *("is_active", "policy", "owner", "base_address", "current_size", "max_size", "guard_address"),
        *(
            "state",
            "physical_address",
            "mapping",
            "attributes",
            "level",
            "table",
            "limit_frames",
            "end_reason",
        ),
        *("base", "total_frames", "name", "stack", "allocation_policy"),
    )
)
"""Fields that say what an object is, also where a change needs no event."""


@dataclass(frozen=True)
class When:
    """One of the two moments."""

    label: str
    """What it was called: now, a kept stop, or the path of a dump."""
    time: Clock
    """The kernel's own timer then."""
    recorded: int | None
    """How many events there were since boot; null in a kernel that records none."""
    changing: bool
    """Whether the kernel was stopped in the middle of a change."""


@dataclass(frozen=True)
class Difference(Diagnosed):
    """What changed between two moments of a kernel, row by row."""

    json_fields = (
        *("before", "after", "seconds", "event_count", "lost_events", "finding_count"),
        *("counts", "row_count", "rows", "events"),
    )

    before: When
    """The first moment."""
    after: When
    """The second moment."""
    seconds: float | None
    """Seconds between them by the kernel's own timer, negative if the second was earlier."""
    event_count: int
    """How many events there were between them."""
    lost_events: int
    """How many of these the event ring no longer has."""
    rows: tuple[Row, ...]
    """The changes, by kind of object: those of the kinds asked for."""
    events: tuple[Event, ...]
    """The events that explain a change, oldest first."""
    names: dict[str, dict[int, str]]
    limit: int | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows by kind of object."""
        return {kind: sum(row.kind == kind for row in self.rows) for kind in KINDS}

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def finding_count(self) -> int:
        """Number of findings, including those that are not listed."""
        return self.diagnostics.finding_count

    def of_states(self, with_counters: bool = False) -> Difference:
        """The same with changes of state alone, and with those of the counters if they are wanted."""
        rows = (row for row in self.rows if row.needs_event or (with_counters and row.kind == "counters"))
        return replace(self, rows=tuple(rows), diagnostics=self.diagnostics)

    def kind_of(self, sequence: int) -> str:
        """The kind of the event with a number."""
        return self._kinds.get(sequence, "event")

    @cached_property
    def _kinds(self) -> dict[int, str]:
        return {event.sequence or 0: event.kind or "?" for event in self.events}

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.rows)


class Explanation(NamedTuple):
    """What explains a change.

    `needed` says that it needs an event; `expected`, in words, is what the events lead to; None if they lead
    to what is there.
    """

    events: tuple[int, ...] = ()
    needed: bool = False
    expected: str | None = None


COUNTS = Explanation()
"""The explanation of a value that only counts."""


def in_words(value: Any, field: str) -> str:
    """A value of a field in a finding: addresses and sizes in hexadecimal."""
    if value is None:
        return "nothing"
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:#x}" if is_number and field.endswith(("_address", "_size", "table")) else f"{value}"


def wanted(value: Any, events: Sequence[int], found: Any, field: str = "") -> Explanation:
    """The explanation of a state that events lead to, by the value of the field that they predict."""
    numbers = tuple(events)
    if not numbers:
        return Explanation(numbers, True, "no change, as no event is about it")
    return Explanation(
        numbers, True, None if value == found else f"{in_words(value, field)}, as its events say"
    )


class Change(NamedTuple):
    """A change of one page, to be joined with those of its neighbours."""

    kind: str
    object: str
    number: int | None
    asid: int | None
    field: str
    address: int
    size: int
    before: int | str | None
    after: int | str | None
    frame_before: int | None
    frame_after: int | None
    explanation: Explanation


def joined(changes: Iterable[Change]) -> Iterator[tuple[Row, Explanation]]:
    """The changes of adjacent pages that are the same, as one row each; counters are added up."""
    group: list[Change] = []
    for change in changes:
        if group and not _continues(group[-1], change):
            yield _row(group)
            group = []
        group.append(change)
    if group:
        yield _row(group)


def _continues(last: Change, next_: Change) -> bool:
    return last.address + last.size == next_.address and _alike(last) == _alike(next_)


def _alike(change: Change) -> tuple[Any, ...]:
    values = tuple(None if isinstance(one, int) else one for one in (change.before, change.after))
    explained = change.explanation.needed, change.explanation.expected
    place = change.kind, change.object, change.asid, change.field, change.size
    return *place, values, explained, change.frame_before is None, change.frame_after is None


def _row(group: list[Change]) -> tuple[Row, Explanation]:
    first, last = group[0], group[-1]
    events = tuple(sorted({number for change in group for number in change.explanation.events}))
    explanation = first.explanation._replace(events=events)
    row = Row(
        kind=first.kind,
        object=first.object,
        number=first.number,
        asid=first.asid,
        field=first.field,
        before=_together(first.field, [change.before for change in group]),
        after=_together(first.field, [change.after for change in group]),
        events=events,
        start=first.address,
        end=last.address + last.size,
        frames_before=_frames([change.frame_before for change in group]),
        frames_after=_frames([change.frame_after for change in group]),
    )
    return row, explanation


def _together(field: str, values: list[int | str | None]) -> int | str | None:
    numbers = [value for value in values if isinstance(value, int)]
    if not numbers:
        return values[0]
    return max(numbers) if field.endswith("_time") else sum(numbers)


def _frames(frames: Sequence[int | None]) -> tuple[int, ...] | None:
    known = tuple(frame for frame in frames if frame is not None)
    return known or None
