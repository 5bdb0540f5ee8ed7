"""What the REPL's commands do to the target, by way of a session.

GDB's commands want a target that stands still. One that runs is held still for each and runs on after it;
without a person at the keys it is held from the first one on, so that several commands tell of one moment.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from gdbplugin.commands.descriptor import Parameter
from gdbplugin.repl.screen import Screen
from gdbplugin.session import SessionError, TinyOS, WaitTimeoutError
from gdbplugin.session.console import PROMPT
from gdbplugin.session.mi import Stop, quote

NO_LIMIT_SECONDS = 86_400.0
_ANSWER_SECONDS = 0.5
_STEP_SECONDS = 0.2


class TargetError(Exception):
    """A command that does not fit the state of the target; the message is one line with a remedy."""


class Target:
    """One session's target. `timeout` is how many seconds a command may take where no person waits for it."""

    def __init__(self, session: TinyOS, screen: Screen, *, interactive: bool, timeout: float) -> None:
        self._session = session
        self._screen = screen
        self._interactive = interactive
        self._timeout = NO_LIMIT_SECONDS if interactive else timeout
        # The stop that we made ourselves, while the target stands there.
        self._held: Stop | None = None
        self._thread_before: str | None = None

    def gdb(self, command: str, *, moves_on: bool = False) -> None:
        """Carry out a command of GDB's, its text shown as it comes.

        A target that was running is running after it; but if the command itself made it stop somewhere, only
        with `moves_on`. Raises `CommandFailedError` and any other `SessionError`.
        """
        if command.rstrip().endswith("&"):
            self._in_background(command)
            return
        with self._still(moves_on):
            self._run(command)

    def text(self, command: str) -> str:
        """What GDB prints for a command."""
        with self._still(moves_on=False), self._screen.caught():
            return self._session.gdb(command, self._timeout)

    def json(self, command: str) -> str:
        """What a command of the plugin, given without its `tinyos`, prints with --json."""
        command = " ".join(word for word in command.split(" ") if word != "--json")
        with self._still(moves_on=True), self._screen.progress(command):
            return json.dumps(self._session.json(command, self._timeout))

    def complete(self, command: str) -> list[str]:
        """The commands that the beginning of one can become, by GDB."""
        result = self._session.mi(f"-complete {quote(command)}")
        return list(result.payload.get("matches", ()))

    def offered_values(self, parameter: Parameter) -> list[str]:
        """The values to offer for a parameter, those in use now among them."""
        if parameter.choices or parameter.complete is None:
            return list(parameter.choices)
        try:
            with self._still(moves_on=True):
                return self._session.offered_values(parameter)
        except SessionError:
            return []  # The next command says what has happened.

    def resume(self, command: str) -> None:
        """Let the target run by `command`, `continue` or the like; without a person, until it stops."""
        if self._interactive:
            if self._session.running:
                raise TargetError("the kernel is running already: Ctrl-C stops it")
            self._in_background(command + "&")
            return
        with self._still(moves_on=False):
            self._run(command)

    def step(self, command: str) -> None:
        """Let the target run by `step` or the like, and wait for the stop."""
        if not self._interactive:
            self.gdb(command)
            return
        # In the background GDB still takes commands: in the foreground an interrupt may be lost.
        thread = self._thread()
        try:
            with self._screen.progress(command):
                if self._in_background(command + "&") == "running":
                    self._session.debugger.wait_for_stop(self._timeout)
        except KeyboardInterrupt:
            self._end_stepping(thread)
            raise

    def _end_stepping(self, thread: str) -> None:
        """Stop a target that GDB is stepping, and show where.

        QEMU may still have the end of the last step to tell of, as a SIGTRAP when the target next runs: one
        more step takes that. At an instruction that waits for an interrupt there is none to come.
        """
        with self._screen.caught():
            self._session.interrupt()
            self._select(thread)
            self._session.mi('-interpreter-exec console "stepi&"')
            with contextlib.suppress(WaitTimeoutError):
                self._session.debugger.wait_for_stop(_STEP_SECONDS)
            self._session.interrupt()
            self._select(thread)
        self._session.gdb("frame", show=self._screen.gdb)

    def interrupt(self) -> None:
        """Stop the target and leave it so; GDB shows where."""
        if self._session.running:
            self._held = self._hold()
        elif self._held is None:
            raise TargetError("the kernel is stopped already: `continue` lets it run")
        if self._held is not None:
            self._run("frame")
        self._held = None

    def console(self, text: str) -> str:
        """Type a line to the kernel and return its answer; empty where a person sees it come.

        Then it is waited for only a little: the kernel may have much to do. If something stops the kernel
        before it has answered, what it has written by then is all.
        """
        console = self._session.console
        if not text.isprintable():
            raise TargetError(f"{text!r} cannot be typed: give one line of printable characters")
        if not self._session.running:
            if self._held is None:
                raise TargetError("the kernel is stopped and reads nothing: `continue` lets it run")
            self._session.resume()
            self._held = None
        start = len(console.transcript)
        console.send(text + "\r")
        if not self._session.kernel.is_ours:
            # It need not echo what is typed, nor prompt: what it says soon is its answer.
            with contextlib.suppress(WaitTimeoutError):
                self._session.pump.wait(lambda: not self._session.running, _ANSWER_SECONDS, "the kernel")
            return "" if self._interactive else console.transcript[start:]
        if not self._interactive:
            return self._answer(text, start, self._timeout)
        with contextlib.suppress(WaitTimeoutError):
            self._answer(text, start, _ANSWER_SECONDS)
        return ""

    def _answer(self, typed: str, start: int, timeout: float) -> str:
        """What the kernel writes after the echo of what was typed, up to its prompt or a stop."""
        session, console = self._session, self._session.console
        echo = f"{typed}\n"

        def written() -> str:
            return console.transcript[start:].partition(echo)[2]

        def is_over() -> bool:
            return bool(PROMPT.search(written())) or not session.running or session.ended is not None

        session.pump.wait(is_over, timeout, f"the kernel's answer to {typed!r}")
        if session.ended is not None:
            raise session.ended
        return PROMPT.sub("", written())

    @contextlib.contextmanager
    def core_kept(self) -> Iterator[None]:
        """The core that is selected now is so after the `with`, whoever has stopped the target in it."""
        thread = self._thread()
        try:
            yield
        finally:
            if self._session.ended is None:
                # Of a running target none can be selected: then at the next stop.
                if self._session.running:
                    self._thread_before = thread
                else:
                    self._select(thread)

    @contextlib.contextmanager
    def _still(self, moves_on: bool) -> Iterator[None]:
        if self._session.running:
            self._held = self._hold()
        held = self._held
        try:
            yield
        finally:
            if held is not None:
                self._after(held, moves_on)

    def _hold(self) -> Stop | None:
        """Stop the target; None where something else stopped it in that moment, which is then shown.

        GDB selects whichever core it has stopped first: the user's is selected again.
        """
        thread = self._thread()
        with self._screen.caught() as told:
            stop = self._session.interrupt()
        if stop.reason == "signal-received" and stop.payload.get("signal-name") == "SIGINT":
            self._select(thread)
            return stop
        self._screen.gdb("".join(told))
        return None

    def _thread(self) -> str:
        """GDB's number of the core that the user looks at."""
        thread, self._thread_before = self._thread_before, None
        if thread is not None:
            return thread
        return self._session.debugger.selected_thread()

    def _select(self, thread: str) -> None:
        self._session.debugger.ask(f"-thread-select {thread}")

    def _after(self, held: Stop, moves_on: bool) -> None:
        """Let the target run on, or keep it, after a command for which it was held."""
        if self._session.ended is not None or self._session.running:
            self._held = None
            return
        latest = self._session.last_stop
        if latest is not held and not (moves_on and _is_passing(latest)):
            self._held = None
        elif self._interactive:
            self._held = None
            self._session.resume()
        else:
            self._held = latest

    def _in_background(self, command: str) -> str:
        """Have GDB begin a command that lets the target run; returns `running` where it did."""
        with self._still(moves_on=False):
            return self._session.mi(f"-interpreter-exec console {quote(command)}").message

    def _run(self, command: str) -> None:
        """Have GDB carry out a command, its text and its warnings shown as they come.

        Where that ends by Ctrl-C, the core that the user looked at is selected again.
        """
        thread, before = self._thread(), self._session.last_stop
        try:
            with self._screen.progress(command):
                self._session.gdb(command, self._timeout, show=self._screen.gdb)
        except KeyboardInterrupt:
            stop = self._session.last_stop
            if self._session.ended is None and stop is not None and stop is not before:
                self._select(thread)
                self._session.gdb("frame", show=self._screen.gdb)
            raise


def _is_passing(stop: Stop | None) -> bool:
    """Whether a stop is one that a command made for its own end, or Ctrl-C for the command's."""
    return stop is None or stop.reason in ("", "signal-received")
