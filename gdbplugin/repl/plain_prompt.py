"""The prompt where nothing can be drawn: on a dumb terminal, or with the output in a pipe or a file.

The terminal edits the line. What the target does meanwhile is shown in lines, the prompt again below them.
"""

from __future__ import annotations

import select
import sys
from typing import TextIO

from gdbplugin.repl.repl import Outcome, Repl
from gdbplugin.repl.target import TargetError
from gdbplugin.repl.terminal import without_echo
from gdbplugin.session import SessionError

_REFRESH_SECONDS = 0.5


class PlainPrompt:
    """Reads lines from `keys`, a terminal, and has them carried out, until the person leaves."""

    def __init__(self, repl: Repl, keys: TextIO) -> None:
        self._repl = repl
        self._screen = repl.screen
        self._keys = keys
        # What takes the output is no place for a prompt, and nobody may see it there.
        self._out = sys.stdout if sys.stdout.isatty() else sys.stderr
        self._arrived: list[str] = []
        self._told_lost: str | None = None

    def loop(self) -> None:
        """Read and carry out lines until `quit` or Ctrl-D."""
        while True:
            try:
                line = self._read()
                if not line:
                    return
                with without_echo(self._keys):
                    outcome = self._repl.run(line.rstrip("\n"))
                if outcome is Outcome.QUIT:
                    return
                if outcome is Outcome.FAILED:
                    self._told_lost = self._repl.lost  # If that is why, it has been said.
            except KeyboardInterrupt:
                self._stop_target()

    def _read(self) -> str:
        """One line with its end; empty at the end of input."""
        self._tell_lost()
        try:
            with self._screen.prompting(self._arrived.append):
                self._ask()
                while not self._is_typed():
                    self._tell_lost()
                    if self._arrived:
                        self._show_arrived()
                        self._ask()
                line = self._keys.readline()
        except KeyboardInterrupt:
            self._write("\n")
            raise
        if not line:
            self._write("\n")
        return line

    def _is_typed(self) -> bool:
        """Wait a little until something is typed or something happens; whether a line is there."""
        # The streams of what has ended are at their end, which can be read for ever.
        keys, pump = self._keys.fileno(), self._repl.session.pump
        sources = [keys] if self._repl.lost is not None else [keys, pump.fileno()]
        # Not for ever: that a program has ended makes nothing ready.
        ready, _, _ = select.select(sources, [], [], _REFRESH_SECONDS)
        if self._repl.lost is None:
            pump.drain()
        return keys in ready

    def _ask(self) -> None:
        self._write("tinyos*> " if self._repl.in_submenu else "tinyos> ")

    def _show_arrived(self) -> None:
        self._write("\n")
        self._screen.write_now("".join(self._arrived))
        self._screen.flush()
        self._arrived.clear()

    def _tell_lost(self) -> None:
        """Say once that something has ended."""
        lost = self._repl.lost
        if lost is not None and lost != self._told_lost:
            self._screen.say(lost)
        self._told_lost = lost

    def _stop_target(self) -> None:
        """At Ctrl-C: where the target stands still already, there is nothing to stop."""
        if self._repl.lost is not None or not self._repl.session.running:
            return
        try:
            self._repl.target.interrupt()
        except TargetError:
            pass  # It has stopped by itself in this moment, and GDB has told where.
        except SessionError as error:
            self._screen.say(error.message)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
