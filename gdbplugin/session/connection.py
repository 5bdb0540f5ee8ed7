"""A session's connection to its machine: starts GDB on first use, stops the target and lets it run."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from gdbplugin.dump.core_file import DumpError
from gdbplugin.dump.foreign import difference_from, given_registers, open_dump, stored_memory
from gdbplugin.dump.machine import DumpMachine
from gdbplugin.kernel.target import StoredMemory
from gdbplugin.machine import MachineError, SelectionError
from gdbplugin.programs import (
    BEGUN_VARIABLE,
    CONSOLE_VARIABLE,
    RAM_VARIABLE,
    RECORDED_VARIABLE,
    RECORDING_VARIABLE,
)
from gdbplugin.recording.ring import Recording
from gdbplugin.session import begun
from gdbplugin.session import directory as names
from gdbplugin.session.directory import private_directory
from gdbplugin.session.errors import (
    AttachError,
    CommandFailedError,
    EndedError,
    KernelUnusableError,
    ReadFailedError,
    SessionError,
)
from gdbplugin.session.gdb import CONNECT_SECONDS, Gdb
from gdbplugin.session.kernel_file import KernelFile
from gdbplugin.session.mi import COMMAND_SECONDS, Stop
from gdbplugin.session.process import Pump
from gdbplugin.session.qemu import Qemu
from gdbplugin.session.target import Reader, SessionTarget

# QEMU's exit status may come a little later than the end of its connections.
_END_SECONDS = 0.5


class RemoteTarget:
    """A machine that this session did not start: all it has is the address of its gdbstub.

    Takes the place of a `Qemu`.
    """

    ram = None
    gdb_settings: tuple[str, ...] = ()

    def __init__(self, address: str) -> None:
        self.gdb_address = address
        self.no_ram_reason = f"this session is attached to {address}, and has no access to its RAM"
        self._resources = contextlib.ExitStack()

    @property
    def files(self) -> Mapping[str, str]:
        """What another process's session has beside its gdbstub's socket, as `Qemu.files`."""
        stub = Path(self.gdb_address)
        if stub.name != names.GDB or not stub.is_socket():
            return {}
        log, recording = stub.with_name(names.CONSOLE_LOG), stub.with_name(names.RECORDING)
        found = {CONSOLE_VARIABLE: str(log)} if log.exists() else {}
        if recording.exists():
            found |= {RECORDING_VARIABLE: str(recording), RECORDED_VARIABLE: self.gdb_address}
        return found

    def begun(self, kernel: KernelFile) -> str:
        """The Python that begins such a session."""
        return begun.attached(self.gdb_address, kernel)

    @functools.cached_property
    def directory(self) -> Path:
        """A private directory, made on first use."""
        return self._resources.enter_context(private_directory())

    def has_ended(self, within: float = 0.0) -> bool:
        """False: only GDB's connection can tell."""
        del within
        return False

    def end_error(self) -> EndedError:
        """The error for a lost connection."""
        return EndedError(f"the connection to {self.gdb_address} was lost")

    def close(self) -> None:
        """Remove the directory; a second call does nothing."""
        self._resources.close()


def registers_in(settings: Sequence[str]) -> dict[str, int]:
    """The registers in words `NAME=VALUE`; raises `SessionError`."""
    try:
        return given_registers(settings)
    except SelectionError as error:
        raise SessionError(str(error)) from error


class DumpFile(RemoteTarget):
    """A dump, which GDB opens in place of a machine."""

    def __init__(self, path: Path, registers: Mapping[str, int], kernel: KernelFile) -> None:
        """`registers` are those that the dump lacks. Raises `SessionError` if it is no dump."""
        super().__init__(str(path))
        self.path = path
        self.registers = registers
        self.no_ram_reason = f"{path} is a dump"
        try:
            program = kernel.image, kernel.layout
        except KernelUnusableError:
            program = None
        try:
            self.opened, self._file = open_dump(path, registers, program)
        except (DumpError, MachineError) as error:
            raise SessionError(str(error)) from error
        self.place = path if self._file is None else Path(f"/proc/{os.getpid()}/fd/{self._file.fileno()}")
        """The file for GDB: an unnamed one if the dump was converted."""

    def begun(self, kernel: KernelFile) -> str:
        """The Python that begins such a session."""
        return begun.opened(self.path, self.registers, kernel)

    def close(self) -> None:
        """Close the file, and remove the directory; a second call does nothing."""
        super().close()
        if self._file is not None:
            self._file.close()

    def require_running(self, kernel: KernelFile) -> None:
        """Raise `KernelUnusableError` if it is of another kernel, or `SessionError` if it is damaged."""
        try:
            machine = DumpMachine(self.place)
        except DumpError as error:
            raise SessionError(str(error)) from error
        difference = difference_from(kernel.image, machine)
        machine.file.close()
        if difference:
            raise KernelUnusableError(difference)


class Connection:
    """GDB and the machine it is attached to. GDB is started when it is first needed.

    `TinyOS` adds the library's methods. They are two classes because one file would have more than 400 lines.
    """

    def __init__(
        self, host: Qemu | RemoteTarget, kernel: KernelFile, pump: Pump, *, plugin: Path | None
    ) -> None:
        self.kernel = kernel
        self.pump = pump
        """Reads everything that QEMU, GDB and the console write."""
        self.debugger_complaints = ""
        """What GDB and the plugin wrote to standard error as they started."""
        self.on_failure: Callable[[BaseException], None] | None = None
        """Called with an exception that leaves a `stopped`, before the target runs on: to save evidence."""
        self._host = host
        self._plugin = plugin
        self._debugger: Gdb | None = None
        self._reader: Reader | None = None
        self._runs_without_gdb = True

    @property
    def is_attached(self) -> bool:
        """Whether the session did not start the machine: then it has neither a `qemu` nor a `console`."""
        return isinstance(self._host, RemoteTarget)

    @property
    def has_debugger(self) -> bool:
        """Whether GDB has been started; a gdbstub serves one debugger at a time."""
        return self._debugger is not None

    @property
    def address(self) -> str:
        """The gdbstub's address, as GDB's `target remote` takes it."""
        return self._host.gdb_address

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
        """The target's latest stop; None while it runs, and if GDB has never stopped it."""
        return None if self._debugger is None else self._debugger.last_stop

    @property
    def ended(self) -> EndedError | None:
        """How QEMU or GDB ended, if one of them has; does not wait."""
        if self._host.has_ended():
            return self._host.end_error()
        return None if self._debugger is None else self._debugger.ended

    @property
    def is_in_the_past(self) -> bool:
        """Whether the machine has gone back, to before the latest moment that is recorded."""
        path = self._host.files.get(RECORDING_VARIABLE)
        if not path:
            return False
        with contextlib.closing(Recording(path)) as recording:
            return recording.is_past and recording.instructions[0] < recording.header.end

    def resume(self) -> None:
        """Let the target run, unless it runs already."""
        if isinstance(self._host, DumpFile):
            raise SessionError(f"{self._host.path} is a dump, which does not run")
        with self.translated_errors():
            if not self.running:
                self._with_gdb().resume()

    def interrupt(self, timeout: float = COMMAND_SECONDS) -> Stop:
        """Stop the target, if it runs, and return its latest stop."""
        with self.translated_errors():
            gdb = self._with_gdb()
            if gdb.running:
                return gdb.interrupt(timeout)
            return gdb.last_stop or Stop("", None)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[Gdb]:
        """Keep the target stopped in the `with`; afterwards it runs again only if it ran before.

        It stays stopped if it has gone back to a moment before the latest.
        """
        with self.translated_errors():
            was_running = self.running
            gdb = self._with_gdb()
            self._require_machine()
            with gdb.stopped(resume=lambda: was_running and not self.is_in_the_past):
                try:
                    yield gdb
                except BaseException as error:
                    if self.on_failure is not None:
                        self.on_failure(error)
                    raise

    @contextlib.contextmanager
    def stopped_target(self) -> Iterator[SessionTarget]:
        """The target to read objects from, kept stopped in the `with`."""
        with self.stopped() as gdb:
            if self._reader is None:
                recording = self._host.files.get(RECORDING_VARIABLE, "")
                self._reader = Reader(gdb, self.kernel, self._host.ram, recording, self._stored_memory)
            with self._reader.target() as target:
                yield target

    def _stored_memory(self) -> StoredMemory | None:
        """The dump, or the RAM shared with QEMU, opened as a file; None without."""
        host = self._host
        core = host.place if isinstance(host, DumpFile) else None
        return stored_memory(core, host.files.get(RAM_VARIABLE))

    @contextlib.contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Raise an error in the `with` as the `EndedError` that caused it, if QEMU or GDB has died."""
        try:
            yield
        except (AttachError, CommandFailedError, EndedError, ReadFailedError) as error:
            gdb = self._debugger
            is_disconnected = gdb is not None and gdb.is_disconnected
            # If the target can be neither resumed nor interrupted, GDB may not have reported its end yet.
            is_doubtful = isinstance(error, CommandFailedError) and error.command.startswith("-exec-")
            if self._host.has_ended(_END_SECONDS if is_disconnected or is_doubtful else 0) or is_disconnected:
                raise self._host.end_error() from error
            raise

    def detach(self) -> None:
        """End GDB and let the target run, so that another debugger can attach."""
        gdb, self._debugger, self._reader = self._debugger, None, None
        if gdb is None:
            return
        self._runs_without_gdb = True
        try:
            # The target may be gone already.
            with contextlib.suppress(SessionError), gdb.stopped(resume=lambda: False):
                gdb.mi("-target-detach")
        finally:
            gdb.close()

    def close(self) -> None:
        """End GDB and QEMU; a machine that the session is attached to runs on. A second call does nothing."""
        with contextlib.ExitStack() as ending:
            ending.callback(self.pump.close)
            ending.callback(self._host.close)
            if self._debugger is not None:
                ending.callback(self._debugger.close)
            if self.is_attached:
                ending.callback(self.detach)

    def _require_machine(self) -> None:
        """Raise the error that says how the machine ended, if GDB has lost it."""
        if self._debugger is not None and self._debugger.is_disconnected:
            raise self._host.end_error()

    def _with_gdb(self) -> Gdb:
        """GDB, attached. Starting it stops the target."""
        if self._debugger is None:
            self._debugger = self._attach()
        return self._debugger

    def _attach(self, timeout: float = CONNECT_SECONDS) -> Gdb:
        environment = {**self._host.files, BEGUN_VARIABLE: self._host.begun(self.kernel)}
        gdb = Gdb.start(self.pump, elf=self.kernel.path, plugin=self._plugin, environment=environment)
        gdb.machine_has_ended = self._host.has_ended
        try:
            if isinstance(self._host, DumpFile):
                self._host.require_running(self.kernel)
                self.debugger_complaints = gdb.open_core(self._host.place).log
            else:
                self.debugger_complaints = gdb.connect(self.address, timeout).log
                self.kernel.require_running(gdb)
                for setting in self._host.gdb_settings:
                    gdb.execute(setting)
            if self.kernel.manager and self._plugin is not None:
                gdb.execute(f"set tinyos manager {self.kernel.manager}")
        except BaseException:
            gdb.close()
            raise
        return gdb
