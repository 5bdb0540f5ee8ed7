"""What the user's terminal can show, and what the environment asks for."""

from __future__ import annotations

import contextlib
import os
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from gdbplugin.session.showing import Style

_LOCAL_MODES = 3  # Where termios has them.
_AS_STARTED = Path("/proc/self/environ")


def style_of(stream: TextIO, environment: Mapping[str, str] | None = None) -> Style:
    """The style for what is written to `stream`: colour only on a terminal that has some, if not NO_COLOR."""
    values = _environment() if environment is None else environment
    colour = stream.isatty() and not values.get("NO_COLOR") and values.get("TERM", "dumb") != "dumb"
    return Style(encoding=_encoding(values), colour=colour)


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


def _encoding(values: Mapping[str, str]) -> str:
    """The locale's character set, as far as it matters here: UTF-8 or not."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if values.get(name):
            return "utf-8" if "utf8" in values[name].lower().replace("-", "") else "ascii"
    return "ascii"


def _environment() -> Mapping[str, str]:
    """The environment we were started with.

    In the C locale Python makes itself and its children one of UTF-8 (PEP 538), whatever the terminal is.
    """
    try:
        entries = _AS_STARTED.read_bytes().decode(errors="replace").split("\0")
    except OSError:  # Another system than Linux.
        return os.environ
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
