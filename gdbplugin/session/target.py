"""What the library reads from: the machine that a session's GDB is stopped at.

Its objects are decoded in this process, by the functions that the plugin's commands use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gdbplugin.kernel.history import History
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.target import Symbols, Target
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import CachedMachine, Machine, MachineError
from gdbplugin.session.errors import KernelUnusableError, ReadFailedError
from gdbplugin.session.gdb import Gdb
from gdbplugin.session.kernel_file import KernelFile
from gdbplugin.session.machine import SessionMachine, SessionSymbols, ask
from gdbplugin.session.ram import MappedRam


class SessionTarget(Target):
    """The stopped machine, for one call of the library."""

    def __init__(self, reader: Reader, machine: Machine, core: int, decoded: dict[str, Any]) -> None:
        journal = Journal()
        super().__init__(machine, core, journal, lambda: reader.kernel(machine, journal, decoded))
        self._reader = reader

    @property
    def symbols(self) -> Symbols:
        """The names of the kernel's file."""
        return self._reader.symbols

    def disassemble(self, core: int, address: int, word: int) -> str | None:
        """The text of the instruction `word` at a virtual address, by GDB."""
        text: str | None = ask(self._reader.gdb, "disassembled", str(core), hex(address), hex(word))
        return text

    def _evaluate(self, expression: str) -> int:
        value: int = ask(self._reader.gdb, "address", expression)
        return value


class Reader:
    """Makes the targets of a session; keeps what was read until that may have changed."""

    def __init__(self, gdb: Gdb, kernel: KernelFile, ram: MappedRam | None) -> None:
        self.gdb = gdb
        self.symbols = SessionSymbols(gdb)
        self._file = kernel
        self._ram = ram
        self._history = History()
        self._runs = gdb.runs
        self._changes = -1
        self._source: SessionMachine | None = None
        self._machine: Machine | None = None
        self._decoded: dict[str, Any] = {}

    @contextlib.contextmanager
    def target(self) -> Iterator[SessionTarget]:
        """The target now; what goes wrong in the `with` is raised as a `ReadFailedError`."""
        gdb = self.gdb
        if gdb.runs != self._runs:
            self._history.ran()
            self._runs = gdb.runs
        try:
            if self._source is None or self._machine is None or self._changes != gdb.changes:
                self._source = SessionMachine(gdb, self._ram)
                # Mapped RAM is read as fast as a cache, and the source keeps the registers itself.
                self._machine = CachedMachine(self._source) if self._ram is None else self._source
                self._decoded = {}
                self._changes = gdb.changes
            yield SessionTarget(self, self._machine, self._source.selected_core, self._decoded)
        except (MachineError, LayoutError) as error:
            raise ReadFailedError(str(error)) from error

    def kernel(self, machine: Machine, journal: Journal, decoded: dict[str, Any]) -> Kernel:
        """TinyOS on a machine; raises a `MachineError` where it is another kernel."""
        try:
            return Kernel(machine, self._file.layout, journal, self._history, decoded)
        except KernelUnusableError as error:
            # So that what does not need TinyOS goes on without it.
            raise MachineError(error.message) from error
