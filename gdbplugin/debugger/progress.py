"""A line on the terminal that says how far long work is."""

from __future__ import annotations

import os
import time

from gdbplugin.render import is_dumb

_SECONDS_BEFORE_PROGRESS = 0.5


class ProgressLine:
    """Shown on a terminal alone, after a while. GDB's own streams may be captured meanwhile."""

    def __init__(self) -> None:
        self._begins = time.monotonic() + _SECONDS_BEFORE_PROGRESS
        self._is_shown = False

    def show(self, text: str) -> None:
        """Show a text in place of the one before."""
        if time.monotonic() < self._begins or not os.isatty(2) or is_dumb(os.environ):
            return
        self._is_shown = True
        # If the terminal broke the line, only its end would be erased.
        columns = os.get_terminal_size(2).columns
        line = text[: columns - 1] if columns else text
        os.write(2, f"\r{line}".encode("ascii", "replace"))

    def erase(self) -> None:
        """Remove the line."""
        if self._is_shown:
            os.write(2, b"\r\033[K")
