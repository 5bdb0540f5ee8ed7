"""The output of the REPL: GDB's text, the kernel's lines, messages and progress; what the terminal can show.

While a prompt is shown, whole lines go to it and are written above it; an unfinished line waits for its end.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TextIO

from gdbplugin.render import Style, is_dumb

_SECONDS_BEFORE_PROGRESS = 0.5
_PROGRESS_SECONDS = 1.0
_PROMPTS = ("tinyos> ", "tinyos*> ")
_LOCAL_MODES = 3  # The index of the local modes in the attributes of termios.
_INITIAL_ENVIRONMENT = Path("/proc/self/environ")


class Output:
    """Standard output and standard error of the REPL, with a style for each; `style` is for both by default.

    With `for_person`, a line without an end gets one.
    """

    def __init__(
        self,
        out: TextIO,
        errors: TextIO,
        style: Style,
        errors_style: Style | None = None,
        *,
        for_person: bool,
    ) -> None:
        self.style = style
        self._errors_style = errors_style or style
        self._for_person = for_person
        self._out = out
        self._errors = errors
        self._above: Callable[[str], None] | None = None
        self._captured: list[str] | None = None
        # Lines without their end yet: of GDB while a prompt is shown, of the kernel, and of GDB's warnings.
        self._gdb_line = ""
        self._kernel_line = ""
        self._warning_line = ""
        self._at_line_start = True
        self._shows_progress = False

    @property
    def columns(self) -> int:
        """The width of the terminal now; 0 if there is none."""
        return _columns(self._out)

    @property
    def style_now(self) -> Style:
        """The style in the width of the terminal, but no wider than text without a terminal."""
        return replace(self.style, width=min(self.columns or self.style.width, self.style.width))

    def gdb(self, text: str) -> None:
        """Show a piece of what GDB prints."""
        if self._captured is not None:
            self._captured.append(text)
        elif self._above is None:
            self._write(text)
        else:
            whole, end, self._gdb_line = (self._gdb_line + text).rpartition("\n")
            self._write(whole + end)

    @property
    def is_capturing(self) -> bool:
        """Whether GDB's text is captured instead of shown."""
        return self._captured is not None

    def warning(self, text: str) -> None:
        """Show a piece of a warning of GDB, line by line."""
        whole, end, self._warning_line = (self._warning_line + text).rpartition("\n")
        self.complain(whole + end)

    def kernel(self, text: str) -> None:
        """Show a piece of the kernel's console, line by line, with a bar in front of each line."""
        *lines, self._kernel_line = (self._kernel_line + text).split("\n")
        lines = [line for line in lines if line not in _PROMPTS]
        if not lines:
            return
        mark = "|" if self.style.plain else "│"
        if not self._at_line_start:
            self._write("\n")
        for line in lines:
            self._write(self._dim(f"{mark} {_printable(line)}".rstrip()) + "\n")

    def say(self, text: str) -> None:
        """Show a message of the REPL."""
        self.end_line()
        self._write(f"tinyos: {text}\n")

    def complain(self, text: str, *, bad: bool = False) -> None:
        """Show lines that are not a result: on standard error or, while a prompt is shown, above it."""
        if not text:
            return
        if bad:
            text = (self._errors_style if self._above is None else self.style).bad(text)
        text = text if text.endswith("\n") else text + "\n"
        self.end_line()
        if self._above is not None:
            self._write(text)
            return
        self.erase_progress()
        self._out.flush()
        self._errors.write(text)
        self._errors.flush()

    def end_line(self) -> None:
        """End the current line if it is not empty; for a person only."""
        if self._warning_line:
            warning, self._warning_line = self._warning_line, ""
            self.complain(warning)
        if not self._for_person:
            return
        if self._gdb_line:
            line, self._gdb_line = self._gdb_line, ""
            self._write(line + "\n")
        elif not self._at_line_start and self._above is None:
            self._write("\n")

    def flush(self) -> None:
        """Write out everything that is buffered."""
        self._out.flush()

    @contextlib.contextmanager
    def captured(self) -> Iterator[list[str]]:
        """Capture GDB's text in the list returned, instead of showing it."""
        before, self._captured = self._captured, []
        try:
            yield self._captured
        finally:
            self._captured = before

    @contextlib.contextmanager
    def prompting(self, above: Callable[[str], None]) -> Iterator[None]:
        """A prompt is shown in the `with`: whole lines go to `above`."""
        self.end_line()
        self.flush()
        self._above = above
        try:
            yield
        finally:
            self._above = None

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[None]:
        """Show how long a command has been running, if it takes long and standard error is a terminal.

        An alarm writes the line, so the code in the `with` need not know of it. Output erases it.
        """
        if cursor_problem(self._errors):
            yield
            return
        began = time.monotonic()

        def show(_number: int, _frame: FrameType | None) -> None:
            # Not through Python's stream, which may be in the middle of a write.
            if self._at_line_start:
                self._shows_progress = True
                line = f"{title[:40]}: {int(time.monotonic() - began)} s, Ctrl-C stops it"
                # If the terminal wrapped the line, only its end would be erased.
                columns = _columns(self._errors)
                line = line[: columns - 1] if columns else line
                os.write(self._errors.fileno(), f"\r{line}\033[K".encode("ascii", "replace"))

        try:
            with _alarm(show, _SECONDS_BEFORE_PROGRESS, _PROGRESS_SECONDS):
                yield
        finally:
            self.erase_progress()

    def erase_progress(self) -> None:
        """Erase the line of progress, if it is shown."""
        if self._shows_progress:
            self._shows_progress = False
            os.write(self._errors.fileno(), b"\r\033[K")

    def write_now(self, text: str) -> None:
        """Write at the cursor, even while a prompt is shown: it calls this when it has made room."""
        if not text:
            return
        self.erase_progress()
        self._out.write(text)
        self._at_line_start = text.endswith("\n")
        if self._at_line_start:
            self._out.flush()

    def _write(self, text: str) -> None:
        if not text:
            return
        if self._above is not None:
            self._above(text)
        else:
            self.write_now(text)

    def _dim(self, text: str) -> str:
        return f"\033[2m{text}\033[0m" if self.style.colour else text


def _columns(stream: TextIO) -> int:
    """The width of a stream's terminal; 0 if it is not a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def _printable(line: str) -> str:
    """The line with a question mark for each character that controls a terminal."""
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in line)


@contextlib.contextmanager
def _alarm(handler: Callable[[int, FrameType | None], None], first: float, interval: float) -> Iterator[None]:
    """Call `handler` by an alarm in the `with`; restore an earlier alarm afterwards."""
    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, handler)
    left, its_interval = signal.setitimer(signal.ITIMER_REAL, first, interval)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            passed = time.monotonic() - began
            signal.setitimer(signal.ITIMER_REAL, max(left - passed, 0.001), its_interval)


def style_of(stream: TextIO, environment: Mapping[str, str] | None = None) -> Style:
    """The style for `stream`: with colour if it is a terminal that has colour and NO_COLOR is not set."""
    values = os.environ if environment is None else environment
    colour = stream.isatty() and not values.get("NO_COLOR") and not is_dumb(values)
    return Style(_encoding(stream, _initial_environment() if environment is None else environment), colour)


def cursor_problem(stream: TextIO, environment: Mapping[str, str] | None = None) -> str:
    """Why `stream` cannot move a cursor; empty if it can."""
    values = os.environ if environment is None else environment
    if not stream.isatty():
        return "the output is not a terminal"
    if is_dumb(values):
        term = values.get("TERM")
        return f"TERM is {term!r}" if term else "TERM is not set"
    return ""


def screen_problem(stream: TextIO, environment: Mapping[str, str] | None = None) -> str:
    """Why a full screen cannot be drawn on `stream`, and the remedy; empty if it can."""
    problem = cursor_problem(stream, environment)
    if problem.startswith("TERM"):
        return f"{problem}; set it to the type of the terminal, such as xterm"
    if not problem and 0 in os.get_terminal_size(stream.fileno()):
        return "the terminal does not know its size; set it: `stty rows 24 columns 80`"
    return problem


@contextlib.contextmanager
def without_echo(keys: TextIO) -> Iterator[None]:
    """What is typed in the `with` is not echoed into the output of a command; it can be read later."""
    if not keys.isatty():
        yield
        return
    terminal = keys.fileno()
    before = termios.tcgetattr(terminal)
    silent = [*before]
    silent[_LOCAL_MODES] = before[_LOCAL_MODES] & ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def _encoding(stream: TextIO, values: Mapping[str, str]) -> str:
    """The encoding of a stream, or ASCII if the terminal may not understand it.

    In the C locale Python writes UTF-8 (PEP 538 and 540), but the terminal may not show it.
    """
    own = stream.encoding or "utf-8"
    chosen = values.get("PYTHONIOENCODING", "").partition(":")[0] or values.get("PYTHONUTF8") == "1"
    if chosen or codecs.lookup(own).name != "utf-8":
        return own
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if values.get(name):
            return own if "utf8" in values[name].lower().replace("-", "") else "ascii"
    return "ascii"


def _initial_environment() -> Mapping[str, str]:
    """The environment before Python changed it: in the C locale it sets LC_CTYPE to UTF-8 (PEP 538)."""
    try:
        entries = os.fsdecode(_INITIAL_ENVIRONMENT.read_bytes()).split("\0")
    except OSError:  # Not Linux.
        return os.environ
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
