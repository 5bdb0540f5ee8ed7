"""What the REPL's commands do to the target, through a session.

GDB's commands need a stopped target. A running target is stopped for each command and resumed after it. If no
person uses the REPL, it stays stopped from the first command on, so that all commands show the same moment.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from gdbplugin.commands.descriptor import Parameter
from gdbplugin.kernel.during import During
from gdbplugin.repl.output import Output
from gdbplugin.session import SessionError, TinyOS, WaitTimeoutError
from gdbplugin.session.console import PROMPT
from gdbplugin.session.mi import Stop, quote
from gdbplugin.session.ram import Watch

NO_LIMIT_SECONDS = 86_400.0
_ANSWER_SECONDS = 0.5
_STEP_SECONDS = 0.2


class RefusedError(Exception):
    """A line that cannot be carried out now; the message is one line with a remedy."""


class TargetControl:
    """The target of one session. `timeout` is the time limit of a command in seconds, if not interactive."""

    def __init__(self, session: TinyOS, output: Output, *, interactive: bool, timeout: float) -> None:
        self._session = session
        self._output = output
        self._interactive = interactive
        self._timeout = NO_LIMIT_SECONDS if interactive else timeout
        # The stop that this class made, while the target is still there.
        self._held: Stop | None = None
        self._thread_before: str | None = None
        self._failures: Watch | None = None

    def gdb(self, command: str, *, makes_own_stops: bool = False) -> None:
        """Carry out a command of GDB, and show its text as it comes.

        A target that was running is resumed after it, unless the command has moved it to another stop, or
        back. With `makes_own_stops`, a stop that the command made only for itself does not count. Raises
        `CommandFailedError` or another `SessionError`.
        """
        if command.rstrip().endswith("&"):
            self._in_background(command)
            return
        with self._stopped(makes_own_stops):
            self._run(command)

    def text(self, command: str) -> str:
        """The text that GDB prints for a command."""
        with self._stopped(makes_own_stops=False), self._output.captured():
            return self._session.gdb(command, self._timeout)

    def during(self, command: str, **words: Any) -> During:
        """Carry out a command of GDB; returns what changed during it. Ctrl-C ends the command alone."""
        # What the command prints is in the object too.
        with self._stopped(makes_own_stops=True), self._output.captured():
            return self._session.during(
                command, timeout=self._timeout, until_interrupted=self._interactive, **words
            )

    def json(self, command: str) -> str:
        """The JSON of a command of the plugin, given without `tinyos`."""
        command = " ".join(word for word in command.split(" ") if word != "--json")
        with self._stopped(makes_own_stops=True), self._output.progress(command):
            return json.dumps(self._session.json(command, self._timeout))

    def complete(self, command: str) -> list[str]:
        """The whole lines that complete the beginning of a GDB command."""
        result = self._session.mi(f"-complete {quote(command)}")
        return list(result.payload.get("matches", ()))

    def offered_values(self, parameter: Parameter) -> list[str]:
        """The values that complete a parameter, including those in use now."""
        if parameter.choices or parameter.complete is None:
            return list(parameter.choices)
        try:
            with self._stopped(makes_own_stops=True):
                return self._session.offered_values(parameter)
        except SessionError:
            return []  # The next command reports it.

    def resume(self, command: str) -> None:
        """Carry out `command`, `continue` or similar; wait for the next stop only if not interactive."""
        self._session.debugger.select_target()
        if self._interactive:
            if self._session.running:
                raise RefusedError("the kernel is already running: Ctrl-C stops it")
            self._in_background(command + "&")
            return
        with self._stopped(makes_own_stops=False):
            self._run(command)

    def step(self, command: str) -> None:
        """Carry out `command`, `step` or similar, and wait for the stop."""
        if not self._interactive:
            self.gdb(command)
            return
        # In the background, as GDB still takes commands then; in the foreground an interrupt may be lost.
        thread = self._thread()
        try:
            with self._output.progress(command):
                if self._in_background(command + "&") == "running":
                    self._session.debugger.wait_for_stop(self._timeout)
        except KeyboardInterrupt:
            self._end_stepping(thread)
            raise

    def _end_stepping(self, thread: str) -> None:
        """Stop a target that GDB is stepping, and show where it is.

        QEMU may report the end of the last step only when the target runs again, as a SIGTRAP; one more step
        consumes that. The step does not end if the instruction waits for an interrupt.
        """
        with self._output.captured():
            self._session.interrupt()
            self._select(thread)
            self._session.mi('-interpreter-exec console "stepi&"')
            with contextlib.suppress(WaitTimeoutError):
                self._session.debugger.wait_for_stop(_STEP_SECONDS)
            self._session.interrupt()
            self._select(thread)
        self._session.gdb("frame", show=self._output.gdb)

    def interrupt(self) -> None:
        """Stop the target, leave it stopped, and show where."""
        if self._session.running:
            self._held = self._hold()
        elif self._held is None:
            raise RefusedError("the kernel is already stopped: `continue` lets it run")
        if self._held is not None:
            self._run("frame")
        self._held = None

    def console(self, text: str) -> str:
        """Type a line to the kernel and return its answer; empty if interactive, as a person sees it anyway.

        Interactive use waits for the answer only briefly, as the kernel may be busy. If something stops the
        kernel before the answer is complete, the answer is what it has written by then.
        """
        console = self._session.console
        if not text.isprintable():
            raise RefusedError(f"{text!r} cannot be typed: use printable characters only")
        if not self._session.running:
            if self._held is None:
                raise RefusedError("the kernel is stopped and reads nothing: `continue` lets it run")
            self._session.resume()
            self._held = None
        if self._has_failed():
            raise RefusedError("the kernel has failed and reads nothing: `fault` says why")
        start = len(console.transcript)
        console.send(text + "\r")
        if not self._session.kernel.is_ours:
            # Another kernel may have no echo and no prompt: its answer is what it writes soon.
            with contextlib.suppress(WaitTimeoutError):
                self._session.pump.wait(lambda: not self._session.running, _ANSWER_SECONDS, "the kernel")
            return "" if self._interactive else console.transcript[start:]
        if not self._interactive:
            return self._answer(text, start, self._timeout)
        with contextlib.suppress(WaitTimeoutError):
            self._answer(text, start, _ANSWER_SECONDS)
        return ""

    def _answer(self, typed: str, start: int, timeout: float) -> str:
        """The kernel's output after the echo of `typed`, up to its prompt, a stop, or its failure."""
        session, console = self._session, self._session.console
        echo = f"{typed}\n"

        def written() -> str:
            return console.transcript[start:].partition(echo)[2]

        def is_over() -> bool:
            if PROMPT.search(written()) or not session.running or session.ended is not None:
                return True
            return self._has_failed()

        session.pump.wait(is_over, timeout, f"the kernel's answer to {typed!r}")
        if session.ended is not None:
            raise session.ended
        if self._has_failed():
            with contextlib.suppress(WaitTimeoutError):
                session.pump.wait(lambda: False, _ANSWER_SECONDS, "the rest of what it says")
        return PROMPT.sub("", written())

    def _has_failed(self) -> bool:
        """Whether the kernel has stopped itself: then no prompt comes. False if it has no record of that."""
        session = self._session
        if self._failures is None and session.kernel.is_ours and session.qemu.ram is not None:
            self._failures = session.watch()
        return self._failures is not None and self._failures.has_failed()

    @contextlib.contextmanager
    def core_kept(self) -> Iterator[None]:
        """Select the current core again after the `with`, even if the target was stopped in it."""
        thread = self._thread()
        try:
            yield
        finally:
            if self._session.ended is None:
                # No core can be selected in a running target: do it at the next stop.
                if self._session.running:
                    self._thread_before = thread
                else:
                    self._select(thread)

    @contextlib.contextmanager
    def _stopped(self, makes_own_stops: bool) -> Iterator[None]:
        """Have the target stopped in the `with`."""
        if self._session.running:
            self._held = self._hold()
        held = self._held
        try:
            yield
        finally:
            if held is not None:
                self._after(held, makes_own_stops)

    def _hold(self) -> Stop | None:
        """Stop the target; None if something else stopped it first, and that stop is shown.

        GDB selects the core that stopped first; the user's core is selected again.
        """
        thread = self._thread()
        with self._output.captured() as printed:
            stop = self._session.interrupt()
        if stop.reason == "signal-received" and stop.payload.get("signal-name") == "SIGINT":
            self._select(thread)
            return stop
        self._output.gdb("".join(printed))
        return None

    def _thread(self) -> str:
        """The GDB thread number of the core that the user has selected."""
        thread, self._thread_before = self._thread_before, None
        if thread is not None:
            return thread
        return self._session.debugger.selected_thread()

    def _select(self, thread: str) -> None:
        self._session.debugger.select_thread(thread)

    def _after(self, held: Stop, makes_own_stops: bool) -> None:
        """After a command for which the target was stopped: resume it, or keep it stopped."""
        if self._session.ended is not None or self._session.running:
            self._held = None
            return
        latest = self._session.last_stop
        is_elsewhere = latest is not held and not (makes_own_stops and _only_ends_command(latest))
        if is_elsewhere or self._session.is_in_the_past:
            self._held = None
        elif self._interactive:
            self._held = None
            self._session.resume()
        else:
            self._held = latest

    def _in_background(self, command: str) -> str:
        """Start a command of GDB that continues the target; returns `running` if it did."""
        with self._stopped(makes_own_stops=False):
            return self._session.mi(f"-interpreter-exec console {quote(command)}").message

    def _run(self, command: str) -> None:
        """Carry out a command of GDB, and show its text and warnings as they come.

        If Ctrl-C ends it, the user's core is selected again.
        """
        thread, before = self._thread(), self._session.last_stop
        try:
            with self._output.progress(command):
                self._session.gdb(command, self._timeout, show=self._output.gdb)
        except KeyboardInterrupt:
            stop = self._session.last_stop
            if self._session.ended is None and stop is not None and stop is not before:
                self._select(thread)
                self._session.gdb("frame", show=self._output.gdb)
            raise


def _only_ends_command(stop: Stop | None) -> bool:
    """Whether the stop only ended a command: the command made it for itself, or Ctrl-C did."""
    return stop is None or stop.reason in ("", "signal-received")
