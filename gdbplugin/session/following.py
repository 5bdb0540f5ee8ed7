"""A timeline of what a kernel does while it runs, by a thread that takes snapshots of its mapped RAM."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from gdbplugin.commands.events import meaning
from gdbplugin.machine import MachineError
from gdbplugin.session.errors import ReadFailedError, SessionError, WaitTimeoutError
from gdbplugin.session.ram import Watch
from gdbplugin.timeline.watched import WatchedTimeline
from gdbplugin.timeline.write import Timeline


class Following:
    """Collects snapshots in a `with`, and writes the timeline at its end, also after an error in it."""

    def __init__(self, make: Callable[[], Watch], file: str, pause: float) -> None:
        """`make` makes the watch; `pause` is the time in seconds between two snapshots."""
        self.file = file
        """Where it is written."""
        self.written: Timeline | None = None
        """What was written; None before the end of the `with`."""
        self._make = make
        self._pause = pause
        self._enough = threading.Event()
        self._error: SessionError | None = None
        self._thread: threading.Thread | None = None
        self._watch: Watch | None = None
        self._collected: WatchedTimeline | None = None

    @property
    def has_ended(self) -> bool:
        """Whether no more snapshots can be taken, because the machine has ended."""
        return self._error is not None

    def __enter__(self) -> Following:
        self._watch = watch = self._make()
        self._collected = WatchedTimeline(watch.event_names, watch.ticks_per_second)
        self._collected.add(watch.snapshot())
        self._thread = threading.Thread(target=self._collect, name="tinyos-timeline", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        assert self._thread is not None
        assert self._collected is not None
        self._enough.set()
        self._thread.join()
        try:
            self.written = self._collected.write(self.file, meaning)
        except MachineError as problem:
            if error is None:
                raise self._error or ReadFailedError(str(problem)) from problem
            error.add_note(str(problem))
            return
        if error is None and self._error is not None:
            raise self._error

    def _collect(self) -> None:
        """Take snapshots until it is enough, one more then, and no more after the machine has ended."""
        assert self._watch is not None
        assert self._collected is not None
        self._enough.wait(self._pause)
        while True:
            is_last = self._enough.is_set()
            try:
                self._collected.add(self._watch.snapshot())
            except WaitTimeoutError:
                pass  # A debugger holds the kernel in the middle of a change: it has no state to show.
            except SessionError as error:
                self._error = error
                return
            if is_last:
                return
            self._enough.wait(self._pause)
