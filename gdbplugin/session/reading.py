"""Objects of the stopped kernel, decoded in this process by the functions that the plugin's commands use."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from gdbplugin.kernel.history import History
from gdbplugin.kernel.journal import Journal, Noticed
from gdbplugin.kernel.stopped import Stopped
from gdbplugin.kernel.target import Kernel
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import CachedMachine, Machine, MachineError
from gdbplugin.records import replace
from gdbplugin.session.errors import KernelUnusableError, ReadFailedError
from gdbplugin.session.gdb import Gdb
from gdbplugin.session.kernel_file import KernelFile
from gdbplugin.session.machine import SessionMachine, SessionSymbols, ask, disassemble
from gdbplugin.session.ram import MappedRam

Address = int | str
"""An address, or an expression of GDB's that stands for one: `"kernel_main"`, `"$pc"`."""
_ADDRESS_MASK = (1 << 64) - 1
_Object = TypeVar("_Object", bound=Noticed)
_Value = TypeVar("_Value")


class Reading:
    """Reads from the machine that a GDB is stopped at; keeps what it read until that may have changed."""

    def __init__(self, gdb: Gdb, kernel: KernelFile, ram: MappedRam | None) -> None:
        self._gdb = gdb
        self._file = kernel
        self._ram = ram
        self._history = History()
        self._runs = gdb.runs
        self._stop: _Stop | None = None
        self.symbols = SessionSymbols(gdb)
        """The names of the kernel's file."""

    def of_kernel(self, read: Callable[..., _Object], **words: Any) -> _Object:
        """What a reader makes of the kernel and a user's words; those that are None are left out.

        Raises `ReadFailedError`, or what the session itself raises.
        """
        stop = self._current()
        journal = Journal()
        with _in_one_line():
            return replace(read(self._kernel(stop, journal), **_given(words)), journal=journal)

    def of_stopped(self, read: Callable[..., _Object], *more: Any, **words: Any) -> _Object:
        """As `of_kernel`, for a reader that needs no kernel; `more` follows the machine."""
        stop = self._current()
        journal = Journal()
        stopped = Stopped(
            stop.machine, stop.source.selected_core, journal, lambda: self._kernel_if_any(stop, journal)
        )
        with _in_one_line():
            return replace(read(stopped, *more, **_given(words)), journal=journal)

    def look(self, read: Callable[[Kernel], _Value]) -> _Value:
        """What a function of a caller's own makes of the kernel. Raises as `of_kernel`."""
        stop = self._current()
        with _in_one_line():
            return read(self._kernel(stop, Journal()))

    def address(self, address: Address) -> int:
        """The address that a user means; raises `ReadFailedError` for an expression that is none."""
        if isinstance(address, int):
            return address & _ADDRESS_MASK
        found: int = ask(self._gdb, "address", address)
        return found

    def disassembler(self) -> Callable[[int, int, int], str | None]:
        """GDB's, as `kernel.fault` takes it."""
        return functools.partial(disassemble, self._gdb)

    def _current(self) -> _Stop:
        """What is known of this stop: nothing yet, where the target may have changed since."""
        gdb = self._gdb
        if gdb.runs != self._runs:
            self._history.ran()
            self._runs = gdb.runs
        if self._stop is None or self._stop.changes != gdb.changes:
            self._stop = _Stop(gdb, self._ram)
        return self._stop

    def _kernel(self, stop: _Stop, journal: Journal) -> Kernel:
        return Kernel(stop.machine, self._file.layout, journal, self._history, stop.decoded)

    def _kernel_if_any(self, stop: _Stop, journal: Journal) -> Kernel:
        """As `_kernel`; that there is none is an error of the machine's, for what goes on without."""
        try:
            return self._kernel(stop, journal)
        except KernelUnusableError as error:
            raise MachineError(error.message) from error


class _Stop:
    """What was read at one stop."""

    def __init__(self, gdb: Gdb, ram: MappedRam | None) -> None:
        self.source = SessionMachine(gdb, ram)
        # Mapped RAM is read as fast as a cache, and registers are kept by the source itself.
        self.machine: Machine = CachedMachine(self.source) if ram is None else self.source
        self.decoded: dict[str, Any] = {}
        self.changes = gdb.changes


def _given(words: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None}


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """What the decoding raises becomes the session's own error."""
    try:
        yield
    except (MachineError, LayoutError) as error:
        raise ReadFailedError(str(error)) from error
