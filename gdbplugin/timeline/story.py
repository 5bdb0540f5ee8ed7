"""What is known of a kernel over some time, put on tracks. Times are counts of the kernel's timer.

Where it comes from is another module's matter: the event ring, snapshots, a recording.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator

from gdbplugin.kernel.events import Event
from gdbplugin.kernel.tasks import Names
from gdbplugin.records import NamedTuple
from gdbplugin.timeline.trace import Instant, Slice, Trace, Track

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.timeline.packets import Value
    from gdbplugin.timeline.trace import Counter

    Worded = Callable[[Event], str]
    "Says in words what the two numbers of an event mean."

MEMORY = "memory"
"""The group of what belongs to no core: the counters, and the strategies."""

# Kinds of event whose first number is a task.
_ABOUT_TASKS = frozenset(
    {"TaskStarted", "TaskEnded", "WildAccess", "VictimChosen", "FrameQuota", "RangeQuota"}
)
# Kinds of event that are recorded while a strategy runs, which ends with its own.
_EFFECTS = frozenset({"LazyFold", "StackShrink", "PageMoved", "TableMoved"})
_STRATEGY, _START = "StrategyRun", "TaskStarted"
_FAULTS = {
    "LazyZero": "lazy fault",
    "LazyAllocate": "lazy fault",
    "StackGrowth": "stack growth",
    "StackOverflow": "stack overflow",
    "WildAccess": "wild access",
    "FrameQuota": "quota reached",
    "OutOfMemory": "out of memory",
}
FAULT_NAMES = frozenset(_FAULTS.values())
"""The names of slices that are faults."""
FAULT_EVENTS = frozenset(_FAULTS)
"""The kinds of event that a fault records."""
ENTRY_NAMES = frozenset({"interrupt", "system call"})
"""The names of slices of the kernel's other work for a task."""
STRATEGIES = "strategies"
"""The track of the strategies' runs."""
_KERNEL = "kernel"
_KERNEL_RANK, _STRATEGIES_RANK, _FIRST_TASK_RANK = 0, 1, 2


class Turn(NamedTuple):
    """A task ran on a core; `ended` is False if it may have run on."""

    core: int
    task: int
    begin: int
    end: int
    ended: bool = True


class Handled(NamedTuple):
    """An exception that the kernel handled, with the events that it recorded meanwhile."""

    core: int
    task: int | None
    begin: int
    end: int
    instructions: int
    is_interrupt: bool
    first_event: int
    last_event: int
    """The sequence numbers of the first and the last of them."""


class Story:
    """Collects what is known, and puts it on tracks."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}
        """By sequence number."""
        self.turns: list[Turn] = []
        self.handled: list[Handled] = []
        self.counts: dict[Counter, list[tuple[int, int]]] = {}
        self.names: Names = {}
        self._started: Counts[int | None] = Counts()
        self.tasks_by_asid: dict[int, int] = {}
        """The tasks by the ASIDs of their address spaces, at the end."""
        self.strategies: dict[int, str] = {}
        """The names of the strategies by their numbers in events."""
        self.longest_gap = 0
        """The longest time between two events of one run of a strategy: it runs with interrupts masked."""

    def add_events(self, events: Iterable[Event]) -> None:
        """Add events; those that are known already count once."""
        for event in events:
            if event.sequence and event.timestamp is not None:
                self.events.setdefault(event.sequence, event)

    def add_count(self, counter: Counter, time: int, value: int | None) -> None:
        """Add a count, if it is known."""
        if value is not None:
            self.counts.setdefault(counter, []).append((time, value))

    def in_order(self) -> list[Event]:
        """The events in the order in which they were recorded."""
        return [self.events[number] for number in sorted(self.events)]

    def trace(self, frequency: int, worded: Worded) -> Trace:
        """Everything on its tracks; the timer counts `frequency` times in a second."""
        trace, events = Trace(frequency), self.in_order()
        self._started = Counts(event.first for event in events if event.kind == _START)
        for counter, known in self.counts.items():
            for time, value in sorted(known, key=lambda entry: entry[0]):
                trace.add_count(counter, time, value)
        for turn in self.turns:
            arguments: dict[str, Value] = {"task": turn.task}
            if not turn.ended:
                arguments["end"] = "not seen: it may have run on"
            track = self._track(turn.core, turn.task)
            trace.add_slice(track, Slice(turn.begin, turn.end, "running", arguments))
        for one in self.handled:
            trace.add_slice(self._track(one.core, one.task), self._slice_of(one))
        tasks = tasks_of(events, self.tasks_by_asid)
        for event in events:
            track = self._track(event.core or 0, tasks.get(event.sequence or 0))
            trace.add_instant(track, _instant(event, worded))
        for core, run in self._strategy_runs(events):
            trace.add_slice(Track(group_of(core), _STRATEGIES_RANK, STRATEGIES), run)
        return trace

    def _track(self, core: int, task: int | None) -> Track:
        if task is None:
            return Track(group_of(core), _KERNEL_RANK, _KERNEL)
        name = self.names.get(task)
        # The number may have been another task's before.
        now = "now " if self._started[task] > 1 else ""
        said = f"task {task} ({now}{name})" if name else f"task {task}"
        return Track(group_of(core), _FIRST_TASK_RANK + task, said)

    def _slice_of(self, one: Handled) -> Slice:
        numbers = range(one.first_event, one.last_event + 1)
        kinds = [event.kind or "" for number in numbers if (event := self.events.get(number))]
        other = "interrupt" if one.is_interrupt else "system call"
        name = next((_FAULTS[kind] for kind in kinds if kind in _FAULTS and not one.is_interrupt), other)
        arguments: dict[str, Value] = {
            "instructions": one.instructions,
            "first event": one.first_event,
            "events": len(numbers),
        }
        return Slice(one.begin, one.end, name, arguments)

    def _strategy_runs(self, events: list[Event]) -> Iterator[tuple[int, Slice]]:
        """Each run of a strategy, from the first event of its work to its own."""
        begin: int | None = None
        last = 0
        for event in events:
            time = event.timestamp or 0
            if begin is not None and (time - last > self.longest_gap or event.kind not in _RELATED):
                begin = None
            if event.kind in _EFFECTS:
                begin = time if begin is None else begin
            elif event.kind == _STRATEGY:
                name = self.strategies.get(event.first or 0, f"strategy {event.first}")
                arguments: dict[str, Value] = {"gain": event.second or 0, "event": event.sequence or 0}
                yield event.core or 0, Slice(time if begin is None else begin, time, name, arguments)
                begin = None
            last = time


_RELATED = _EFFECTS | {_STRATEGY}


def group_of(core: int) -> str:
    """The group of the tracks of a core."""
    return f"core {core}"


def tasks_of(events: Iterable[Event], tasks_by_asid: dict[int, int]) -> dict[int, int]:
    """The task that each event concerns, by the event's sequence number, as far as that is known.

    Most events have only the ASID of its address space. `tasks_by_asid` are those after the last event; going
    back from there, an ASID is another task's before that task started, or before the ASIDs began anew.
    """
    asids, found = dict(tasks_by_asid), {}
    for event in reversed(list(events)):
        number = event.sequence or 0
        if event.kind == "AsidRollover":
            asids.clear()
        if event.kind == "TaskEnded" and event.asid and event.first is not None:
            asids[event.asid] = event.first
        if event.kind in _ABOUT_TASKS and event.first is not None:
            found[number] = event.first
        elif event.asid and event.asid in asids:
            found[number] = asids[event.asid]
        if event.kind == _START:
            asids = {asid: task for asid, task in asids.items() if task != event.first}
    return found


def _instant(event: Event, worded: Worded) -> Instant:
    """An event with all that it says."""
    numbers = {name: getattr(event, name) for name in ("sequence", "core", "asid", "first", "second")}
    arguments = {name: number for name, number in numbers.items() if number is not None}
    return Instant(event.timestamp or 0, event.kind or "unknown", {**arguments, "meaning": worded(event)})
