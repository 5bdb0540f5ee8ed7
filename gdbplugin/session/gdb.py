"""GDB as a subprocess, driven by its machine interface.

The target runs asynchronously (`mi-async`), and all cores stop and start together: GDB answers while the
target runs, and can be told to interrupt it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gdbplugin import programs
from gdbplugin.programs import gdb_environment
from gdbplugin.session import mi, process
from gdbplugin.session.errors import (
    AttachError,
    CommandFailedError,
    EndedError,
    SessionError,
    ToolMissingError,
    WaitTimeoutError,
    how_to_connect,
)
from gdbplugin.session.mi import COMMAND_SECONDS, MiClient, Result, Stop
from gdbplugin.session.process import Pump, find_gdb
from gdbplugin.session.streams import escaped

CONNECT_SECONDS = 5.0
"""The time that a gdbstub has to answer when GDB attaches."""
# The time that an interrupted GDB has to answer before it is killed.
_CANCEL_SECONDS = 12.0
_PATIENCE_SECONDS = 5.0
_SETTLE_SECONDS = 2.0
_TRAP_SECONDS = 0.1
_GRACE_SECONDS = 0.1
_AGAIN_SECONDS = 0.05
# GDB counts as working with a greater share of a processor, or with more switches: on a busy machine.
_WORKING = 0.1
_WORKING_SWITCHES = 20
# A command that does nothing: GDB answers it when the commands before it are done.
_NOTHING = "-gdb-show confirm"
_NO_PYTHON = '-interpreter-exec console "python pass"'


class Gdb(MiClient):
    """A running GDB. Its process is gone after `close`."""

    _address = ""
    _group = ""  # The option that selects the target's inferior.
    _thread = ""  # The global number of one of the target's threads.
    _may_trap = False

    @classmethod
    def start(
        cls,
        pump: Pump,
        *,
        elf: Path | None = None,
        plugin: Path | None = None,
        extra: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Gdb:
        """Start GDB on an ELF, with the plugin; the user's own GDB settings are not read.

        `environment` are variables for it.

        Raises `ToolMissingError`, or `SessionError` for a path that GDB cannot take. Returns at once, while
        GDB still reads the ELF.
        """
        arguments = [find_gdb(), "--quiet", "--nx", "--interpreter=mi3"]
        for setting in process.GDB_SETTINGS:
            arguments += ["-iex", setting]
        if plugin is not None:
            arguments += ["-x", str(plugin)]
        arguments += extra
        if elf is not None:
            if str(elf) != escaped(str(elf)):
                # GDB could not pass the file's name to the plugin, nor to us.
                raise SessionError(f"{elf}: GDB takes only paths in UTF-8: rename the file, or copy it")
            arguments.append(str(elf))
        pipe = subprocess.PIPE
        child = process.start(
            arguments,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            environment={**gdb_environment(), **(environment or {})},
        )
        return cls(child, pump)

    def mi(self, command: str, timeout: float = COMMAND_SECONDS) -> Result:
        """Send one MI command (`-data-read-memory-bytes ...`) and return its result.

        Raises `CommandFailedError` with GDB's own words, `WaitTimeoutError`, or `EndedError` if GDB dies.
        After a timeout, Ctrl-C or another signal's exception, the command is cancelled in GDB, so that the
        next one is answered. A GDB that does not answer within 12 s is killed.
        """
        self.changes += 1
        return self.ask(command, timeout)

    def ask(self, command: str, timeout: float = COMMAND_SECONDS) -> Result:
        """As `mi`, for a command that is known not to change the target."""
        self._pump.drain()
        if self._in_foreground:
            raise SessionError("GDB reads no commands until the target stops: interrupt it first")
        with self._cancelled_on_error(resume=self._running):
            token = self._send(command)
            self._console.clear()
            self._log.clear()
            self._blocking = token if _blocks(command) else None
            # GDB 18 has no result for a CLI command whose Python code has run the target to its stop.
            end = self._send(_NOTHING) if self._blocking else None
            record = self._answer(token, timeout, f"GDB's answer to {command}", end)
        if record.message == "error":
            raise CommandFailedError(command, record.payload.get("msg") or "error", self.printed)
        return Result(record.message, record.payload or {}, self.printed, "".join(self._log))

    def execute(
        self,
        command: str,
        timeout: float = COMMAND_SECONDS,
        show: Callable[[str], None] | None = None,
    ) -> str:
        """Run a GDB command as typed at its prompt and return what it printed.

        A command that lets the target run (`continue`, `step`) returns when the target has stopped again;
        Ctrl-C and a timeout stop it too. `show` gets each piece of output as it arrives. Raises as `mi`.
        """
        self._stops.clear()
        self._show = show
        try:
            line = f"-interpreter-exec console {mi.quote(command)}"
            result = self.mi(line, timeout)
            if result.message == "running" and _blocks(line):
                self._wait_for_end(command, timeout)
        except CommandFailedError as error:
            raise CommandFailedError(command, error.reason, error.output) from error
        finally:
            self._show = None
        return self.printed

    @property
    def printed(self) -> str:
        """What the latest command has printed so far."""
        return "".join(self._console)

    def _wait_for_end(self, command: str, timeout: float) -> None:
        """Wait for the end of a command that let the target run: it may print more, run on, or fail.

        GDB answers the next command only after it, and reports its failure by a second result.
        """
        token = self._blocking
        self._awaited.add(token)
        with self._cancelled_on_error(resume=False):
            self.wait_for_stop(timeout)
            self._answer(self._send(_NOTHING), timeout, f"the end of {command}")
        self._stops.clear()
        late = self._results.pop(token, None)
        self._awaited.discard(token)
        if late is not None and late.message == "error":
            raise CommandFailedError(command, late.payload.get("msg") or "error", self.printed)

    @contextlib.contextmanager
    def _cancelled_on_error(self, *, resume: bool) -> Iterator[None]:
        """Cancel GDB's command if the `with` body raises, so that GDB answers again.

        The exception is a timeout, or what a signal handler raises: Ctrl-C, or a test's time limit. A target
        that had to be stopped for it stays stopped, unless `resume`.
        """
        try:
            yield
        except EndedError:
            raise
        except BaseException:
            # Nobody waits for these results any more: drop them when they arrive.
            self._awaited.clear()
            self._results.clear()
            # A GDB that is still starting may exit at an interrupt: the next call reports that.
            with contextlib.suppress(EndedError):
                if self._cancel():
                    self._settle(resume)
            raise

    def _cancel(self) -> bool:
        """Interrupt GDB until it answers, or kill it; returns False if it had answered already."""
        deadline = time.monotonic() + _CANCEL_SECONDS
        last = self._send(_NOTHING)
        # If GDB is done already, an interrupt would go to the target.
        if self._has_answered(last, _GRACE_SECONDS):
            self._in_foreground = False
            return False
        while time.monotonic() < deadline:
            if self._has_answered_interrupt(last, deadline):
                # A signal that GDB or its Python has not handled yet would end the next command.
                self._has_answered(self._send(_NO_PYTHON), _CANCEL_SECONDS)
                self._in_foreground = False
                self._may_trap = True
                return True
        self._kill(f"GDB did not answer for {_CANCEL_SECONDS:g} s")
        return True

    def _settle(self, resume: bool) -> None:
        """Bring the target to a stop that GDB knows about; then let it run again if `resume`."""
        if self._gone():
            return
        if self.running:
            try:
                self.interrupt(_SETTLE_SECONDS)
            except WaitTimeoutError:
                self._reconnect()
        if resume and not self._gone():
            self.resume()

    def _reconnect(self) -> None:
        """Connect again to a target whose stop GDB has missed; kill GDB if that fails.

        GDB 13 misses a stop if Ctrl-C has ended the Python code, or the step, that waited for it.
        """
        address = self._address
        try:
            self.ask("-target-disconnect", _PATIENCE_SECONDS)
            self.connect(address, _PATIENCE_SECONDS)
        except SessionError:
            self._kill("GDB has lost track of its target")

    def _kill(self, why: str) -> None:
        """Kill a GDB that cannot be used any more."""
        self._why_ended = f"{why}, and was ended"
        self._child.kill()
        self._has_answered(0, _PATIENCE_SECONDS)  # Waits until its end is seen: no command has this token.

    def _has_answered_interrupt(self, token: int, deadline: float) -> bool:
        """Send an interrupt; returns whether the command's result then comes before the deadline."""
        seconds, switches = process.processor_seconds(self.pid), process.switches(self.pid)
        before = self._last_stop

        def has_stopped() -> bool:
            return self._last_stop is not before

        # To the programs that GDB has started too (`shell`, `pipe`), as a terminal does.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGINT)
        if self._has_answered(token, _AGAIN_SECONDS):
            return True
        # A GDB that steps may lose the signal between two steps. One that waits for its target would take
        # another signal as a request to give up the target, so it gets more time.
        is_working = process.processor_seconds(self.pid) - seconds > _WORKING * _AGAIN_SECONDS
        patience = min(time.monotonic() + _PATIENCE_SECONDS, deadline)
        while not (is_working or has_stopped()) and time.monotonic() < patience:
            is_working = process.switches(self.pid) - switches > _WORKING_SWITCHES
            if not is_working and self._has_answered(token, _AGAIN_SECONDS, has_stopped):
                return True
        if has_stopped():
            # SIGINT has ended one step of a loop in Python, which is already in its next step.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, process.END_PYTHON)
        return False

    def connect(self, address: str, timeout: float = CONNECT_SECONDS) -> Result:
        """Attach to a gdbstub (`HOST:PORT` or a socket's path), which stops the target.

        The result's `log` includes the warnings of GDB and the plugin since they started. Raises
        `AttachError` if no gdbstub answers within `timeout` seconds, or GDB cannot connect.
        """
        started = self._started()
        try:
            result = self.mi(f"-target-select remote {address}", timeout)
        except WaitTimeoutError as error:
            # GDB itself would try for half a minute. A stub in use accepts a connection, and never answers.
            raise AttachError(
                f"no gdbstub answers at {address} within {timeout:g} s: another debugger is attached to it, "
                "or it is not a gdbstub"
            ) from error
        except CommandFailedError as error:
            reason = error.reason.removeprefix(f"{address}: ")
            raise AttachError(f"cannot attach to {address}: {how_to_connect(reason)}") from error
        self._address = address
        self._running = False
        # Another inferior may be selected when the target is resumed or stopped: one that shows a task.
        inferior = self.ask("-data-evaluate-expression $_inferior").payload["value"]
        self._group, self._thread = f"--thread-group i{inferior}", self.selected_thread()
        return replace(result, log=started.log + result.log)

    def open_core(self, path: Path) -> Result:
        """Open a core file in place of a machine; the result is as that of `connect`."""
        log = self._started().log
        try:
            return replace(self.mi(f"-target-select core {path}"), log=log)
        except CommandFailedError:  # Some GDBs take a path literally, and others as a word.
            return replace(self.mi(f"-target-select core {mi.quote(str(path))}"), log=log)

    def _started(self) -> Result:
        """The result of a first command; raises `ToolMissingError` if this GDB cannot be used."""
        try:
            return self.ask(_NOTHING)  # GDB may still be reading the program.
        except EndedError as error:
            try:
                programs.try_gdb(self._program)
            except programs.UnfitError as problem:
                advice = f"install it with: {programs.GDB.advice}"
                raise ToolMissingError(f"this GDB cannot be used: {problem}; {advice}") from error
            raise

    def resume(self) -> None:
        """Let the target run."""
        self._stops.clear()
        try:
            self.mi("-exec-continue")
        except CommandFailedError:
            if not self.select_target():
                raise
            self.mi("-exec-continue")
        if self._may_trap:
            self._may_trap = False
            self._pass_trap()

    def _pass_trap(self) -> None:
        """Let the target run on after a cancelled step, whose end QEMU reports only now."""
        with contextlib.suppress(WaitTimeoutError):
            stop = self.wait_for_stop(_TRAP_SECONDS)
            if stop.payload.get("signal-name") == "SIGTRAP":
                self.mi("-exec-continue")
            else:
                self._stops.insert(0, stop)

    def interrupt(self, timeout: float = COMMAND_SECONDS) -> Stop:
        """Stop the running target and return where it was stopped.

        The request is repeated: while GDB steps, or evaluates a breakpoint's condition, the target may stand
        still for a moment, and a request then is lost.
        """
        if self._in_foreground:
            self._cancel()
            self._settle(resume=False)
            return self.take_stop() or self._last_stop or Stop("", None)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.mi(f"-exec-interrupt {self._group}")
            try:
                return self.wait_for_stop(_AGAIN_SECONDS)
            except WaitTimeoutError:
                continue
            except EndedError:
                raise
            except BaseException:
                # The stop is on its way, and would come during the next command.
                with contextlib.suppress(WaitTimeoutError):
                    self.wait_for_stop(_SETTLE_SECONDS)
                raise
        raise WaitTimeoutError(f"waited {timeout:g} s for the target to stop", self._pump.evidence())

    def selected_thread(self) -> str:
        """GDB's global number of the selected thread; `0` if none is selected."""
        return str(self.ask("-data-evaluate-expression $_gthread").payload["value"])

    def select_thread(self, thread: str) -> None:
        """Select a thread by its global number; not if it is gone, as that of a task after each stop."""
        with contextlib.suppress(CommandFailedError):
            self.ask(f"-thread-select {thread}")

    def select_target(self) -> bool:
        """Select a thread of the target; returns False if one is selected already."""
        if self.is_target_selected():
            return False
        self.select_thread(self._thread)
        return True

    def is_target_selected(self) -> bool:
        """Whether the target's inferior is selected, and not one that shows a task."""
        inferior = self.ask("-data-evaluate-expression $_inferior").payload["value"]
        return not self._group or self._group.endswith(f" i{inferior}")

    @contextlib.contextmanager
    def stopped(self, *, resume: Callable[[], bool]) -> Iterator[None]:
        """Keep the target stopped in the `with`; afterwards let it run again if `resume` says so.

        The selected core stays selected, even if the stub reports the stop of another.
        """
        try:
            if self.running:
                thread = "0" if self._in_foreground else self.selected_thread()
                # If a breakpoint has stopped it just now, stay with the core of the breakpoint.
                if self.interrupt().reason == "signal-received" and thread != "0":
                    self.select_thread(thread)
            yield
        finally:
            # If GDB or the target has gone meanwhile, an exception already says so.
            if not self.running and not self._gone() and resume():
                self.resume()


def _blocks(command: str) -> bool:
    """Whether this MI command, if it lets the target run, keeps GDB from reading another until the stop."""
    return command.startswith("-interpreter-exec") and not command.rstrip('" ').endswith("&")
