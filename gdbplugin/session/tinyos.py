"""TinyOS in QEMU, its console and a GDB with the plugin: one session."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gdbplugin.session import mi
from gdbplugin.session.attachment import Attachment
from gdbplugin.session.breakpoints import Breakpoints
from gdbplugin.session.console import Console
from gdbplugin.session.directory import ANSWER
from gdbplugin.session.errors import (
    AttachError,
    CommandFailedError,
    EndedError,
    ReadFailedError,
    SessionError,
    WaitTimeoutError,
)
from gdbplugin.session.gdb import CONNECT_SECONDS, Gdb
from gdbplugin.session.gdb_program import PLUGIN
from gdbplugin.session.kernel_file import KernelFile, default_kernel
from gdbplugin.session.mi import Result, Stop
from gdbplugin.session.objects import Objects
from gdbplugin.session.process import Pump
from gdbplugin.session.qemu import Qemu, QemuOptions
from gdbplugin.session.target import Reader, SessionTarget
from gdbplugin.session.watch import Watch

_BOOT_SECONDS = 30.0
_COMMAND_SECONDS = 20.0
# Not a bare "|": an expression may have that.
_PIPE = "|to-a-shell|"
# What QEMU's sockets tell at once, its exit status may tell a little later.
_END_SECONDS = 0.5
_LOOK_SECONDS = 0.005


class TinyOS(Objects, Breakpoints):
    """A session. It runs unless stopped; QEMU and GDB are gone after `close`, or the `with`.

    GDB is started when it is first asked for something: a session that only types at the kernel's console
    does not wait for it.
    """

    def __init__(
        self, host: Qemu | Attachment, kernel: KernelFile, pump: Pump, *, plugin: Path | None
    ) -> None:
        self.kernel = kernel
        self.pump = pump
        """What reads everything that QEMU, GDB and the console say."""
        self._host = host
        self._plugin = plugin
        self._console = None
        if isinstance(host, Qemu):
            self._console = Console(host.console, pump, host.end_error, host.early_output)
            host.pump = pump
        self._debugger: Gdb | None = None
        self._reader: Reader | None = None
        self._runs_without_gdb = True
        self.debugger_complaints = ""
        """What GDB and the plugin wrote to standard error as they started."""
        self.on_failure: Callable[[BaseException], None] | None = None
        """Given an exception that leaves a `stopped`, before the target runs on: to look at what was seen."""

    @classmethod
    def boot(
        cls,
        elf: str | os.PathLike[str] | None = None,
        *,
        options: QemuOptions | None = None,
        plugin: Path | None = PLUGIN,
        timeout: float = _BOOT_SECONDS,
        manager: str = "",
    ) -> TinyOS:
        """Boot `elf`, or `options.kernel` with `elf`'s symbols, and wait for the kernel's prompt.

        Without `elf`, the one that $TINYOS_KERNEL names, or that scripts/build leaves in the checkout. With
        `options.paused` it does not run, and no prompt is waited for. Another kernel of TinyOS's design need
        not have that prompt: its memory manager is waited for, where the guest's RAM is mapped. `manager` is
        that one's path, where several statics might be it. Raises a `SessionError`.
        """
        kernel = KernelFile.open(Path(elf) if elf is not None else default_kernel(), manager)
        options = options or QemuOptions(kernel=kernel.path)
        qemu = Qemu.start(options)
        pump = Pump()
        session = cls(qemu, kernel, pump, plugin=plugin)
        try:
            pump.add_source("QEMU", qemu.log)
            session._runs_without_gdb = not options.paused
            if not options.paused:
                session._wait_until_up(timeout)
        except BaseException:
            session.close()
            raise
        return session

    @classmethod
    def attach(
        cls,
        address: str,
        elf: str | os.PathLike[str] | None = None,
        *,
        plugin: Path | None = PLUGIN,
        timeout: float = CONNECT_SECONDS,
        manager: str = "",
    ) -> TinyOS:
        """Attach to a gdbstub that is there already: `HOST:PORT`, or a socket's path.

        It is given `timeout` seconds to answer: one that another debugger holds never does.

        `elf` is what it runs; without it as for `boot`. As whenever a debugger attaches, the target is
        stopped then: `resume` lets it run. It runs on after `close`. `manager` is as for `boot`. Raises a
        `SessionError`.
        """
        kernel = KernelFile.open(Path(elf) if elf is not None else default_kernel(), manager)
        session = cls(Attachment(address), kernel, Pump(), plugin=plugin)
        try:
            session._debugger = session._attach(timeout)
        except BaseException:
            session.close()
            raise
        return session

    @property
    def is_attached(self) -> bool:
        """Whether the machine is another's: then there is neither a `qemu` nor a `console` here."""
        return isinstance(self._host, Attachment)

    @property
    def has_debugger(self) -> bool:
        """Whether GDB has been started for something by now; a gdbstub has room for one."""
        return self._debugger is not None

    @property
    def address(self) -> str:
        """Where the gdbstub is, as GDB's `target remote` takes it."""
        return self._host.gdb_address

    @property
    def qemu(self) -> Qemu:
        """The QEMU that was booted; raises `SessionError` in an attached session."""
        if isinstance(self._host, Attachment):
            raise SessionError(f"this session has no QEMU of its own: it was attached to {self.address}")
        return self._host

    @property
    def console(self) -> Console:
        """The kernel's serial line; raises `SessionError` in an attached session."""
        if self._console is None:
            raise SessionError(
                f"this session has no console: it was attached to {self.address}; boot one, or type there"
            )
        return self._console

    @property
    def debugger(self) -> Gdb:
        """GDB, attached. The first use starts it, checks that the ELF is what runs, and lets it run on."""
        if self._debugger is None:
            self._debugger = self._attach()
            if self._runs_without_gdb:
                self._debugger.resume()
        return self._debugger

    @property
    def running(self) -> bool:
        """Whether the target runs."""
        return self._runs_without_gdb if self._debugger is None else self._debugger.running

    @property
    def last_stop(self) -> Stop | None:
        """Where the target stopped last; None while it runs, and where it was never stopped."""
        return None if self._debugger is None else self._debugger.last_stop

    @property
    def lost(self) -> EndedError | None:
        """How QEMU or GDB ended, if one of them has; waits for nothing."""
        if self._host.has_ended():
            return self._host.end_error()
        return None if self._debugger is None else self._debugger.ended

    def resume(self) -> None:
        """Let the target run; nothing where it does already."""
        with self.explained():
            if not self.running:
                self._with_gdb().resume()

    def interrupt(self, timeout: float = _COMMAND_SECONDS) -> Stop:
        """Stop the target, if it runs, and return where it stands."""
        with self.explained():
            gdb = self._with_gdb()
            if gdb.running:
                return gdb.interrupt(timeout)
            return gdb.last_stop or Stop("", None)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[Gdb]:
        """Hold the target still in the `with`; it runs again afterwards only if it ran before."""
        with self.explained():
            was_running = self.running
            gdb = self._with_gdb()
            self._require_machine()
            with gdb.stopped(resume=was_running):
                try:
                    yield gdb
                except BaseException as error:
                    if self.on_failure is not None:
                        self.on_failure(error)
                    raise

    def shell(self, command: str, timeout: float = 10.0) -> str:
        """Type a command on the kernel's own console and return its answer.

        Raises `SessionError` at once where the target is stopped, and so cannot answer.
        """
        console = self.console
        if not self.kernel.is_ours:
            raise SessionError("this kernel does not have TinyOS's shell: use console, its serial line")
        if not self.running:
            self._require_machine()
            raise SessionError(
                f"the kernel cannot answer {command!r}, as the target is stopped: resume it first"
            )
        return console.command(command, timeout)

    def gdb(
        self,
        command: str,
        timeout: float = _COMMAND_SECONDS,
        show: Callable[[str], None] | None = None,
    ) -> str:
        """What GDB prints for a command; `show` is given each piece of it as it comes."""
        with self.explained():
            return self.debugger.execute(command, timeout, show)

    def mi(self, command: str, timeout: float = _COMMAND_SECONDS) -> Result:
        """GDB's result for an MI command."""
        with self.explained():
            return self.debugger.mi(command, timeout)

    def json(self, command: str, timeout: float = _COMMAND_SECONDS) -> Any:
        """The object that one of the plugin's commands prints as JSON: `json("report")`.

        The target is held still for it. Through a file: GDB writes what a command prints to its machine
        interface with a system call for each character, which took 14 s for 33,000 lazy pages.
        """
        answer = self._host.directory / ANSWER
        with self.stopped() as gdb:
            writer = f"cat >{shlex.quote(str(answer))}"
            try:
                gdb.execute(f"pipe -d {_PIPE} tinyos {command} --json {_PIPE} {writer}", timeout)
            except CommandFailedError as error:
                raise CommandFailedError(f"tinyos {command}", error.reason, error.output) from error
        return json.loads(mi.piped(answer.read_bytes()))

    def watch(self, *, events: int = 256) -> Watch:
        """Snapshots of the kernel while it runs, `events` of the newest events in each; no stop, no packet.

        They are of the guest's mapped RAM. Raises `SessionError` where there is no such RAM.
        """
        ram = self._host.ram
        if ram is None:
            raise SessionError(
                f"a running kernel can be watched only by its mapped RAM: {self._host.no_ram_reason}"
            )
        host = self._host
        return Watch(
            ram,
            self.kernel.image,
            self.kernel.layout,
            events=events,
            lost=lambda: host.end_error() if host.has_ended() else None,
            is_stopped=lambda: not self.running,
        )

    def detach(self) -> None:
        """End GDB and let the target run, so that another debugger may attach."""
        gdb, self._debugger, self._reader = self._debugger, None, None
        if gdb is None:
            return
        self._runs_without_gdb = True
        try:
            # There may be nothing left to let go of.
            with contextlib.suppress(SessionError), gdb.stopped(resume=False):
                gdb.mi("-target-detach")
        finally:
            gdb.close()

    def close(self) -> None:
        """End GDB and QEMU; a target that was attached to runs on. A second call does nothing."""
        with contextlib.ExitStack() as ending:
            ending.callback(self.pump.close)
            ending.callback(self._host.close)
            if self._console is not None:
                ending.callback(self._console.close)
            if self._debugger is not None:
                ending.callback(self._debugger.close)
            if self.is_attached:
                ending.callback(self.detach)

    def __enter__(self) -> TinyOS:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_until_up(self, timeout: float) -> None:
        """Until the kernel's shell prompts, or, of a kernel without that shell, its manager is there."""
        if self.kernel.is_ours:
            self.console.wait_for_prompt(timeout)
            return
        ram, deadline = self._host.ram, time.monotonic() + timeout
        while ram is not None and not self.kernel.is_set_up(ram):
            self.pump.drain()
            if self._host.has_ended():
                raise self._host.end_error()
            if time.monotonic() >= deadline:
                said = f"waited {timeout:g} s for the kernel to set up its memory manager"
                raise WaitTimeoutError(said, self.pump.evidence())
            time.sleep(_LOOK_SECONDS)

    def _require_machine(self) -> None:
        """Raise the error that says how the machine ended, where GDB has lost it."""
        if self._debugger is not None and self._debugger.is_disconnected:
            raise self._host.end_error()

    def _with_gdb(self) -> Gdb:
        """GDB, attached; where it was not before, the target is stopped now."""
        if self._debugger is None:
            self._debugger = self._attach()
        return self._debugger

    def _attach(self, timeout: float = CONNECT_SECONDS) -> Gdb:
        gdb = Gdb.start(self.pump, elf=self.kernel.path, plugin=self._plugin)
        gdb.machine_has_ended = self._host.has_ended
        try:
            self.debugger_complaints = gdb.connect(self.address, timeout).log
            self.kernel.require_running(gdb)
            if self.kernel.manager and self._plugin is not None:
                gdb.execute(f"set tinyos manager {self.kernel.manager}")
        except BaseException:
            gdb.close()
            raise
        return gdb

    @contextlib.contextmanager
    def reading(self) -> Iterator[SessionTarget]:
        """What the methods that return objects read from; the target is held still for the `with`."""
        with self.stopped() as gdb:
            if self._reader is None:
                self._reader = Reader(gdb, self.kernel, self._host.ram)
            with self._reader.target() as target:
                yield target

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """What fails because QEMU or GDB has died says just that."""
        try:
            yield
        except (AttachError, CommandFailedError, EndedError, ReadFailedError) as error:
            gdb = self._debugger
            is_disconnected = gdb is not None and gdb.is_disconnected
            # A target that can neither be resumed nor interrupted is one that GDB may not have told of yet.
            is_doubtful = isinstance(error, CommandFailedError) and error.command.startswith("-exec-")
            if self._host.has_ended(_END_SECONDS if is_disconnected or is_doubtful else 0) or is_disconnected:
                raise self._host.end_error() from error
            raise
