"""The source of the live view: snapshots of a session, and the state of that session."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from gdbplugin.repl.command_line import VIEWS
from gdbplugin.repl.live.past import Past
from gdbplugin.repl.live.scene import Choices, Sample, Scene, Timeline
from gdbplugin.repl.live.screen import FeedState
from gdbplugin.session import EndedError, SessionError, Snapshot, TinyOS, Watch

_TRY_SECONDS = 0.2
# A stopped kernel never finishes its change: a longer wait would not help.
_STOPPED_TRY_SECONDS = 0.02
_RATE_SECONDS = 2.0


class Feed:
    """Takes snapshots of a session, running or stopped; stops and continues its target."""

    def __init__(
        self, tinyos: TinyOS, watch: Watch, choices: Choices, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tinyos = tinyos
        self._watch = watch
        self._choices = choices
        self._clock = clock
        self._timeline = Timeline()
        self._past = Past()
        self._shown_past: tuple[float, Scene] | None = None
        self._snapshot: Snapshot | None = None
        self._taken: deque[float] = deque()
        self._torn = 0
        self._problem = ""
        self._lost = ""
        self._ended = ""
        self._acting = ""

    @property
    def scene(self) -> Scene | None:
        """What to draw; None before the first snapshot."""
        if self._snapshot is None:
            return None
        if self._choices.past is not None:
            return self._past_scene(self._choices.past)
        return Scene(self._snapshot, self._timeline, self._choices, self._watch.event_names)

    @property
    def is_lost(self) -> bool:
        """Whether the machine has ended."""
        return bool(self._lost)

    def look(self) -> None:
        """Take a snapshot, unless the view is paused or the session lost; `state` has the failure, if any."""
        self._notice_end()
        if self._lost or self._choices.paused:
            self._taken.clear()
            return
        running = self._tinyos.running
        try:
            snapshot = self._watch.snapshot(
                timeout=_TRY_SECONDS if running else _STOPPED_TRY_SECONDS,
                lazy=VIEWS[self._choices.view] == "lazy",
            )
        except EndedError as error:
            self._lost = f"{error.message}; this is the last snapshot"
            return
        except SessionError as error:
            self._problem = error.message
            return
        self._problem = ""
        self._torn += snapshot.torn
        now = self._clock()
        self._taken.append(now)
        while now - self._taken[0] > _RATE_SECONDS:
            self._taken.popleft()
        self._timeline.add(snapshot, now, self._watch.event_names.get("PressureLevel", {}))
        self._snapshot = snapshot
        newest: Sample | None = self._timeline.newest
        if newest is not None:
            if self._past.moments and newest.time < self._past.moments[-1].time:
                self._choices.past = self._shown_past = None
            self._past.add(snapshot, newest)

    def go(self, steps: int) -> None:
        """Show a snapshot so many kept ones earlier or later; beyond the newest one, follow the kernel."""
        moments, past = self._past.moments, self._choices.past
        if not moments:
            return
        place = (len(moments) if past is None else self._past.place(past)) + steps
        newest = self._timeline.newest
        if past is None and newest is not None and moments[-1].time == newest.time:
            place -= 1  # The newest one is what the screen shows.
        self._choices.past = None if place >= len(moments) else moments[max(0, place)].time

    def jump(self, seconds: float) -> None:
        """Show the snapshot so many seconds later than what is shown, or earlier if negative."""
        moments, newest = self._past.moments, self._timeline.newest
        if not moments or newest is None:
            return
        shown = newest.time if self._choices.past is None else self._choices.past
        wanted = shown + seconds
        self._choices.past = None if wanted > moments[-1].time else moments[self._past.place(wanted)].time

    def _past_scene(self, time: float) -> Scene:
        """The scene at an earlier time; it stays, even if its snapshot is not kept any more."""
        if self._shown_past is None or self._shown_past[0] != time:
            place = self._past.place(time)
            snapshot, timeline = self._past.snapshot(place), self._past.timeline(place, self._timeline)
            scene = Scene(snapshot, timeline, self._choices, self._watch.event_names)
            self._shown_past = time, scene
        return self._shown_past[1]

    def _back(self) -> tuple[float, float] | None:
        """How many seconds ago what is shown was, and the oldest snapshot; None if the newest is shown."""
        newest, past = self._timeline.newest, self._choices.past
        if newest is None or past is None or not self._past.moments:
            return None
        return newest.time - past, newest.time - self._past.moments[0].time

    def announce_toggle(self) -> None:
        """Have `state` say what `toggle` will do. The first stop takes a moment: it starts GDB."""
        self._acting = "stopping the target" if self._tinyos.running else "letting the target run"

    def toggle(self) -> None:
        """Stop the target, or continue it."""
        self._problem = ""
        try:
            if self._tinyos.running:
                self._tinyos.interrupt()
            else:
                self._tinyos.resume()
        except SessionError as error:
            self._problem = error.message
        finally:
            self._acting = ""

    def state(self) -> FeedState:
        """The state of the session now."""
        running = not self._lost and self._tinyos.running
        target = "session lost" if self._lost else self._acting or ("running" if running else "stopped")
        said = [self._lost, self._failure(), self._problem, "" if self._lost else self._ended]
        if not running and not self._lost:
            said.append(self._where())
        return FeedState(target, running, self._rate(), self._torn, _once(said), self.is_lost, self._back())

    def _failure(self) -> str:
        """The kernel's own failure, if it has failed."""
        failure = None if self._snapshot is None else self._snapshot.failure
        if failure is None:
            return ""
        core = "" if failure.core is None else f" on core {failure.core}"
        message = " ".join((failure.message or "").split())
        return f"The kernel has failed: {failure.kind_name}{core}" + (f": {message}" if message else "")

    def _rate(self) -> float | None:
        if len(self._taken) < 2:
            return None
        return (len(self._taken) - 1) / (self._taken[-1] - self._taken[0])

    def _notice_end(self) -> None:
        """Note the end of GDB. The machine can still be watched; a snapshot tells whether it has ended."""
        ended = self._tinyos.ended
        self._ended = "" if ended is None else ended.message

    def _where(self) -> str:
        """Where the target is stopped, if GDB has said it."""
        is_changing = self._snapshot is not None and self._snapshot.changing
        note = "Stopped during a change: figures may not agree. " if is_changing else ""
        stop = self._tinyos.last_stop
        if stop is None:
            return note
        frame = stop.frame
        core = "" if stop.core is None else f" core {stop.core}"
        place = (f" in {frame['func']}" if "func" in frame else "") + (
            f" at {frame['addr']}" if "addr" in frame else ""
        )
        # The user's own interrupt needs no reason.
        reason = "" if stop.reason in ("", "signal-received") else f" ({stop.reason})"
        return f"{note}Target{core}{reason}{place}"


def _once(said: Iterable[str]) -> tuple[str, ...]:
    """The messages that are not empty, each once."""
    return tuple(dict.fromkeys(filter(None, said)))
