"""What the user's terminal can show, and what the environment asks for."""

from __future__ import annotations

import codecs
import contextlib
import os
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from gdbplugin.render.style import Style, is_dumb

_LOCAL_MODES = 3  # Where termios has them.
_AS_STARTED = Path("/proc/self/environ")


def style_of(stream: TextIO, environment: Mapping[str, str] | None = None) -> Style:
    """The style for what is written to `stream`: colour only on a terminal that has some, if not NO_COLOR."""
    values = os.environ if environment is None else environment
    colour = stream.isatty() and not values.get("NO_COLOR") and not is_dumb(values)
    return Style(_encoding(stream, _as_started() if environment is None else environment), colour)


def lack_of_cursor(stream: TextIO, environment: Mapping[str, str] | None = None) -> str:
    """Why nothing can be drawn anew in a line of `stream`; empty where it can."""
    values = os.environ if environment is None else environment
    if not stream.isatty():
        return "the output goes elsewhere"
    if is_dumb(values):
        term = values.get("TERM")
        return f"TERM is {term!r}" if term else "TERM is not set"
    return ""


def lack_of_screen(stream: TextIO, environment: Mapping[str, str] | None = None) -> str:
    """Why `stream` cannot be drawn on as a whole, and what to do; empty where it can."""
    lack = lack_of_cursor(stream, environment)
    if lack.startswith("TERM"):
        return f"{lack}; set it to what the terminal is, such as xterm"
    if not lack and 0 in os.get_terminal_size(stream.fileno()):
        return "the terminal does not say its size; tell it by `stty rows 24 columns 80`"
    return lack


@contextlib.contextmanager
def without_echo(keys: TextIO) -> Iterator[None]:
    """What is typed in the `with` is kept for later, but not shown amid what a command prints."""
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
    """The character set that a stream is written in, and whoever reads it takes it to be in.

    In the C locale Python writes UTF-8 (PEP 538 and 540), but the terminal need not show that.
    """
    own = stream.encoding or "utf-8"
    chosen = values.get("PYTHONIOENCODING", "").partition(":")[0] or values.get("PYTHONUTF8") == "1"
    if chosen or codecs.lookup(own).name != "utf-8":
        return own
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if values.get(name):
            return own if "utf8" in values[name].lower().replace("-", "") else "ascii"
    return "ascii"


def _as_started() -> Mapping[str, str]:
    """The environment we were started with: in the C locale Python makes itself one of UTF-8 (PEP 538)."""
    try:
        entries = os.fsdecode(_AS_STARTED.read_bytes()).split("\0")
    except OSError:  # Another system than Linux.
        return os.environ
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
