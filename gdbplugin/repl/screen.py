"""What the REPL writes: GDB's text as it comes, the kernel's own lines apart from it, notices, progress.

While a prompt is up, whole lines are handed to it, to be written above; a line's beginning waits for its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import TextIO

from gdbplugin.render.style import Style
from gdbplugin.repl.terminal import lack_of_cursor

_SECONDS_BEFORE_PROGRESS = 0.5
_PROGRESS_SECONDS = 1.0
_PROMPTS = ("tinyos> ", "tinyos*> ")


class Screen:
    """Standard output and error of the REPL, each with its style; without the second they are of one style.

    `for_person`: what has no line's end is given one.
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
        self._caught: list[str] | None = None
        self._begun = ""  # A line of GDB's that has no end yet, while a prompt is up;
        self._kernels = ""  # and one of the kernel's, which always waits for it.
        self._warning = ""  # One of GDB's warnings without its end, too.
        self._at_line_start = True
        self._shows_progress = False

    @property
    def columns(self) -> int:
        """How wide the terminal is now; 0 where there is none."""
        return _columns(self._out)

    @property
    def style_now(self) -> Style:
        """The style as wide as the terminal is now, but no wider than text is without one."""
        return replace(self.style, width=min(self.columns or self.style.width, self.style.width))

    def gdb(self, text: str) -> None:
        """Show what GDB prints, in whatever pieces."""
        if self._caught is not None:
            self._caught.append(text)
        elif self._above is None:
            self._write(text)
        else:
            whole, end, self._begun = (self._begun + text).rpartition("\n")
            self._write(whole + end)

    @property
    def is_catching(self) -> bool:
        """Whether GDB's text is collected just now, in place of being shown."""
        return self._caught is not None

    def warning(self, text: str) -> None:
        """Show what GDB warns of, in whatever pieces, by lines."""
        whole, end, self._warning = (self._warning + text).rpartition("\n")
        self.complain(whole + end)

    def kernel(self, text: str) -> None:
        """Show what the kernel writes on its console, by lines, each marked as its own."""
        *lines, self._kernels = (self._kernels + text).split("\n")
        lines = [line for line in lines if line not in _PROMPTS]
        if not lines:
            return
        mark = "|" if self.style.plain else "│"
        if not self._at_line_start:
            self._write("\n")
        for line in lines:
            self._write(self._dim(f"{mark} {_printable(line)}".rstrip()) + "\n")

    def say(self, text: str) -> None:
        """Show a line of the REPL's own."""
        self.end_line()
        self._write(f"tinyos: {text}\n")

    def complain(self, text: str, *, bad: bool = False) -> None:
        """Show lines that are no result: on standard error, but above the prompt where one is up."""
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
        """Begin a new line for a person, unless nothing is on this one."""
        if self._warning:
            warning, self._warning = self._warning, ""
            self.complain(warning)
        if not self._for_person:
            return
        if self._begun:
            begun, self._begun = self._begun, ""
            self._write(begun + "\n")
        elif not self._at_line_start and self._above is None:
            self._write("\n")

    def flush(self) -> None:
        """Let everything be seen."""
        self._out.flush()

    @contextlib.contextmanager
    def caught(self) -> Iterator[list[str]]:
        """Collect GDB's text in the list given, in place of showing it."""
        before, self._caught = self._caught, []
        try:
            yield self._caught
        finally:
            self._caught = before

    @contextlib.contextmanager
    def prompting(self, above: Callable[[str], None]) -> Iterator[None]:
        """Hand whole lines to `above` in the `with`, for a prompt is up."""
        self.end_line()
        self.flush()
        self._above = above
        try:
            yield
        finally:
            self._above = None

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[None]:
        """Show on a terminal, once it lasts, how long a command has been running; erased before its output.

        By an alarm, so that whoever waits below needs to know nothing of it.
        """
        if lack_of_cursor(self._errors):
            yield
            return
        began = time.monotonic()

        def show(_number: int, _frame: FrameType | None) -> None:
            # Straight to the descriptor: a stream of Python's may be in the middle of a write.
            if self._at_line_start:
                self._shows_progress = True
                line = f"{title[:40]}: {int(time.monotonic() - began)} s, Ctrl-C stops it"
                # Of a line that the terminal breaks, only the end would be erased.
                columns = _columns(self._errors)
                line = line[: columns - 1] if columns else line
                os.write(self._errors.fileno(), f"\r{line}\033[K".encode("ascii", "replace"))

        try:
            with _alarm(show, _SECONDS_BEFORE_PROGRESS, _PROGRESS_SECONDS):
                yield
        finally:
            self.erase_progress()

    def erase_progress(self) -> None:
        """Remove the line of progress, if it is there."""
        if self._shows_progress:
            self._shows_progress = False
            os.write(self._errors.fileno(), b"\r\033[K")

    def write_now(self, text: str) -> None:
        """Write, wherever the cursor is; for the prompt, when it has made room."""
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
    """How wide the terminal of a stream is; 0 where there is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def _printable(line: str) -> str:
    """Without what would move a terminal's cursor or change its state."""
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in line)


@contextlib.contextmanager
def _alarm(handler: Callable[[int, FrameType | None], None], first: float, interval: float) -> Iterator[None]:
    """Have `handler` called in the `with`; an alarm that was set before is set again after it."""
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
