"""What is written to GDB's machine interface, and what comes from it: commands, results, and stops."""

from __future__ import annotations

import codecs
import collections
import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import IO

from gdbplugin.session import mi, process
from gdbplugin.session.errors import EndedError, SessionError, WaitTimeoutError
from gdbplugin.session.mi import Record, Stop
from gdbplugin.session.process import Pump

COMMAND_SECONDS = 20.0
"""How long a command may take of which nothing else is said."""
# How often a long wait looks whether the machine is still there.
_LOOK_SECONDS = 1.0


class Exchange:
    """GDB's process, as its machine interface shows it. `gdb.Gdb` says what is asked of it."""

    def __init__(self, child: subprocess.Popen[bytes], pump: Pump) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self._child = child
        self._program = str(child.args[0]) if isinstance(child.args, Sequence) else ""
        self._pump = pump
        self._stdin: IO[bytes] = child.stdin
        self._lines = mi.LineSplitter()
        self._token = 0
        self._awaited: set[int | None] = set()
        self._results: dict[int | None, Record] = {}
        self._stops: list[Stop] = []
        self._console: list[str] = []  # What the latest command printed,
        self._log: list[str] = []  # and what GDB warned of meanwhile.
        self._history: collections.deque[str] = collections.deque(maxlen=200)
        self._errors = ""
        self._errors_decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._ended = False
        self._why_ended = ""
        self._running = False
        self._exited = False
        # Set running by a command of its CLI, GDB reads nothing until the stop: only a signal reaches it.
        self._in_foreground = False
        self._blocking: int | None = None
        self._show: Callable[[str], None] | None = None
        self._last_stop: Stop | None = None
        self.on_output: Callable[[str], None] | None = None
        """Given what GDB prints where no command's `show` is: of a stop while no command is out, say."""
        self.on_warning: Callable[[str], None] | None = None
        """Given what GDB and the plugin write to standard error, as it comes; a command's failure too."""
        self.changes = 0
        """Grows with whatever may have changed what the target holds: it ran, or a command was given."""
        self.runs = 0
        """How often the target was seen to be set running."""
        self.has_lost_machine: Callable[[], bool] = lambda: False
        """Whether the machine has ended, as whoever started it knows."""
        pump.add(child.stdout.fileno(), self._receive)
        pump.add(child.stderr.fileno(), self._receive_errors)
        pump.add_source("GDB", self._said)

    @property
    def pid(self) -> int:
        """GDB's process."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the target runs, by the last that GDB said."""
        self._pump.drain()
        return self._running

    @property
    def warnings(self) -> list[str]:
        """What GDB and the plugin wrote to standard error during the latest command, in its pieces."""
        return list(self._log)

    @property
    def last_stop(self) -> Stop | None:
        """Where the target stopped last; None while it runs."""
        return None if self.running else self._last_stop

    @property
    def is_disconnected(self) -> bool:
        """Whether GDB has lost its target."""
        self._pump.drain()
        return self._exited

    @property
    def ended(self) -> EndedError | None:
        """How GDB ended, if it has."""
        self._pump.drain()
        return self._how_it_ended() if self._ended else None

    def _send(self, command: str) -> int:
        """Write a command; returns the token that its result will have."""
        self._token += 1
        self._write(f"{self._token}{command}\n")
        self._awaited.add(self._token)
        return self._token

    def _answer(self, token: int, timeout: float, waiting_for: str, end: int | None = None) -> Record:
        """Wait for a command's result; an empty one where `end`, the next command's, came without it."""
        results = self._results
        self._wait(lambda: token in results or end in results or self._ended, timeout, waiting_for)
        record = results.pop(token, None)
        if record is None and end not in results:
            raise self._how_it_ended()
        if record is None and self._exited:
            raise EndedError("the connection to the target was lost", self._pump.evidence())
        for each in (token, end):
            self._awaited.discard(each)
            results.pop(each, None)
        return record or Record("result", "done", token, None)

    def _wait(self, done: Callable[[], bool], timeout: float, waiting_for: str) -> None:
        """Wait until `done()`, but for no machine that has died: GDB 18 may hang then."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                return self._pump.wait(done, min(left, _LOOK_SECONDS), waiting_for)
            except WaitTimeoutError as error:
                if self.has_lost_machine():
                    raise EndedError("the connection to the target was lost", error.evidence) from None
                if left <= _LOOK_SECONDS:
                    text = f"waited {timeout:g} s for {waiting_for}"
                    raise WaitTimeoutError(text, error.evidence) from None

    def _has_answered(self, token: int, timeout: float, enough: Callable[[], bool] = lambda: False) -> bool:
        """Whether a command's result comes in time, or never will; returns early once `enough()`."""
        results = self._results
        with contextlib.suppress(WaitTimeoutError):
            self._pump.wait(lambda: token in results or self._ended or enough(), timeout, "GDB")
        if token not in results and not self._ended:
            return False
        results.pop(token, None)
        self._awaited.discard(token)
        return True

    def take_stop(self) -> Stop | None:
        """A stop that nobody has waited for; None where there is none."""
        self._pump.drain()
        return self._stops.pop(0) if self._stops else None

    def wait_for_stop(
        self, timeout: float = COMMAND_SECONDS, waiting_for: str = "the target to stop"
    ) -> Stop:
        """Wait until the target has stopped; returns the stop (the first not yet waited for)."""
        gone = self._gone
        self._wait(lambda: bool(self._stops) or gone(), timeout, waiting_for)
        if not self._stops:
            if self._ended:
                raise self._how_it_ended()
            raise EndedError("the connection to the target was lost", self._pump.evidence())
        return self._stops.pop(0)

    def close(self) -> None:
        """End GDB. A second call does nothing."""
        if self._stdin.closed:
            return
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        for stream in (self._child.stdout, self._child.stderr):
            self._pump.remove(stream.fileno())
        # Not asked to end: GDB would see to its target first, which may be gone, and was seen to abort there.
        self._child.kill()
        self._child.wait()
        for stream in (self._stdin, self._child.stdout, self._child.stderr):
            with contextlib.suppress(BrokenPipeError):  # What it never read is of no use to anyone now.
                stream.close()

    def _gone(self) -> bool:
        return self._ended or self._exited

    def _write(self, line: str) -> None:
        try:
            data = line.encode(errors="surrogateescape")
        except UnicodeEncodeError as error:
            raise SessionError(f"{line.rstrip()!r} cannot be written in UTF-8: {error.reason}") from error
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except BrokenPipeError as error:
            raise self._how_it_ended() from error

    def _how_it_ended(self) -> EndedError:
        status = process.end(self._child)
        how = self._why_ended or f"GDB {process.describe_exit(status)}"
        return EndedError(how, self._pump.evidence())

    def _said(self) -> str:
        return "".join([*self._history, self._errors[-2000:]])

    def _receive_errors(self, data: bytes) -> None:
        self._errors += self._errors_decoder.decode(data, final=not data)

    def _receive(self, data: bytes) -> None:
        if not data:
            self._ended = True
            return
        for line in self._lines.feed(data):
            record = mi.parse(line)
            if record is not None:
                self._take(record)

    def _take(self, record: Record) -> None:
        if record.kind == "result":
            if record.message == "running":
                self._running = True
                self._in_foreground = record.token == self._blocking
            if record.token in self._awaited:
                self._results[record.token] = record
        elif record.kind == "notify":
            self._notice(record)
        else:  # `console`, `target` and whatever GDB prints past MI are all what a user would have seen.
            text = str(record.payload or "")
            self._history.append(text)
            (self._log if record.kind == "log" else self._console).append(text)
            show = self.on_warning if record.kind == "log" else self._show or self.on_output
            if show is not None:
                show(text)

    def _notice(self, record: Record) -> None:
        if record.message == "running":
            self._running = True
            self._stops.clear()  # Nobody waited for them, and they tell of another time.
            self.changes += 1
            self.runs += 1
        elif record.message == "stopped":
            self._running = self._in_foreground = False
            self._last_stop = mi.stop_of(record.payload)
            self._stops.append(self._last_stop)
        elif record.message == "memory-changed":
            self.changes += 1
        elif record.message == "thread-group-started":
            self._exited = False
        elif record.message == "thread-group-exited":
            self._running = False
            self._exited = True
