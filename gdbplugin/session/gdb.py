"""GDB as a subprocess, spoken to by its machine interface.

The target runs asynchronously (`mi-async`), all cores stopping and starting together: so GDB answers while
the target runs, and can be told to interrupt it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gdbplugin import programs
from gdbplugin.session import mi, process
from gdbplugin.session.errors import (
    AttachError,
    CommandFailedError,
    EndedError,
    SessionError,
    ToolMissingError,
    WaitTimeoutError,
)
from gdbplugin.session.gdb_program import find_gdb, gdb_environment
from gdbplugin.session.mi import COMMAND_SECONDS, MiClient, Result, Stop
from gdbplugin.session.process import Pump
from gdbplugin.session.streams import escaped

CONNECT_SECONDS = 5.0
"""How long a gdbstub may take to answer when it is attached to."""
# How long an interrupted GDB may take to answer before it is ended.
_GIVE_UP_SECONDS = 12.0
_PATIENCE_SECONDS = 5.0
_SETTLE_SECONDS = 2.0
_TRAP_SECONDS = 0.1
_GRACE_SECONDS = 0.1
_AGAIN_SECONDS = 0.05
# Of a processor, for a GDB that is not waiting.
_WORKING = 0.1
# What GDB says of a peer that closes the connection, or does not speak the remote protocol.
_NO_STUB = ("disconnected", "closed", "reset by peer", "Broken pipe", "unexpectedly", "packet", "protocol")
# A command that does nothing: GDB answers it when those before it are over.
_NOTHING = "-gdb-show confirm"
_NO_PYTHON = '-interpreter-exec console "python pass"'
# A signal that raises KeyboardInterrupt in GDB's Python when that runs next. SIGINT does so only where Python
# runs already: where GDB waits for the target it stops that.
_END_PYTHON = signal.SIGUSR1
_SETTINGS = (
    "set confirm off",
    "set pagination off",
    "set debuginfod enabled off",
    # MI is read and written so, whatever the locale is.
    "set host-charset UTF-8",
    "set mi-async on",
    # A target that is not there is an error at once.
    "set tcp auto-retry off",
    f"python import signal; signal.signal({_END_PYTHON:d}, signal.default_int_handler)",
    # GDB 17 puts pictures before errors and warnings, of which others have never heard.
    "python import contextlib",
    "python with contextlib.suppress(gdb.error): gdb.execute('set style emoji off')",
)


class Gdb(MiClient):
    """A running GDB. Its process is gone after `close`."""

    _address = ""
    _may_trap = False

    @classmethod
    def start(
        cls,
        pump: Pump,
        *,
        elf: Path | None = None,
        plugin: Path | None = None,
        extra: Sequence[str] = (),
    ) -> Gdb:
        """Start GDB on an ELF, with the plugin; the user's own GDB settings are not read.

        Raises `ToolMissingError`, or a `SessionError` for a path that GDB cannot take. GDB reads the ELF
        while the caller goes on.
        """
        arguments = [find_gdb(), "--quiet", "--nx", "--interpreter=mi3"]
        for setting in _SETTINGS:
            arguments += ["-iex", setting]
        if plugin is not None:
            arguments += ["-x", str(plugin)]
        arguments += extra
        if elf is not None:
            if str(elf) != escaped(str(elf)):
                # It could name the file neither to the plugin nor to us.
                raise SessionError(f"{elf}: GDB takes only paths in UTF-8: rename the file, or copy it")
            arguments.append(str(elf))
        pipe = subprocess.PIPE
        child = process.start(arguments, stdin=pipe, stdout=pipe, stderr=pipe, environment=gdb_environment())
        return cls(child, pump)

    def mi(self, command: str, timeout: float = COMMAND_SECONDS) -> Result:
        """Send one MI command (`-data-read-memory-bytes ...`) and return its result.

        Raises `CommandFailedError` with GDB's own words, `WaitTimeoutError`, or `EndedError` if GDB dies.
        Where the time is up, and at Ctrl-C or another signal's exception, GDB is made to give up the command,
        so that the next one is answered; a GDB that does not within 12 s is ended.
        """
        self.changes += 1
        return self.ask(command, timeout)

    def ask(self, command: str, timeout: float = COMMAND_SECONDS) -> Result:
        """As `mi`, for a command of which it is known that it leaves the target as it is."""
        self._pump.drain()
        if self._in_foreground:
            raise SessionError("GDB reads no commands until the target stops: interrupt it first")
        with self._given_up(resume=self._running):
            token = self._send(command)
            self._console.clear()
            self._log.clear()
            self._blocking = token if _blocks(command) else None
            # GDB 18 has no result for a command of the CLI that has run the target to its stop by Python.
            end = self._send(_NOTHING) if self._blocking else None
            record = self._answer(token, timeout, f"GDB's answer to {command}", end)
        console = "".join(self._console)
        if record.message == "error":
            raise CommandFailedError(command, record.payload.get("msg") or "error", console)
        return Result(record.message, record.payload or {}, console, "".join(self._log))

    def execute(
        self,
        command: str,
        timeout: float = COMMAND_SECONDS,
        show: Callable[[str], None] | None = None,
    ) -> str:
        """Run a GDB command as typed at its prompt and return what it printed.

        One that sets the target running (`continue`, `step`) returns when the target has stopped again; a
        Ctrl-C meanwhile stops it, and so does the end of its time. `show` is given each piece of the output
        as it comes. Raises as `mi` does.
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
        return "".join(self._console)

    def _wait_for_end(self, command: str, timeout: float) -> None:
        """Wait for the rest of a command that set the target running: it may say more, run it again, or fail.

        GDB answers the next command only when it is over, and tells of a failure by a second result.
        """
        token = self._blocking
        self._awaited.add(token)
        with self._given_up(resume=False):
            self.wait_for_stop(timeout)
            self._answer(self._send(_NOTHING), timeout, f"the end of {command}")
        self._stops.clear()
        late = self._results.pop(token, None)
        self._awaited.discard(token)
        if late is not None and late.message == "error":
            raise CommandFailedError(command, late.payload.get("msg") or "error", "".join(self._console))

    @contextlib.contextmanager
    def _given_up(self, *, resume: bool) -> Iterator[None]:
        """Have GDB give up what it does when the `with` is left by an exception, so that it answers again.

        The exception says that the time is up, or is what a signal's handler raises: Ctrl-C, or that a test
        has taken too long. A target that had to be stopped for it stays so, unless `resume`.
        """
        try:
            yield
        except EndedError:
            raise
        except BaseException:
            # Results that nobody waits for any more are dropped as they come.
            self._awaited.clear()
            self._results.clear()
            if self._give_up():
                self._settle(resume)
            raise

    def _give_up(self) -> bool:
        """Interrupt GDB until it answers, and end it where it never does; returns whether that was needed."""
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        last = self._send(_NOTHING)
        # Where GDB is done already, an interrupt would be meant for the target.
        if self._has_answered(last, _GRACE_SECONDS):
            self._in_foreground = False
            return False
        while time.monotonic() < deadline:
            if self._has_answered_interrupt(last, deadline):
                # A signal that GDB, or its Python, has not yet seen would end the next command.
                self._has_answered(self._send(_NO_PYTHON), _GIVE_UP_SECONDS)
                self._in_foreground = False
                self._may_trap = True
                return True
        self._end(f"GDB did not answer for {_GIVE_UP_SECONDS:g} s")
        return True

    def _settle(self, resume: bool) -> None:
        """Bring the target to a stop that GDB knows of, and let it run again if `resume`."""
        if self._gone():
            return
        if self.running:
            try:
                self.interrupt(_SETTLE_SECONDS)
            except WaitTimeoutError:
                self._connect_anew()
        if resume and not self._gone():
            self.resume()

    def _connect_anew(self) -> None:
        """Connect once more to a target that has stopped without GDB's notice; end GDB where that fails.

        GDB 13 takes no notice of a stop where Ctrl-C ended the Python, or the step, that waited for it.
        """
        address = self._address
        try:
            self.ask("-target-disconnect", _PATIENCE_SECONDS)
            self.connect(address, _PATIENCE_SECONDS)
        except SessionError:
            self._end("GDB has lost track of its target")

    def _end(self, why: str) -> None:
        """End a GDB that is of no more use."""
        self._why_ended = f"{why}, and was ended"
        self._child.kill()
        self._has_answered(0, _PATIENCE_SECONDS)  # Until its end is seen here: no command has that token.

    def _has_answered_interrupt(self, token: int, deadline: float) -> bool:
        """Send an interrupt, and say whether the result of a command comes then, and before the deadline."""
        working = process.processor_seconds(self.pid)
        before = self._last_stop

        def has_stopped() -> bool:
            return self._last_stop is not before

        # To what GDB has started as well, as the terminal does: `shell`, `pipe`.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGINT)
        if self._has_answered(token, _AGAIN_SECONDS):
            return True
        # A GDB that steps may have lost it between two steps. One that waits for its target would take
        # another one for the wish to give the target up, so that has time.
        if process.processor_seconds(self.pid) - working <= _WORKING * _AGAIN_SECONDS and not has_stopped():
            patience = min(_PATIENCE_SECONDS, max(0.0, deadline - time.monotonic()))
            if self._has_answered(token, patience, has_stopped):
                return True
        if has_stopped():
            # It has ended one step of a loop in Python, which is in the next one already.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, _END_PYTHON)
        return False

    def connect(self, address: str, timeout: float = CONNECT_SECONDS) -> Result:
        """Attach to a gdbstub (`HOST:PORT` or a socket's path); the target is stopped then.

        As the first command, its result's `log` holds what GDB and the plugin complained of as they started.
        Raises `AttachError` where nobody answers as a gdbstub does within `timeout` seconds, or GDB cannot
        connect.
        """
        started = self._started()
        try:
            # Not quoted: GDB takes the rest of the line as it stands.
            result = self.mi(f"-target-select remote {address}", timeout)
        except WaitTimeoutError as error:
            # GDB itself would ask for half a minute. A stub that is taken lets others connect, and is silent.
            raise AttachError(
                f"no gdbstub answers at {address} within {timeout:g} s: another debugger is attached to it, "
                "or it is not a gdbstub"
            ) from error
        except CommandFailedError as error:
            reason = error.reason.removeprefix(f"{address}: ")
            raise AttachError(f"cannot attach to {address}: {_how_to_connect(reason)}") from error
        self._address = address
        self._running = False
        return replace(result, log=started.log + result.log)

    def _started(self) -> Result:
        """The result of a first command; raises `ToolMissingError` where this is no GDB that serves."""
        try:
            return self.ask(_NOTHING)  # It may still be reading the program.
        except EndedError as error:
            try:
                programs.try_gdb(self._program)
            except programs.UnfitError as problem:
                advice = f"install it with: {programs.GDB.advice}"
                raise ToolMissingError(f"GDB does not serve: {problem}; {advice}") from error
            raise

    def resume(self) -> None:
        """Let the target run."""
        self._stops.clear()
        self.mi("-exec-continue")
        if self._may_trap:
            self._may_trap = False
            self._pass_trap()

    def _pass_trap(self) -> None:
        """Let the target run on from the end of a step that was given up: QEMU tells of it only now."""
        with contextlib.suppress(WaitTimeoutError):
            stop = self.wait_for_stop(_TRAP_SECONDS)
            if stop.payload.get("signal-name") == "SIGTRAP":
                self.mi("-exec-continue")
            else:
                self._stops.insert(0, stop)

    def interrupt(self, timeout: float = COMMAND_SECONDS) -> Stop:
        """Stop the running target and return where it was stopped.

        It is asked for until it comes: while GDB steps, or sees to the condition of a breakpoint, what it
        sends is lost if the target stands still just then.
        """
        if self._in_foreground:
            self._give_up()
            self._settle(resume=False)
            return self.take_stop() or self._last_stop or Stop("", None)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.mi("-exec-interrupt")
            try:
                return self.wait_for_stop(_AGAIN_SECONDS)
            except WaitTimeoutError:
                continue
            except EndedError:
                raise
            except BaseException:
                # The stop is on its way, and would come in the middle of what is asked next.
                with contextlib.suppress(WaitTimeoutError):
                    self.wait_for_stop(_SETTLE_SECONDS)
                raise
        raise WaitTimeoutError(f"waited {timeout:g} s for the target to stop", self._pump.evidence())

    def selected_thread(self) -> str:
        """GDB's number of the thread, which is a core, that is selected; `0` for none."""
        return str(self.ask("-data-evaluate-expression $_thread").payload["value"])

    @contextlib.contextmanager
    def stopped(self, *, resume: bool) -> Iterator[None]:
        """Hold the target still in the `with`; afterwards it runs again if `resume`.

        The core that was selected stays so, whichever one the stub says that it has stopped.
        """
        try:
            if self.running:
                thread = "0" if self._in_foreground else self.selected_thread()
                # Where a breakpoint stopped it just then, its core is the one to look at.
                if self.interrupt().reason == "signal-received" and thread != "0":
                    self.ask(f"-thread-select {thread}")
            yield
        finally:
            # Where GDB or the target has gone meanwhile, what is on its way says so already.
            if resume and not self.running and not self._gone():
                self.resume()


def _how_to_connect(reason: str) -> str:
    """Why GDB could not connect, and what to do, where its own words do not say so."""
    reason = " ".join(reason.split()).rstrip(".")
    if "Connection refused" in reason:
        return f"{reason}: nothing listens there; QEMU opens a gdbstub with -s or -gdb"
    if any(word in reason for word in ("No such file", "not known", "cannot resolve", "Could not")):
        return f"{reason}: give HOST:PORT with a known host, or the path of a socket"
    if any(word in reason for word in _NO_STUB):
        return f"{reason}: it is not a gdbstub, or it serves another debugger"
    return reason


def _blocks(command: str) -> bool:
    """Whether GDB, if an MI command has set the target running, reads the next one only after the stop."""
    return command.startswith("-interpreter-exec") and not command.rstrip('" ').endswith("&")
