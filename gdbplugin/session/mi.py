"""GDB's machine interface: commands as lines in, records as `pygdbmi` makes of lines out, and the process."""

from __future__ import annotations

import codecs
import collections
import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from pygdbmi import gdbmiparser

from gdbplugin.session import process
from gdbplugin.session.errors import EndedError, SessionError, WaitTimeoutError
from gdbplugin.session.process import Pump

COMMAND_SECONDS = 20.0
"""The default time limit of a command."""
# How often a long wait checks that the machine still exists.
_LOOK_SECONDS = 1.0
# Bytes beyond ASCII: as GDB escapes them, and as `LineSplitter` passes on what is not UTF-8.
_BYTE = r"\\[23][0-7]{2}|[\udc80-\udcff]"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET = re.compile(r"[][{}]")
_PARTNERS = {"[": "]", "{": "}"}
_ANY_BYTE = re.compile(_BYTE)
_BYTES = re.compile(rf"(?:{_BYTE})+|\\\\")  # An escaped backslash does not begin an escaped byte.


@dataclass(frozen=True)
class Record:
    """One line of GDB's output."""

    kind: str
    """`result`, `notify` (asynchronous), `console`, `target`, `log`, or `output` (not MI at all)."""
    message: str
    """For results `done`, `running`, `connected`, `error`; for notifications `stopped`, ...; else empty."""
    token: int | None
    payload: Any
    """A dictionary for results and notifications, text for streams."""


@dataclass(frozen=True)
class Result:
    """GDB's answer to one command."""

    message: str
    payload: Mapping[str, Any]
    console: str = ""
    """What the command printed."""
    log: str = ""
    """GDB's warnings while it ran."""


@dataclass(frozen=True)
class Stop:
    """Why and where the target stopped."""

    reason: str
    """`breakpoint-hit`, `signal-received`, `end-stepping-range`, ...; empty if GDB gives none."""
    core: int | None
    """The core it stopped at."""
    frame: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        where = self.frame.get("func") or self.frame.get("addr")
        return " in ".join(filter(None, [self.reason or "stopped", where]))


class LineSplitter:
    """Joins pieces, as they arrive, to whole lines."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes, without their line ends."""
        first, *rest = data.split(b"\n")
        self._pieces.append(first)
        if not rest:
            return []
        complete = [b"".join(self._pieces), *rest[:-1]]
        self._pieces = [rest[-1]]
        return [line.decode(errors="surrogateescape").rstrip("\r") for line in complete]


def _is_nested(text: str) -> bool:
    """Whether each bracket and brace outside of strings has its partner."""
    unfinished: list[str] = []
    for mark in _BRACKET.findall(_STRING.sub("", text)):
        if mark in _PARTNERS:
            unfinished.append(_PARTNERS[mark])
        elif not unfinished or unfinished.pop() != mark:
            return False
    return not unfinished


def parse(line: str) -> Record | None:
    """One line of GDB's output as a record; None for the `(gdb)` that ends a group.

    Bytes that are not UTF-8 become hexadecimal escapes. A line that is not valid MI, such as one of a program
    that GDB runs, is an `output`, with its newline.
    """
    if line.rstrip() == "(gdb)":
        return None
    try:
        # Decoded here: the parser decodes a run of bytes only if all of them are text.
        text = _BYTES.sub(_decoded, line) if _ANY_BYTE.search(line) else line
        if "[" in text and not _is_nested(text):
            raise ValueError("pygdbmi would search for the end of an unfinished list for ever")
        parsed = gdbmiparser.parse_response(text)
    except (ValueError, TypeError):  # The parser raises these at a wrong character, and at the end.
        parsed = {"type": "output"}
    if parsed["type"] == "output":
        shown = line.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return Record("output", "", None, shown + "\n")
    return Record(
        kind=parsed["type"],
        message=parsed.get("message") or "",
        token=parsed.get("token"),
        payload=parsed.get("payload"),
    )


def piped(data: bytes) -> str:
    """A command's output as GDB's `pipe` gave it to a program: GDB 18 writes it as MI records."""
    if not data.startswith(b'~"'):
        return data.decode(errors="backslashreplace")
    records = map(parse, LineSplitter().feed(data))
    return "".join(
        str(record.payload) for record in records if record is not None and record.kind == "console"
    )


def _decoded(found: re.Match[str]) -> str:
    """Bytes as text; those that are not text as escapes, whose backslashes MI wants escaped again."""
    text = found[0]
    if text == r"\\":
        return text
    data = re.sub(r"\\([0-7]{3})", lambda octal: chr(0xDC00 + int(octal[1], 8)), text)
    return data.encode(errors="surrogateescape").decode(errors="backslashreplace").replace("\\", "\\\\")


def stop_of(payload: Mapping[str, Any] | None) -> Stop:
    """The stop that a `*stopped` notification reports; one of a silent breakpoint has no details."""
    payload = payload or {}
    core = payload.get("core")
    thread = payload.get("thread-id")
    number = int(core) if core is not None else int(thread) - 1 if thread is not None else None
    return Stop(payload.get("reason", ""), number, payload.get("frame", {}), payload)


def address(number: int) -> str:
    """A virtual address as an MI argument: signed, because in Rust GDB 15 takes no larger number."""
    return f"({number - (1 << 64) if number >> 63 else number})"


def quote(text: str) -> str:
    """Text as a C string, which MI needs for an argument with spaces."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


class MiClient:
    """A GDB process that speaks MI: writes commands, and collects results, output and stops.

    `gdb.Gdb` adds the operations. They are two classes because one file would have more than 400 lines.
    """

    def __init__(self, child: subprocess.Popen[bytes], pump: Pump) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self._child = child
        self._program = str(child.args[0]) if isinstance(child.args, Sequence) else ""
        self._pump = pump
        self._stdin: IO[bytes] = child.stdin
        self._lines = LineSplitter()
        self._token = 0
        self._awaited: set[int | None] = set()
        self._results: dict[int | None, Record] = {}
        self._stops: list[Stop] = []
        self._console: list[str] = []  # The output of the latest command,
        self._log: list[str] = []  # and GDB's warnings meanwhile.
        self._history: collections.deque[str] = collections.deque(maxlen=200)
        self._errors = ""
        self._errors_decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._ended = False
        self._why_ended = ""
        self._running = False
        self._exited = False
        self._target_group = ""  # GDB's ID of the inferior that is the target.
        # A CLI command has set the target running: GDB reads nothing until the stop, only signals reach it.
        self._in_foreground = False
        self._blocking: int | None = None
        self._show: Callable[[str], None] | None = None
        self._last_stop: Stop | None = None
        self.on_output: Callable[[str], None] | None = None
        """Called with GDB's output when no command's `show` takes it: of a stop between commands, say."""
        self.on_warning: Callable[[str], None] | None = None
        """Called with what GDB and the plugin write to standard error; a command's failure too."""
        self.changes = 0
        """Grows with everything that may have changed the target's state: it ran, or got a command."""
        self.runs = 0
        """How often the target was set running."""
        self.machine_has_ended: Callable[[], bool] = lambda: False
        """Whether the machine has ended. Set by the session, which may have started it."""
        pump.add(child.stdout.fileno(), self._receive)
        pump.add(child.stderr.fileno(), self._receive_errors)
        pump.add_source("GDB", self._latest_output)

    @property
    def pid(self) -> int:
        """GDB's process."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the target runs, by what GDB reported last."""
        self._pump.drain()
        return self._running

    @property
    def warnings(self) -> list[str]:
        """What GDB and the plugin wrote to standard error during the latest command, in pieces."""
        return list(self._log)

    @property
    def last_stop(self) -> Stop | None:
        """The target's latest stop; None while it runs."""
        return None if self.running else self._last_stop

    @property
    def is_disconnected(self) -> bool:
        """Whether GDB has lost its target."""
        self._pump.drain()
        return self._exited

    @property
    def ended(self) -> EndedError | None:
        """How GDB ended, or None."""
        self._pump.drain()
        return self._end_error() if self._ended else None

    def _send(self, command: str) -> int:
        """Write a command; returns the token that its result will have."""
        self._token += 1
        self._write(f"{self._token}{command}\n")
        self._awaited.add(self._token)
        return self._token

    def _answer(self, token: int, timeout: float, waiting_for: str, end: int | None = None) -> Record:
        """Wait for a command's result; it is empty if only that of `end`, the next command, comes."""
        results = self._results
        self._wait(lambda: token in results or end in results or self._ended, timeout, waiting_for)
        record = results.pop(token, None)
        if record is None and end not in results:
            raise self._end_error()
        if record is None and self._exited:
            raise EndedError("the connection to the target was lost", self._pump.evidence())
        for each in (token, end):
            self._awaited.discard(each)
            results.pop(each, None)
        return record or Record("result", "done", token, None)

    def _wait(self, done: Callable[[], bool], timeout: float, waiting_for: str) -> None:
        """Wait until `done()`, or until the machine has died: GDB 18 may hang then."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                return self._pump.wait(done, min(left, _LOOK_SECONDS), waiting_for)
            except WaitTimeoutError as error:
                if self.machine_has_ended():
                    raise EndedError("the connection to the target was lost", error.evidence) from None
                if left <= _LOOK_SECONDS:
                    text = f"waited {timeout:g} s for {waiting_for}"
                    raise WaitTimeoutError(text, error.evidence) from None

    def _has_answered(self, token: int, timeout: float, enough: Callable[[], bool] = lambda: False) -> bool:
        """Whether a command's result comes in time, or GDB ends; returns early once `enough()`."""
        results = self._results
        with contextlib.suppress(WaitTimeoutError):
            self._pump.wait(lambda: token in results or self._ended or enough(), timeout, "GDB")
        if token not in results and not self._ended:
            return False
        results.pop(token, None)
        self._awaited.discard(token)
        return True

    def take_stop(self) -> Stop | None:
        """The first stop that nobody has waited for, or None."""
        self._pump.drain()
        return self._stops.pop(0) if self._stops else None

    def wait_for_stop(
        self, timeout: float = COMMAND_SECONDS, waiting_for: str = "the target to stop"
    ) -> Stop:
        """Wait until the target has stopped; returns the first stop that nobody has waited for."""
        gone = self._gone
        self._wait(lambda: bool(self._stops) or gone(), timeout, waiting_for)
        if not self._stops:
            if self._ended:
                raise self._end_error()
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
        # Killed, not asked to end: GDB would see to its target first, and was seen to abort if that is gone.
        self._child.kill()
        self._child.wait()
        for stream in (self._stdin, self._child.stdout, self._child.stderr):
            with contextlib.suppress(BrokenPipeError):  # Nobody needs what GDB has not read.
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
            raise self._end_error() from error

    def _end_error(self) -> EndedError:
        status = process.end(self._child)
        how = self._why_ended or f"GDB {process.describe_exit(status)}"
        return EndedError(how, self._pump.evidence())

    def _latest_output(self) -> str:
        return "".join([*self._history, self._errors[-2000:]])

    def _receive_errors(self, data: bytes) -> None:
        self._errors += self._errors_decoder.decode(data, final=not data)

    def _receive(self, data: bytes) -> None:
        if not data:
            self._ended = True
            return
        for line in self._lines.feed(data):
            record = parse(line)
            if record is not None:
                self._handle(record)

    def _handle(self, record: Record) -> None:
        if record.kind == "result":
            if record.message == "running":
                self._running = True
                self._in_foreground = record.token == self._blocking
            if record.token in self._awaited:
                self._results[record.token] = record
        elif record.kind == "notify":
            self._handle_notification(record)
        else:  # `console`, `target`, and output outside MI: all that a user would have seen.
            text = str(record.payload or "")
            self._history.append(text)
            (self._log if record.kind == "log" else self._console).append(text)
            show = self.on_warning if record.kind == "log" else self._show or self.on_output
            if show is not None:
                show(text)

    def _handle_notification(self, record: Record) -> None:
        if record.message == "running":
            self._running = True
            self._stops.clear()  # Nobody waited for them, and they are outdated now.
            self.changes += 1
            self.runs += 1
        elif record.message == "stopped":
            self._running = self._in_foreground = False
            self._last_stop = stop_of(record.payload)
            self._stops.append(self._last_stop)
        elif record.message == "memory-changed":
            self.changes += 1
        elif record.message == "thread-group-started":
            # Later ones are other inferiors, such as those that show tasks.
            if not self._target_group:
                self._target_group, self._exited = record.payload.get("id", ""), False
        elif record.message == "thread-group-exited" and record.payload.get("id") == self._target_group:
            self._running = False
            self._target_group = ""
            self._exited = True
