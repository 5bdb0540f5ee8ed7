"""What the live view shows, taken from a session: snapshots while it lasts, and what became of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from gdbplugin.repl.live.history import History
from gdbplugin.repl.live.scene import Choices, Scene
from gdbplugin.repl.live.screen import Status
from gdbplugin.session import EndedError, SessionError, TinyOS
from gdbplugin.session.watch import Snapshot, Watch

_TRY_SECONDS = 0.2
# A stopped kernel does not finish a change, however long one waits.
_STOPPED_TRY_SECONDS = 0.02
_RATE_SECONDS = 2.0


class Feed:
    """Takes snapshots of a running or stopped session, and starts and stops its target."""

    def __init__(
        self, tinyos: TinyOS, watch: Watch, choices: Choices, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tinyos = tinyos
        self._watch = watch
        self._choices = choices
        self._clock = clock
        self._history = History()
        self._snapshot: Snapshot | None = None
        self._taken: deque[float] = deque()
        self._torn = 0
        self._problem = ""
        self._lost = ""
        self._ended = ""
        self._acting = ""

    @property
    def scene(self) -> Scene | None:
        """What there is to draw; None before the first whole snapshot."""
        if self._snapshot is None:
            return None
        return Scene(self._snapshot, self._history, self._choices, self._watch.event_names)

    @property
    def is_lost(self) -> bool:
        """Whether the machine is gone."""
        return bool(self._lost)

    def look(self) -> None:
        """Take a snapshot, unless the view is paused or the session lost; a failure is kept for `status`."""
        self._notice_end()
        if self._lost or self._choices.paused:
            self._taken.clear()
            return
        running = self._tinyos.running
        try:
            snapshot = self._watch.snapshot(
                timeout=_TRY_SECONDS if running else _STOPPED_TRY_SECONDS, lazy=self._choices.view == "l"
            )
        except EndedError as error:
            self._lost = f"{error.message}; this is what was seen last"
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
        self._history.add(snapshot, now, self._watch.event_names.get("PressureLevel", {}))
        self._snapshot = snapshot

    def announce_toggle(self) -> None:
        """Say what `toggle` is about to do: it may take a moment, as GDB is started by the first stop."""
        self._acting = "stopping the target" if self._tinyos.running else "letting the target run"

    def toggle(self) -> None:
        """Stop the target where it is, or let it run on."""
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

    def status(self) -> Status:
        """How the session stands now."""
        running = not self._lost and self._tinyos.running
        target = "session lost" if self._lost else self._acting or ("running" if running else "stopped")
        said = [self._lost, self._failure(), self._problem, "" if self._lost else self._ended]
        if not running and not self._lost:
            said.append(self._where())
        return Status(target, running, self._rate(), self._torn, _once(said), self.is_lost)

    def _failure(self) -> str:
        """What stopped the kernel itself, if something did."""
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
        """Without GDB the machine can still be watched; that it has ended itself, a look at it says."""
        ended = self._tinyos.ended
        self._ended = "" if ended is None else ended.message

    def _where(self) -> str:
        """Where the target stands, as far as GDB has said."""
        amid = self._snapshot is not None and self._snapshot.changing
        note = "Amid a change: figures may not agree. " if amid else ""
        stop = self._tinyos.last_stop
        if stop is None:
            return note
        frame = stop.frame
        core = "" if stop.core is None else f" core {stop.core}"
        place = (f" in {frame['func']}" if "func" in frame else "") + (
            f" at {frame['addr']}" if "addr" in frame else ""
        )
        # An interruption is what the user asked for: no news.
        reason = "" if stop.reason in ("", "signal-received") else f" ({stop.reason})"
        return f"{note}Target{core}{reason}{place}"


def _once(said: Iterable[str]) -> tuple[str, ...]:
    """What there is to say, nothing twice."""
    return tuple(dict.fromkeys(filter(None, said)))
