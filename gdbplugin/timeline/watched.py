"""A timeline by snapshots of a running kernel."""

from __future__ import annotations

from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.interface import Clock
from gdbplugin.kernel.snapshot import Snapshot
from gdbplugin.kernel.tasks import task_names
from gdbplugin.timeline.figures import figures_of
from gdbplugin.timeline.story import Story, Turn
from gdbplugin.timeline.write import Timeline, add_levels, write_story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.timeline.write import Meaning


class WatchedTimeline:
    """Collects snapshots, each added once, in their order; `write` writes what they tell."""

    def __init__(self, names: dict[str, dict[int, str]], tick_rate: int | None = None) -> None:
        """`names` are those of the enums in events; the scheduler ticks `tick_rate` times a second."""
        self._names = names
        self._tick_rate = tick_rate
        self._has_gone_back = False
        self._restart()

    def _restart(self) -> None:
        self._story = Story()
        self._newest: Snapshot | None = None
        self._first_switches: int | None = None
        self._switches: int | None = None
        self._turn: Turn | None = None

    def add(self, snapshot: Snapshot) -> None:
        """Add a snapshot."""
        before, now = None if self._newest is None else self._newest.clock.now, snapshot.clock.now
        if before is not None and now is not None and now < before:
            self._restart()
            self._has_gone_back = True
        self._newest = snapshot
        self._story.add_events(snapshot.events.events)
        self._story.names |= task_names(snapshot.tasks)
        if now is None:
            return
        pressure = snapshot.pressure
        figures = figures_of(pressure.frames, pressure.pressure.level, snapshot.lazy, snapshot.stacks)
        for counter, count in figures.items():
            self._story.add_count(counter, now, count)
        self._note_turn(snapshot, now)

    def write(self, path: str, meaning: Meaning) -> Timeline:
        """Write what was collected. Raises a `MachineError` in one line."""
        story, newest = self._story, self._newest
        clock = Clock(None, None) if newest is None else newest.clock
        if newest is not None:
            story.tasks_by_asid = {asid: space.number for asid, space in newest.spaces.by_asid.items()}
        if self._turn is not None:
            story.turns.append(self._turn)
            self._turn = None
        add_levels(story)
        diagnostics = Diagnostics()
        self._note_gaps(diagnostics)
        return write_story(
            story, path, ("events", "snapshots"), clock, self._tick_rate, self._names, meaning, diagnostics
        )

    def _note_turn(self, snapshot: Snapshot, now: int) -> None:
        """The task that runs has done so since its turn began; it is not seen when that of another ended."""
        tasks = snapshot.tasks
        if tasks is None or tasks.current is None or not tasks.turn_start:
            return
        switches = sum(task.switch_count or 0 for task in tasks.tasks)
        before, turn = self._turn, Turn(0, tasks.current, tasks.turn_start, max(now, tasks.turn_start), False)
        if before is not None and (before.task, before.begin) != (turn.task, turn.begin):
            # With one switch since, the turn before ended where this one begins.
            is_next = self._switches is not None and switches == self._switches + 1
            end = turn.begin if is_next else min(before.end, turn.begin)
            self._story.turns.append(before._replace(end=end, ended=is_next))
        self._turn = turn
        if self._first_switches is None:
            self._first_switches = switches
        self._switches = switches

    def _note_gaps(self, diagnostics: Diagnostics) -> None:
        """Say what happened between two snapshots and is not known."""
        known = len({(turn.task, turn.begin) for turn in self._story.turns})
        if self._switches is not None and self._first_switches is not None:
            all_turns = self._switches - self._first_switches + 1
            if known < all_turns:
                diagnostics.add_note(
                    f"the snapshots saw {known:,} of {all_turns:,} turns of tasks: "
                    "the others began and ended between two of them"
                )
        if self._has_gone_back:
            diagnostics.add_note("the kernel's time went back: what was before is left out")
        numbers = sorted(self._story.events)
        lost = numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0
        if lost:
            diagnostics.add_note(f"{lost:,} events were overwritten before a snapshot saw them")
