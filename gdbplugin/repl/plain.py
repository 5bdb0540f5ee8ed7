"""The ways to use the REPL that need no prompt_toolkit.

They are commands without a person, GDB's own prompt, and a prompt for a terminal that cannot move its cursor.
"""

from __future__ import annotations

import select
import signal
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

from gdbplugin.programs import BEGUN_VARIABLE, gdb_environment
from gdbplugin.repl.output import without_echo
from gdbplugin.repl.repl import Outcome, Repl
from gdbplugin.repl.target import RefusedError
from gdbplugin.session import SessionError, TinyOS, process
from gdbplugin.session.process import PLUGIN, find_gdb, passed_to_child

_REFRESH_SECONDS = 0.5


def run_batch(repl: Repl, commands: Iterable[str]) -> int:
    """Carry out all commands up to a `quit`; returns the exit status, 1 if one failed."""
    failed = False
    for number, command in enumerate(commands):
        # Some editors mark a file in UTF-8 with this at its beginning.
        outcome = repl.run(command if number else command.removeprefix("\ufeff"))
        if outcome is Outcome.QUIT:
            break
        failed = failed or outcome is Outcome.FAILED
    return int(failed)


def run_gdb(session: TinyOS) -> int:
    """Run GDB with the plugin on the terminal, attached to the session; returns GDB's exit status."""
    qemu = session.qemu
    session.detach()
    # The console is the user's now: see the help of --console.
    session.console.close()
    _say(f"console: scripts/run --console {qemu.console_socket}   (its log: {qemu.console_log})")
    _say(f"gdbstub: {qemu.gdb_address}; the kernel is stopped at GDB's prompt: `continue` lets it run")
    commands = [*qemu.gdb_settings, f"target remote {qemu.gdb_address}"]
    options = [word for command in commands for word in ("-ex", command)]
    with passed_to_child(signal.SIGINT):
        gdb = process.start(
            [find_gdb(), "--quiet", "-x", str(PLUGIN), *options, str(session.kernel.path)],
            stdin=None,
            in_foreground=True,
            environment={**gdb_environment(), **qemu.files, BEGUN_VARIABLE: qemu.begun(session.kernel)},
        )
        try:
            return gdb.wait()
        finally:
            process.end(gdb)


def _say(text: str) -> None:
    print(f"tinyos: {text}", file=sys.stderr, flush=True)


class BasePrompt:
    """What all prompts share. `keys` is the terminal that a person types at."""

    def __init__(self, repl: Repl, keys: TextIO) -> None:
        self._repl = repl
        self._output = repl.output
        self._keys = keys
        self._arrived: list[str] = []
        self._told_end: str | None = None

    def _message(self) -> str:
        return "tinyos*> " if self._repl.in_submenu else "tinyos> "

    def _carry_out(self, line: str) -> Outcome:
        with without_echo(self._keys):
            outcome = self._repl.run(line)
        if outcome is Outcome.FAILED:
            self._told_end = self._repl.end_reason  # If the session was lost, the error has said so.
        return outcome

    def _tell_lost(self, tell: Callable[[str], None]) -> None:
        """Say once that the session was lost."""
        lost = self._repl.end_reason
        if lost is not None and lost != self._told_end:
            tell(lost)
        self._told_end = lost

    def _stop_target(self, tell: Callable[[str], None]) -> bool:
        """Stop a running target; returns whether there was one."""
        if self._repl.end_reason is not None or not self._repl.session.running:
            return False
        try:
            self._repl.target.interrupt()
        except RefusedError:
            pass  # It has just stopped by itself, and GDB has shown where.
        except SessionError as error:
            tell(error.message)
        return True


class PlainPrompt(BasePrompt):
    """The prompt for a dumb terminal, or for output in a pipe or a file.

    The terminal edits the line. Output that arrives meanwhile is shown in lines, with a new prompt below.
    """

    def __init__(self, repl: Repl, keys: TextIO) -> None:
        super().__init__(repl, keys)
        # Where standard output is not a terminal, the prompt would be part of the output.
        self._prompt_stream = sys.stdout if sys.stdout.isatty() else sys.stderr

    def loop(self) -> None:
        """Read and carry out lines until `quit` or Ctrl-D."""
        while True:
            try:
                line = self._read()
                if not line or self._carry_out(line.rstrip("\n")) is Outcome.QUIT:
                    return
            except KeyboardInterrupt:
                self._stop_target(self._output.say)

    def _read(self) -> str:
        """One line with its end; empty at the end of input."""
        self._tell_lost(self._output.say)
        try:
            with self._output.prompting(self._arrived.append):
                self._write(self._message())
                while not self._is_typed():
                    self._tell_lost(self._output.say)
                    if self._arrived:
                        self._show_arrived()
                        self._write(self._message())
                line = self._keys.readline()
        except KeyboardInterrupt:
            self._write("\n")
            raise
        if not line:
            self._write("\n")
        return line

    def _is_typed(self) -> bool:
        """Wait for input or events, but not for long; whether a line was typed."""
        # The streams of a lost session are at their end, so they would be ready at once, each time.
        keys, pump = self._keys.fileno(), self._repl.session.pump
        sources = [keys] if self._repl.end_reason is not None else [keys, pump.fileno()]
        # With a time limit, as the end of a program makes nothing ready.
        ready, _, _ = select.select(sources, [], [], _REFRESH_SECONDS)
        if self._repl.end_reason is None:
            pump.drain()
        return keys in ready

    def _show_arrived(self) -> None:
        self._write("\n")
        self._output.write_now("".join(self._arrived))
        self._output.flush()
        self._arrived.clear()

    def _write(self, text: str) -> None:
        self._prompt_stream.write(text)
        self._prompt_stream.flush()
