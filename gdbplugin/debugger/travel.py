"""Brings the live machine to another moment, and has GDB forget what it knew of the one before."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import gdb

from gdbplugin.debugger import current
from gdbplugin.machine import MachineError
from gdbplugin.render import is_dumb

_SECONDS_BEFORE_PROGRESS = 0.5


def travel(bring: Callable[[Callable[[str], None]], None], quiet: bool) -> None:
    """Let `bring` take the machine to another moment; Ctrl-C ends it on the way."""
    progress = _Progress(quiet)
    try:
        bring(progress.show)
    finally:
        progress.erase()
        moved()


def moved() -> None:
    """The machine is at another moment: forget registers, memory, and what was read."""
    for cache in ("register-cache", "dcache"):
        try:
            gdb.execute(f"maintenance flush {cache}", to_string=True)
        except gdb.error as error:
            raise MachineError(f"GDB keeps its {cache}: {error}") from error
    current.moved()
    shown = sys.modules.get("gdbplugin.debugger.task_threads")
    if shown is not None:
        shown.moved()


class _Progress:
    """How far a replay is, on a terminal, after a while."""

    def __init__(self, quiet: bool) -> None:
        self._begins = time.monotonic() + _SECONDS_BEFORE_PROGRESS
        self._may_show = not quiet and os.isatty(2) and not is_dumb(os.environ)
        self._is_shown = False

    def show(self, text: str) -> None:
        """Called again and again meanwhile."""
        if self._may_show and time.monotonic() >= self._begins:
            self._is_shown = True
            os.write(2, f"\r{text}".encode())

    def erase(self) -> None:
        """Remove the line."""
        if self._is_shown:
            os.write(2, b"\r\033[K")
