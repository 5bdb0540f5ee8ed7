"""Lets the target run until the kernel has carried out a request.

GDB waits in `continue` as it does for a user, so Ctrl-C and the user's own breakpoints work as usual. An
internal hardware breakpoint, where the kernel reports changes of its interface, reads that interface at each
hit. It lets the target stop only at the end, and is always deleted afterwards.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

import gdb

from gdbplugin.debugger.progress import ProgressLine
from gdbplugin.kernel.interface import Interface
from gdbplugin.machine import MachineError, MachineGoneError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Timeouts in wall time: for the kernel to start, and between two of its steps.
_SECONDS_TO_BEGIN = 10.0
_SECONDS_OF_SILENCE = 60.0


class Waiting:
    """One wait for one request; `begin` is the interface before it.

    `look` reads the interface, and `has_failed` the failure record, while core 0 is in the kernel.
    """

    def __init__(
        self, title: str, look: Callable[[], Interface], has_failed: Callable[[], bool], begin: Interface
    ) -> None:
        self._title = title
        self._look = look
        self._has_failed = has_failed
        self._seen = begin
        self._stop: Any = None
        self._points: list[int] = []
        self._hits: dict[int, int] = {}
        self._has_quit = False
        self._point: _ChangePoint | None = None
        self._watchdog = _Watchdog()
        self._progress = ProgressLine()
        self.ended = False
        """The request was carried out."""
        self.failed = False
        """The kernel has failed during the wait."""

    @property
    def timed_out(self) -> bool:
        """The target was stopped because the kernel made no progress for too long."""
        return self._watchdog.fired

    @property
    def interrupted(self) -> bool:
        """The target was stopped by Ctrl-C."""
        by_signal = isinstance(self._stop, gdb.SignalEvent) and self._stop.stop_signal == "SIGINT"
        return self._has_quit or by_signal or self._stopped_without_change

    @property
    def _stopped_without_change(self) -> bool:
        """Stopped at our breakpoint without its reason: Ctrl-C came during or just before its read."""
        if self._point is None or self._point.error is not None or self.ended or self.failed or self._points:
            return False
        return isinstance(self._stop, gdb.BreakpointEvent) and self._point in self._stop.breakpoints

    @property
    def reason(self) -> str:
        """What else stopped the target."""
        if self._points:
            return "at breakpoint " + ", ".join(map(str, self._points))
        if isinstance(self._stop, gdb.SignalEvent):
            return f"by {self._stop.stop_signal}"
        if self._point is not None and self._point.error is not None:
            return f"because its state could not be read ({self._point.error})"
        return "for an unknown reason"

    @contextlib.contextmanager
    def prepared(self, address: int, begun: bool) -> Iterator[None]:
        """Set up the wait for the length of a `with`; `address` is where the kernel reports changes."""
        self._point = point = _ChangePoint(address, self._changed)
        gdb.events.stop.connect(self._stopped)
        self._watchdog.start(_SECONDS_OF_SILENCE if begun else _SECONDS_TO_BEGIN)
        try:
            yield
        finally:
            self._watchdog.end()
            gdb.events.stop.disconnect(self._stopped)
            if point.is_valid():
                point.delete()
            self._progress.erase()

    def go_on(self) -> None:
        """Let the target run until it stops for any reason; GDB shows a stop that is not the end."""
        self._stop = None
        self._has_quit = False
        self._hits = {point.number: point.hit_count for point in gdb.breakpoints()}
        try:
            gdb.execute("continue", to_string=True)
        except KeyboardInterrupt:
            # Ctrl-C while GDB, not the target, had the terminal: at an internal stop.
            self._has_quit = True
        except gdb.error as error:
            if gdb.selected_thread() is None:
                raise MachineGoneError(f"the connection to the target was lost: {error}") from error
            raise
        if gdb.selected_thread() is None:
            raise MachineGoneError("the connection to the target was lost")

    def _stopped(self, event: Any) -> None:
        self._stop = event
        # Noted now: a temporary one is about to be deleted. GDB also lists those whose condition is false.
        points = event.breakpoints if isinstance(event, gdb.BreakpointEvent) else ()
        self._points = [
            point.number
            for point in points
            if point.number > 0 and point.hit_count != self._hits.get(point.number)
        ]

    def _changed(self) -> bool:
        """Whether to let the target stop."""
        now = self._look()
        if now == self._seen:
            self.failed = self._has_failed()
            return self.failed
        self.ended = now.served != self._seen.served
        self._seen = now
        self._watchdog.feed(_SECONDS_OF_SILENCE)
        self._show_progress(now)
        return self.ended

    def _show_progress(self, now: Interface) -> None:
        if now.progress_total:
            self._progress.show(f"{self._title}: {now.progress} of {now.progress_total} steps")


class _ChangePoint(gdb.Breakpoint):
    """A breakpoint where the kernel reports changes."""

    def __init__(self, address: int, changed: Callable[[], bool]) -> None:
        # A signed number: in Rust, GDB 15 takes no larger one as an address.
        signed = address - (1 << 64) if address >> 63 else address
        super().__init__(f"*{signed}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True)
        self.silent = True
        self._changed = changed
        self.error: Exception | None = None
        """The error of the last read, if it failed."""

    def stop(self) -> bool:
        """Called by GDB at each hit: whether to stop."""
        try:
            return self._changed()
        except (MachineError, gdb.error, gdb.MemoryError) as error:
            self.error = error
            return True
        except KeyboardInterrupt:
            # Ctrl-C stops the target here too.
            return True


class _Watchdog:
    """Interrupts the target unless it is fed in time."""

    def __init__(self) -> None:
        self.fired = False
        self._deadline = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tinyos-watchdog", daemon=True)

    def start(self, seconds: float) -> None:
        """Start the thread."""
        self.feed(seconds)
        self._thread.start()

    def feed(self, seconds: float) -> None:
        """Set the deadline to so many seconds from now."""
        self._deadline = time.monotonic() + seconds

    def end(self) -> None:
        """Stop the thread; nothing is interrupted after this."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        # GDB's own thread must get the signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while (left := self._deadline - time.monotonic()) > 0:
            if self._over.wait(left):
                return
        gdb.post_event(self._interrupt)

    def _interrupt(self) -> None:
        if not self._over.is_set():
            self.fired = True
            gdb.execute("interrupt", to_string=True)
