"""What the views are drawn from: the newest snapshot, the timeline before it, and the user's choices. Pure.

Times are the kernel's own: while the target is stopped, no time passes and rates keep their last value.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from math import floor

from gdbplugin.kernel.events import Event
from gdbplugin.kernel.lazy import LazyRange
from gdbplugin.kernel.pressure import LEVELS, FrameTable
from gdbplugin.session import Snapshot

RATE_SECONDS = 2.0
"""The period over which rates are taken."""
CHANGE_SECONDS = 10.0
"""The period over which changes of a stack or a lazy range are taken."""
_KEPT_SECONDS = 600
# Those of some minutes, to scroll back to.
_KEPT_EVENTS = 16384
_LAZY = "LazyPage"
_SHORTEST_SECONDS = 0.2


@dataclass(frozen=True)
class Sample:
    """The figures of one snapshot.

    `time` is in seconds, `sizes` has the bytes of each stack by its ID, and `ranges` the frames of each lazy
    range by its first record. `tasks` has, by the number of each task, the switches to it and the counts of
    the timer for which it has run.
    """

    time: float
    counters: dict[str, int | None]
    sizes: dict[int, int]
    ranges: dict[int, int]
    tasks: dict[int, tuple[int, int | None]]


@dataclass
class _Second:
    """One second of kernel time: the last counters, the fewest free frames, the worst pressure level."""

    counters: dict[str, int | None]
    free: int | None
    level: int | None


class Timeline:
    """The snapshots of the last minutes in short; `add` each snapshot once. Old ones are dropped."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self.missed: dict[int, int] = {}
        """Event number -> how many events just before it were overwritten before a snapshot saw them."""
        self._samples: deque[Sample] = deque()
        self._seconds: dict[int, _Second] = {}

    @property
    def newest(self) -> Sample | None:
        """The sample added last."""
        return self._samples[-1] if self._samples else None

    def add(self, snapshot: Snapshot, host_seconds: float, level_names: dict[int, str]) -> None:
        """Add a snapshot. `host_seconds` is the time to use if the kernel's own is not known.

        `level_names` maps the numbers of pressure levels in events to their names.
        """
        seconds = snapshot.clock.seconds(snapshot.clock.now)
        sample = Sample(
            host_seconds if seconds is None else seconds,
            figures(snapshot),
            {stack.id: stack.current_size or 0 for stack in snapshot.stacks.active if stack.id is not None},
            frames_by_range(snapshot.frame_table, snapshot.lazy.ranges or ()),
            _tasks(snapshot),
        )
        if self._samples and sample.time < self._samples[-1].time:
            self._clear()  # The kernel's time went back: an earlier state was restored.
        if self._samples and sample.time == self._samples[-1].time:
            self._samples.pop()
        self._samples.append(sample)
        while sample.time - self._samples[0].time > CHANGE_SECONDS + 1:
            self._samples.popleft()
        self._note_second(sample, snapshot)
        self._note_events(snapshot, level_names)

    def _clear(self) -> None:
        self._samples.clear()
        self._seconds.clear()
        self.events.clear()
        self.missed.clear()

    def _note_second(self, sample: Sample, snapshot: Snapshot) -> None:
        second = self._seconds.setdefault(floor(sample.time), _Second({}, None, None))
        second.counters = sample.counters
        second.free = _least(second.free, snapshot.pressure.free)
        second.level = _worst(second.level, snapshot.pressure.pressure.level)
        while len(self._seconds) > _KEPT_SECONDS:
            del self._seconds[next(iter(self._seconds))]

    def _note_events(self, snapshot: Snapshot, level_names: dict[int, str]) -> None:
        """Add the new events; a pressure change between two snapshots counts for its second."""
        last = self.events[-1].sequence or 0 if self.events else None
        for event in snapshot.events.events:
            if event.sequence is None or (last is not None and event.sequence <= last):
                continue
            if last is not None and event.sequence > last + 1:
                self.missed[event.sequence] = event.sequence - last - 1
            last = event.sequence
            self.events.append(event)
            time = snapshot.clock.seconds(event.timestamp)
            second = self._seconds.get(floor(time)) if time is not None else None
            if event.kind == "PressureChange" and second is not None:
                second.level = _worst(second.level, level_names.get(event.second or 0))
        while self.missed and (first := next(iter(self.missed))) < (self.events[0].sequence or 0):
            del self.missed[first]

    def earlier(self, samples: Iterable[Sample], recorded: int | None) -> Timeline:
        """What it was when the last of the samples was the newest, after so many recorded events."""
        found = Timeline()
        found._samples.extend(samples)
        newest = found.newest
        until = None if newest is None else floor(newest.time)
        found._seconds = {
            number: second for number, second in self._seconds.items() if until is None or number <= until
        }
        found.events.extend(event for event in self.events if (event.sequence or 0) <= (recorded or 0))
        found.missed = {number: count for number, count in self.missed.items() if number <= (recorded or 0)}
        return found

    def rate(self, name: str) -> float | None:
        """The change of a counter per second, over the last `RATE_SECONDS`; None if not known yet."""
        earlier, newest = self._before(RATE_SECONDS), self.newest
        if earlier is None or newest is None or newest.time - earlier.time < _SHORTEST_SECONDS:
            return None
        before, now = earlier.counters.get(name), newest.counters.get(name)
        return None if before is None or now is None else (now - before) / (newest.time - earlier.time)

    def task_rates(self, task: int | None) -> tuple[float, float | None] | None:
        """The switches to a task in a second, and the counts of the timer for which it ran in one.

        Over the last `RATE_SECONDS`; None if not known yet.
        """
        earlier, newest = self._before(RATE_SECONDS), self.newest
        if (
            earlier is None
            or newest is None
            or newest.time - earlier.time < _SHORTEST_SECONDS
            or task is None
        ):
            return None
        before, now = earlier.tasks.get(task), newest.tasks.get(task)
        if before is None or now is None:
            return None
        seconds = newest.time - earlier.time
        ran = None if now[1] is None or before[1] is None else (now[1] - before[1]) / seconds
        return (now[0] - before[0]) / seconds, ran

    def size_change(self, stack: int, seconds: float = CHANGE_SECONDS) -> int:
        """The change of a stack's size in bytes in the last seconds; a new stack has grown from 0."""
        earlier, newest = self._before(seconds), self.newest
        if earlier is None or newest is None:
            return 0
        return newest.sizes.get(stack, 0) - earlier.sizes.get(stack, 0)

    def range_change(self, first: int) -> int:
        """The change of a lazy range's frames in the last `CHANGE_SECONDS`."""
        earlier, newest = self._before(CHANGE_SECONDS), self.newest
        if earlier is None or newest is None:
            return 0
        return newest.ranges.get(first, 0) - earlier.ranges.get(first, 0)

    def _before(self, seconds: float) -> Sample | None:
        """The newest sample that is at least that much older than the last one, else the oldest sample."""
        if len(self._samples) < 2:
            return None
        until = self._samples[-1].time - seconds
        found = self._samples[0]
        for sample in self._samples:
            if sample.time > until:
                break
            found = sample
        return found

    def rates(self, name: str, columns: int) -> list[float | None]:
        """The change of a counter in each whole second before the current one, oldest first."""
        if not self._seconds:
            return []
        current = next(reversed(self._seconds))
        return [self._moved(name, second) for second in range(current - columns, current)]

    def _moved(self, name: str, second: int) -> float | None:
        here, before = self._seconds.get(second), self._seconds.get(second - 1)
        now = here.counters.get(name) if here else None
        then = before.counters.get(name) if before else None
        return None if now is None or then is None else float(now - then)

    def free(self, columns: int) -> list[float | None]:
        """The fewest free frames in each second up to the current one, oldest first."""
        return [None if second is None else second.free for second in self._last(columns)]

    def levels(self, columns: int) -> list[str | None]:
        """The worst pressure level in each second up to the current one, oldest first."""
        return [
            None if second is None or second.level is None else LEVELS[second.level]
            for second in self._last(columns)
        ]

    def _last(self, columns: int) -> list[_Second | None]:
        if not self._seconds:
            return []
        current = next(reversed(self._seconds))
        return [self._seconds.get(second) for second in range(current - columns + 1, current + 1)]


def _tasks(snapshot: Snapshot) -> dict[int, tuple[int, int | None]]:
    tasks = snapshot.tasks
    if tasks is None:
        return {}
    return {
        task.id: (task.switch_count or 0, tasks.run_time(task, snapshot.clock.now))
        for task in tasks.tasks
        if task.id is not None
    }


def figures(snapshot: Snapshot) -> dict[str, int | None]:
    """All counters by name, the ten of `DynamicMemoryStats` first."""
    return {**asdict(snapshot.stats), **snapshot.counters.counters}


def frames_by_range(table: FrameTable | None, ranges: Iterable[LazyRange]) -> dict[int, int]:
    """The frames of each lazy range by its first record, counted in the reverse map of frames."""
    if table is None:
        return {}
    allocated = {
        index
        for use, index in zip(table.uses, table.indexes, strict=True)
        if use == _LAZY and index is not None
    }
    ordered = sorted(allocated)
    counts = {}
    for entry in ranges:
        if entry.first is not None and entry.pages is not None:
            counts[entry.first] = _between(ordered, entry.first, entry.first + entry.pages)
    return counts


def _between(ordered: list[int], first: int, end: int) -> int:
    return bisect_left(ordered, end) - bisect_left(ordered, first)


def _least(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


def _worst(one: int | None, name: str | None) -> int | None:
    other = LEVELS.index(name) if name in LEVELS else None
    return other if one is None else one if other is None else max(one, other)


@dataclass
class Choices:
    """What the user has chosen with keys."""

    view: str = "s"
    paused: bool = False
    """Whether the view is paused; the target is not affected."""
    help: bool = False
    past: float | None = None
    """The time in seconds of the snapshot to show, by the kernel's own time; None for the newest."""
    scroll: dict[str, int] = field(default_factory=dict)
    """View -> how many rows it is scrolled by: from the first row, or from the last if it opens there."""
    kind: str | None = None
    """The kind of event to show; None for all."""
    until: int | None = None
    """The number of the newest event to show while the user reads older ones; None to follow the stream."""
    map_only: bool = False
    by_task: bool = False
    """Whether the map of the pool shows the owner of each frame instead of its use."""
    zoom: int = 0
    """How often the number of frames in a cell of the pool's map is halved."""


@dataclass(frozen=True)
class Scene:
    """The input of a view."""

    snapshot: Snapshot
    timeline: Timeline
    choices: Choices
    event_names: dict[str, dict[int, str]]
    """The type of an enum that events hold as numbers -> number -> name."""
