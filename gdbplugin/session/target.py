"""The stopped target as a session reads it: its machine, its symbols, and the objects decoded from them.

Objects are decoded in this process, by the functions that the plugin's commands use. Memory is read from the
guest's mapped RAM if there is any, else by GDB. GDB is asked by the plugin's own MI command
`-tinyos-machine`, which knows how to deal with each stub.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gdbplugin.aarch64.description import REGISTERS
from gdbplugin.aarch64.regime import TRANSLATION_REGISTERS
from gdbplugin.aarch64.registers import GENERAL_REGISTERS
from gdbplugin.aarch64.unwind import CallFrames
from gdbplugin.kernel.diagnostics import Diagnostics, History
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.physical_map import MemoryMap
from gdbplugin.kernel.target import CommandRun, StoredMemory, Symbols, Target
from gdbplugin.layout.code import CodeMap
from gdbplugin.layout.elf import ElfImage
from gdbplugin.layout.types import Layout, LayoutError
from gdbplugin.machine import (
    CachedMachine,
    Machine,
    MachineError,
    PhysicalReadError,
    UnreadableMemoryError,
)
from gdbplugin.session import mi
from gdbplugin.session.errors import (
    CommandFailedError,
    KernelUnusableError,
    ReadFailedError,
    WaitTimeoutError,
)
from gdbplugin.session.gdb import Gdb
from gdbplugin.session.kernel_file import KernelFile
from gdbplugin.session.mi import COMMAND_SECONDS
from gdbplugin.session.ram import MappedRam

# A query costs more than a register: the registers usually needed are read in one query, for all cores.
_USUAL_REGISTERS = (
    *TRANSLATION_REGISTERS,
    "ID_AA64MMFR1_EL1",
    "TCR2_EL1",
    "CNTFRQ_EL0",
    "CNTVCT_EL0",
    "CNTV_CVAL_EL0",
    "SP_EL0",
)
_OTHER_REGISTERS = ("PC", *(name for name in REGISTERS if name not in _USUAL_REGISTERS))
_TOGETHER = (_OTHER_REGISTERS, ("SP", *GENERAL_REGISTERS))


def _query(gdb: Gdb, name: str, *arguments: str) -> Any:
    """The plugin's answer to a query of `gdbplugin.debugger.symbols`. Raises a `SessionError`."""
    command = " ".join(["-tinyos-machine", name, *map(mi.quote, arguments)])
    try:
        return json.loads(gdb.ask(command).payload["json"])
    except CommandFailedError as error:
        raise ReadFailedError(error.reason) from error


class SessionMachine:
    """The machine at GDB's current stop; satisfies `gdbplugin.machine.Machine`. Valid for that stop only.

    Its methods also raise a `SessionError`.
    """

    def __init__(self, gdb: Gdb, ram: MappedRam | None) -> None:
        self._gdb = gdb
        self._ram = ram
        self._registers: dict[tuple[str, int], int | None] = {}
        state = _query(gdb, "state", *_USUAL_REGISTERS)
        self._cores: tuple[int, ...] = tuple(state["cores"])
        self._keep(state["registers"])
        self.selected_core: int = state["selected"]
        """The core whose thread is selected in GDB."""

    @property
    def cores(self) -> Sequence[int]:
        """The numbers of the cores."""
        return self._cores

    def read_physical(self, address: int, length: int) -> bytes:
        """Memory by its physical address, from the mapped RAM where it has it."""
        if self._ram is not None and address >= 0 and address + length <= self._ram.size:
            return self._ram.read(address, length)
        found = _query(self._gdb, "physical", hex(address), str(length))
        if "contents" not in found:
            kind = UnreadableMemoryError if found["unreadable"] else PhysicalReadError
            raise kind(address, length, found["lack"])
        return bytes.fromhex(found["contents"])

    def register(self, name: str, core: int) -> int | None:
        """A register of a core. The first of the less usual ones reads all of them."""
        if core not in self._cores:
            return None
        if (name, core) not in self._registers:
            together = next((names for names in _TOGETHER if name in names), (name,))
            self._keep(_query(self._gdb, "registers", *together))
        return self._registers[name, core]

    def _keep(self, values_by_core: list[dict[str, int | None]]) -> None:
        for core, values in zip(self._cores, values_by_core, strict=True):
            self._registers.update({(name, core): value for name, value in values.items()})


class SessionSymbols:
    """The symbols of the kernel's file, as GDB knows them; satisfies `gdbplugin.kernel.target.Symbols`.

    They are the same at every stop, so each is looked up once.
    """

    def __init__(self, gdb: Gdb) -> None:
        self._gdb = gdb
        self._addresses: dict[str, int | None] = {}
        self._names: dict[int, str | None] = {}

    def address(self, name: str) -> int | None:
        """The address of a symbol; None if it does not exist."""
        if name not in self._addresses:
            self._addresses.update(_query(self._gdb, "symbol-addresses", name))
        return self._addresses[name]

    def name(self, address: int) -> str | None:
        """The symbol at an address, with the offset into it; None if there is none."""
        if address not in self._names:
            self._names[address] = _query(self._gdb, "symbol-name", hex(address))
        return self._names[address]

    def sections(self) -> Sequence[tuple[int, int, str]]:
        """The sections of the file: start, exclusive end, name."""
        return [(start, end, name) for start, end, name in _query(self._gdb, "sections")]


class SessionTarget(Target):
    """The stopped machine and the kernel in it, for one call of the library."""

    def __init__(self, reader: Reader, machine: Machine, core: int) -> None:
        diagnostics = Diagnostics()
        super().__init__(machine, core, diagnostics, lambda: reader.kernel(self.machine, diagnostics))
        self._reader = reader
        self._command_seconds, self._until_interrupted = COMMAND_SECONDS, False

    @property
    def symbols(self) -> Symbols:
        """The symbols of the kernel's file."""
        return self._reader.symbols

    @property
    def code(self) -> CodeMap | None:
        """The functions and lines of the kernel's file."""
        return self._reader.file.code

    @property
    def call_frames(self) -> CallFrames | None:
        """The call frame information of the kernel's file."""
        return self._reader.file.call_frames

    @property
    def how_to_keep_stops(self) -> str:
        """What keeps stops in the library."""
        return "`moment()` and `diff()` keep the stop at which they are called"

    def program(self) -> tuple[ElfImage, Layout]:
        """The kernel's file, as `Target` says."""
        try:
            return self._reader.file.image, self._reader.file.layout
        except KernelUnusableError as error:
            raise MachineError(error.message) from error

    def recording_path(self) -> str:
        """The session's recording, as `Target` says."""
        return self._reader.recording or super().recording_path()

    def travel(self, bring: Callable[[Callable[[str], None]], None]) -> Machine:
        """Let the machine be brought to another moment, as `Target` says."""
        try:
            bring(lambda _: None)
        finally:
            self._machine, self._kernel = self._reader.moved(), None
        return self._machine

    @property
    def memory_map(self) -> MemoryMap:
        """QEMU's map of physical memory, as `Target` says."""
        return self._reader.memory_map

    def stored_memory(self) -> StoredMemory | None:
        """The mapped RAM, or the dump, as `Target` says."""
        return self._reader.stored_memory()

    def limit_commands(self, seconds: float, until_interrupted: bool) -> None:
        """Set when the machine is stopped that a command lets run: after so many seconds, and by Ctrl-C."""
        self._command_seconds, self._until_interrupted = seconds, until_interrupted

    def run_command(self, command: str) -> CommandRun:
        """Carry out a command of GDB, as `Target` says, within the limits of `limit_commands`."""
        output, error = "", None
        try:
            output = self._reader.gdb.execute(command, self._command_seconds)
        except CommandFailedError as failed:
            output, error = failed.output, failed.reason
        except WaitTimeoutError as failed:
            output, error = self._reader.gdb.printed, failed.message
        except KeyboardInterrupt:
            if not self._until_interrupted:
                raise
            output, error = self._reader.gdb.printed, "interrupted by Ctrl-C"
        if self._reader.gdb.running:
            raise MachineError(f"the machine still runs after `{command}`")
        self._machine, self._core = self._reader.again()
        self._kernel = self._reason = None
        return CommandRun(output, error)

    def disassemble(self, core: int, address: int, word: int) -> str | None:
        """The instruction `word` at a virtual address as text, by GDB."""
        text: str | None = _query(self._reader.gdb, "disassembled", str(core), hex(address), hex(word))
        return text

    def _evaluate(self, expression: str) -> int:
        value: int = _query(self._reader.gdb, "address", expression)
        return value


class Reader:
    """Makes the targets of a session, and keeps what was read until it may have changed."""

    def __init__(
        self,
        gdb: Gdb,
        kernel: KernelFile,
        ram: MappedRam | None,
        recording: str = "",
        stored_memory: Callable[[], StoredMemory | None] = lambda: None,
    ) -> None:
        self.gdb = gdb
        self.stored_memory = stored_memory
        """Opens all of the memory as a file; returns None if that is not possible."""
        self.recording = recording
        """The file of the recording; empty without one."""
        self.symbols = SessionSymbols(gdb)
        self.file = kernel
        self._ram = ram
        self._history = History()
        self._runs = gdb.runs
        self._changes = -1
        self._source: SessionMachine | None = None
        self._machine: Machine | None = None
        self._decoded: dict[str, Any] = {}
        self._memory_map: MemoryMap | None = None

    @property
    def memory_map(self) -> MemoryMap:
        """QEMU's map of physical memory, asked once: it does not change."""
        if self._memory_map is None:
            self._memory_map = MemoryMap.of_rows(_query(self.gdb, "memory-map"))
        return self._memory_map

    @contextlib.contextmanager
    def target(self) -> Iterator[SessionTarget]:
        """The target now. A `MachineError` or `LayoutError` in the `with` becomes a `ReadFailedError`."""
        self._note_runs()
        try:
            if self._source is None or self._machine is None or self._changes != self.gdb.changes:
                self._source, self._machine = self._read_state()
            yield SessionTarget(self, self._machine, self._source.selected_core)
        except (MachineError, LayoutError) as error:
            raise ReadFailedError(str(error)) from error

    def _note_runs(self) -> None:
        """Tell the history if the target has run."""
        if self.gdb.runs != self._runs:
            self._history.ran()
            self._runs = self.gdb.runs

    def _read_state(self) -> tuple[SessionMachine, Machine]:
        source = SessionMachine(self.gdb, self._ram)
        self._decoded = {}
        self._changes = self.gdb.changes
        # No cache over mapped RAM: it is as fast itself, and the source keeps the registers.
        return source, CachedMachine(source) if self._ram is None else source

    def again(self) -> tuple[Machine, int]:
        """The machine and the selected core, after GDB has carried out a command."""
        self._note_runs()
        self._source, self._machine = self._read_state()
        return self._machine, self._source.selected_core

    def moved(self) -> Machine:
        """The machine is at another moment: forget what was read, also in GDB. Returns it as it is there."""
        _query(self.gdb, "moved")
        self._source, self._machine = self._read_state()
        self._history.ran()
        return self._machine

    def kernel(self, machine: Machine, diagnostics: Diagnostics) -> Kernel:
        """TinyOS on a machine; raises a `MachineError` if it runs another kernel."""
        try:
            return Kernel(machine, self.file.layout, diagnostics, self._history, self._decoded)
        except KernelUnusableError as error:
            # A `MachineError`, so that what does not need TinyOS still works.
            raise MachineError(error.message) from error
