"""Writes a timeline of a stopped kernel, or of one that was watched, as a trace for Perfetto."""

from __future__ import annotations

from pathlib import Path

from gdbplugin.dump.whole_file import whole_file
from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics
from gdbplugin.kernel.events import event_names, has_events, read_events
from gdbplugin.kernel.interface import Clock, read_clock, ticks_per_second
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import Tasks, read_tasks, task_names
from gdbplugin.machine import MachineError
from gdbplugin.recording.history import note_overwritten
from gdbplugin.recording.ring import Recording, RecordingError
from gdbplugin.records import NamedTuple, dataclass
from gdbplugin.timeline import packets
from gdbplugin.timeline.figures import LEVEL, read_figures
from gdbplugin.timeline.recorded import read_recorded
from gdbplugin.timeline.story import MEMORY, Story, Turn
from gdbplugin.timeline.trace import NANOSECONDS, Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from gdbplugin.kernel.events import Event

    Source = Literal["events", "recording", "snapshots"]
    Meaning = Callable[[Event, dict[str, dict[int, str]]], str]
    "Says what the numbers of an event mean, by the names of the enums that they belong to."

_LEVEL_CHANGE = "PressureChange"
_WHO_RAN = (
    "of who ran when, only the turn at this stop is known: record the session (`scripts/run --record`), "
    "or watch it (--seconds)"
)
_PACKETS_TOGETHER = 4096


@dataclass(frozen=True)
class Timeline(Diagnosed):
    """A timeline that was written."""

    path: str
    """The file."""
    size: int
    """Its bytes."""
    sources: tuple[Source, ...]
    """What it was made from: the event ring, a recording, or snapshots of the running kernel."""
    seconds: float | None
    """From its first time to its last, by the kernel's own timer; null if its frequency is not known."""
    tracks: int
    """Tracks of slices and events."""
    counters: int
    """Tracks of counts."""
    slices: int
    """Turns of tasks, faults and other exceptions, and runs of strategies."""
    events: int
    """Events of the kernel."""
    counts: int
    """Changes of counts."""


class Told(NamedTuple):
    """What is known of a stopped kernel over some time, and what it takes to put it on tracks."""

    story: Story
    sources: tuple[Source, ...]
    clock: Clock
    tick_rate: int | None
    """The scheduler's ticks per second."""
    names: dict[str, dict[int, str]]
    """Those of the enums in events."""


def write_timeline(target: Target, path: str, meaning: Meaning) -> Timeline:
    """Write what is known of a stopped kernel: from its recording, if it has one, else from the event ring.

    Raises a `MachineError` in one line if it cannot be read, or the file cannot be written.
    """
    told = read_told(target)
    return write_story(
        told.story,
        path,
        told.sources,
        told.clock,
        told.tick_rate,
        told.names,
        meaning,
        target.required_kernel().diagnostics,
    )


def read_told(target: Target) -> Told:
    """What a stopped kernel tells of its past, by its recording, or by its event ring alone.

    Raises a `MachineError` in one line if it cannot be read.
    """
    kernel = target.required_kernel()
    kernel.note_change()
    clock, story = read_clock(kernel), Story()
    recording = _recording_of(target)
    if recording is not None:
        try:
            read_recorded(kernel, recording, clock.now, story)
            note_overwritten(target, recording.header.written, recording.first)
        finally:
            recording.close()
    if has_events(kernel):
        story.add_events(read_events(kernel).events)
    tasks = read_tasks(kernel)
    add_levels(story)
    if clock.now is None:
        kernel.diagnostics.add_note("the time of this stop is not known: its counts are left out")
    else:
        for counter, count in read_figures(kernel).items():
            story.add_count(counter, clock.now, count)
    if recording is None:
        _add_turn(story, tasks, clock)
        kernel.diagnostics.add_note(_WHO_RAN)
    story.names = task_names(tasks)
    story.tasks_by_asid = {asid: space.number for asid, space in read_spaces(kernel).by_asid.items()}
    sources: tuple[Source, ...] = ("events",) if recording is None else ("events", "recording")
    return Told(story, sources, clock, ticks_per_second(kernel), event_names(kernel))


def trace_of(told: Told, meaning: Meaning, diagnostics: Diagnostics) -> Trace:
    """What is known, on its tracks. A note says so if the timer's frequency is not known."""
    story, frequency = told.story, told.clock.frequency or None
    if frequency is None:
        diagnostics.add_note(
            "the frequency of the kernel's timer is not known: a nanosecond in the file is one count of it"
        )
    story.strategies = told.names.get("Strategy", {})
    story.longest_gap = frequency // told.tick_rate if told.tick_rate and frequency else 0
    return story.trace(frequency or NANOSECONDS, lambda event: meaning(event, told.names))


def write_story(
    story: Story,
    path: str,
    sources: tuple[Source, ...],
    clock: Clock,
    tick_rate: int | None,
    names: dict[str, dict[int, str]],
    meaning: Meaning,
    diagnostics: Diagnostics,
) -> Timeline:
    """Write a story. `names` are those of the enums in events, `tick_rate` the scheduler's ticks per second.

    Raises a `MachineError` in one line if the file cannot be written.
    """
    trace = trace_of(Told(story, sources, clock, tick_rate, names), meaning, diagnostics)
    size, pending = 0, []
    with whole_file(path) as file:
        for one in trace.packets(MEMORY):
            pending.append(one)
            if len(pending) == _PACKETS_TOGETHER:
                size += file.write(packets.join(pending))
                pending = []
        size += file.write(packets.join(pending))
    span = trace.span() or (0, 0)
    return Timeline(
        str(Path(path).expanduser()),
        size,
        sources,
        (span[1] - span[0]) / clock.frequency if clock.frequency else None,
        len(trace.tracks),
        len(trace.counts),
        sum(map(len, trace.slices.values())),
        sum(map(len, trace.instants.values())),
        sum(map(len, trace.counts.values())),
        diagnostics=diagnostics,
    )


def add_levels(story: Story) -> None:
    """Add the pressure level before and after each change that the events tell."""
    changes = [event for event in story.in_order() if event.kind == _LEVEL_CHANGE]
    for number, event in enumerate(changes):
        if number == 0:
            story.add_count(LEVEL, _first_time(story), event.first)
        story.add_count(LEVEL, event.timestamp or 0, event.second)


def _first_time(story: Story) -> int:
    return min(event.timestamp or 0 for event in story.events.values())


def _recording_of(target: Target) -> Recording | None:
    """The session's recording; None if it is not recorded."""
    try:
        path = target.recording_path()
    except RecordingError:
        raise
    except MachineError:
        return None
    return Recording(path)


def _add_turn(story: Story, tasks: Tasks | None, clock: Clock) -> None:
    """Add the turn of the task that runs, which is all that a stop alone tells."""
    if clock.now is not None and tasks is not None and tasks.current is not None and tasks.turn_start:
        end = max(clock.now, tasks.turn_start)
        story.turns.append(Turn(0, tasks.current, tasks.turn_start, end, ended=False))
