"""The source of the live view: snapshots of a session, and the state of that session."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from gdbplugin.repl.command_line import VIEWS
from gdbplugin.repl.live.scene import Choices, Scene, Timeline
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
        return FeedState(target, running, self._rate(), self._torn, _once(said), self.is_lost)

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
