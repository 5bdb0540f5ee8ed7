"""GDB as a subprocess, spoken to by its machine interface.

The target runs asynchronously (`mi-async`), all cores stopping and starting together: so GDB answers while
the target runs, and can be told to interrupt it.
"""

from __future__ import annotations

import codecs
import collections
import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from gdbplugin.session import mi, process
from gdbplugin.session.errors import CommandFailedError, EndedError, SessionError, WaitTimeoutError
from gdbplugin.session.gdb_program import find_gdb
from gdbplugin.session.mi import Record, Result, Stop
from gdbplugin.session.pump import Pump
from gdbplugin.session.streams import escaped

_COMMAND_SECONDS = 20.0
_CANCEL_SECONDS = 2.0
_GRACE_SECONDS = 0.1
_AGAIN_SECONDS = 0.05
_SETTINGS = (
    "set confirm off",
    "set pagination off",
    "set debuginfod enabled off",
    # MI is read and written so, whatever the locale is.
    "set host-charset UTF-8",
    "set mi-async on",
    # A target that is not there is an error at once.
    "set tcp auto-retry off",
)


class Gdb:
    """A running GDB. Its process is gone after `close`."""

    def __init__(self, child: subprocess.Popen[bytes], pump: Pump) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self._child = child
        self._pump = pump
        self._stdin: IO[bytes] = child.stdin
        self._lines = mi.LineSplitter()
        self._token = 0
        self._awaited: set[int] = set()
        self._results: dict[int, Record] = {}
        self._stops: list[Stop] = []
        self._console: list[str] = []  # What the latest command printed,
        self._log: list[str] = []  # and what GDB warned of meanwhile.
        self._history: collections.deque[str] = collections.deque(maxlen=200)
        self._errors = ""
        self._errors_decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._ended = False
        self._running = False
        self._exited = False
        self._in_foreground = False
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
        pump.add(child.stdout.fileno(), self._receive)
        pump.add(child.stderr.fileno(), self._receive_errors)
        pump.witness("GDB", self._said)

    @classmethod
    def start(
        cls,
        pump: Pump,
        *,
        elf: Path | None = None,
        plugin: Path | None = None,
        extra: Sequence[str] = (),
    ) -> Gdb:
        """Start GDB on an ELF, with the plugin; the user's own GDB settings are not read.

        Raises `ToolMissingError`, or a `SessionError` for a path that GDB cannot take. GDB reads the ELF
        while the caller goes on.
        """
        arguments = [find_gdb(), "--quiet", "--nx", "--interpreter=mi3"]
        for setting in _SETTINGS:
            arguments += ["-iex", setting]
        if plugin is not None:
            arguments += ["-x", str(plugin)]
        arguments += extra
        if elf is not None:
            if str(elf) != escaped(str(elf)):
                # It could name the file neither to the plugin nor to us.
                raise SessionError(f"{elf}: GDB takes only paths in UTF-8: rename the file, or copy it")
            arguments.append(str(elf))
        pipe = subprocess.PIPE
        return cls(process.start(arguments, stdin=pipe, stdout=pipe, stderr=pipe), pump)

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

    def mi(self, command: str, timeout: float = _COMMAND_SECONDS) -> Result:
        """Send one MI command (`-data-read-memory-bytes ...`) and return its result.

        Raises `CommandFailedError` with GDB's own words, `WaitTimeoutError`, or `EndedError` if GDB dies.
        Where the time is up, and at Ctrl-C or another signal's exception, GDB is made to give up the command,
        so that the next one is answered.
        """
        self.changes += 1
        return self.ask(command, timeout)

    def ask(self, command: str, timeout: float = _COMMAND_SECONDS) -> Result:
        """As `mi`, for a command of which it is known that it leaves the target as it is."""
        self._pump.drain()
        token = self._send(command)
        self._console.clear()
        self._log.clear()
        try:
            record = self._answer(token, timeout, f"GDB's answer to {command}")
        except BaseException:  # Also what a signal's handler raises: Ctrl-C, or that a test's time is up.
            self._cancel(token)
            raise
        console = "".join(self._console)
        if record.message == "error":
            raise CommandFailedError(command, record.payload.get("msg") or "error", console)
        return Result(record.message, record.payload or {}, console, "".join(self._log))

    def execute(
        self,
        command: str,
        timeout: float = _COMMAND_SECONDS,
        show: Callable[[str], None] | None = None,
    ) -> str:
        """Run a GDB command as typed at its prompt and return what it printed.

        One that sets the target running (`continue`, `step`) returns when the target has stopped again; a
        Ctrl-C meanwhile stops it. `show` is given each piece of the output as it comes. Raises as `mi` does.
        """
        self._stops.clear()
        self._show = show
        try:
            result = self.mi(f"-interpreter-exec console {mi.quote(command)}", timeout)
            if result.message == "running":
                self._wait_for_end(command, timeout)
        except CommandFailedError as error:
            raise CommandFailedError(command, error.reason, error.output) from error
        finally:
            self._show = None
        return "".join(self._console)

    def _wait_for_end(self, command: str, timeout: float) -> None:
        """Wait for the rest of a command that set the target running: it may say more, run it again, or fail.

        GDB answers the next command only when it is over, and tells of a failure by a second result.
        """
        # Set running by a CLI command, GDB reads no commands until the stop: only a signal reaches it.
        self._in_foreground = not self._stops
        token = self._token
        self._awaited.add(token)
        try:
            self.wait_for_stop(timeout)
        except SessionError:
            raise
        except BaseException:  # What a signal's handler raises.
            self.interrupt(_CANCEL_SECONDS)
            self._cancel(token, self._send("-gdb-show confirm"))
            raise
        self._answer(self._send("-gdb-show confirm"), timeout, f"the end of {command}")
        self._stops.clear()
        self._awaited.discard(token)
        late = self._results.pop(token, None)
        if late is not None and late.message == "error":
            raise CommandFailedError(command, late.payload.get("msg") or "error", "".join(self._console))

    def _send(self, command: str) -> int:
        """Write a command; returns the token that its result will have."""
        self._token += 1
        self._write(f"{self._token}{command}\n")
        self._awaited.add(self._token)
        return self._token

    def _answer(self, token: int, timeout: float, waiting_for: str) -> Record:
        """Wait for a command's result."""
        self._pump.wait(lambda: token in self._results or self._ended, timeout, waiting_for)
        if token not in self._results:
            raise self._how_it_ended()
        self._awaited.discard(token)
        return self._results.pop(token)

    def _cancel(self, *tokens: int) -> None:
        """Have GDB give up what it is doing, as Ctrl-C at its prompt does.

        Where it does not in time, the result is dropped when it comes.
        """
        if not self._has_answered(tokens[-1], _GRACE_SECONDS):
            # Only now: where GDB is done already, that would be meant for the target.
            self._child.send_signal(signal.SIGINT)
            self._has_answered(tokens[-1], _CANCEL_SECONDS)
        for token in tokens:
            self._awaited.discard(token)
            self._results.pop(token, None)

    def _has_answered(self, token: int, timeout: float) -> bool:
        """Whether a command's result comes in time, or never will."""
        try:
            self._pump.wait(lambda: token in self._results or self._ended, timeout, "GDB")
        except WaitTimeoutError:
            return False
        return True

    def connect(self, address: str, timeout: float = _COMMAND_SECONDS) -> Result:
        """Attach to a gdbstub (`HOST:PORT` or a socket's path); the target is stopped then.

        As the first command, its result's `log` holds what GDB and the plugin complained of as they started.
        """
        result = self.mi(f"-target-select remote {address}", timeout)
        self._running = False
        return result

    def resume(self) -> None:
        """Let the target run."""
        self._stops.clear()
        self.mi("-exec-continue")

    def interrupt(self, timeout: float = _COMMAND_SECONDS) -> Stop:
        """Stop the running target and return where it was stopped.

        It is asked for until it comes: while GDB steps, or sees to the condition of a breakpoint, what it
        sends is lost if the target stands still just then.
        """
        if self._in_foreground:
            # Once only: GDB takes a second one for the wish to give the target up.
            self._child.send_signal(signal.SIGINT)
            return self.wait_for_stop(timeout)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.mi("-exec-interrupt")
            with contextlib.suppress(WaitTimeoutError):
                return self.wait_for_stop(_AGAIN_SECONDS)
        raise WaitTimeoutError(f"waited {timeout:g} s for the target to stop", self._pump.evidence())

    def take_stop(self) -> Stop | None:
        """A stop that nobody has waited for; None where there is none."""
        self._pump.drain()
        return self._stops.pop(0) if self._stops else None

    def wait_for_stop(
        self, timeout: float = _COMMAND_SECONDS, waiting_for: str = "the target to stop"
    ) -> Stop:
        """Wait until the target has stopped; returns the stop (the first not yet waited for)."""
        gone = self._gone
        self._pump.wait(lambda: bool(self._stops) or gone(), timeout, waiting_for)
        if not self._stops:
            if self._ended:
                raise self._how_it_ended()
            raise EndedError("the connection to the target was lost", self._pump.evidence())
        return self._stops.pop(0)

    @contextlib.contextmanager
    def stopped(self, *, resume: bool) -> Iterator[None]:
        """Hold the target still in the `with`; afterwards it runs again if `resume`.

        The core that was selected stays so, whichever one the stub says that it has stopped.
        """
        if self.running:
            thread = self.ask("-data-evaluate-expression $_thread").payload["value"]
            # Where a breakpoint stopped it just then, its core is the one to look at.
            if self.interrupt().reason == "signal-received" and thread != "0":
                self.ask(f"-thread-select {thread}")
        try:
            yield
        finally:
            # Where GDB or the target has gone meanwhile, what is on its way says so already.
            if resume and not self.running and not self._gone():
                self.resume()

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
        return EndedError(f"GDB {process.describe_exit(process.end(self._child))}", self._pump.evidence())

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
            self._running = self._running or record.message == "running"
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
