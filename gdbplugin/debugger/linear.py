"""Physical memory through the kernel's linear map, for stubs that read by virtual address only.

The map is taken to start where TTBR1's addresses do, as TinyOS and most kernels have it, and that is
proved before it is believed: the tables, read through it, must map the root table to where TTBR1 says
that it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gdb

from gdbplugin.aarch64.regime import TranslationRegime, el1_regime
from gdbplugin.aarch64.registers import exception_level
from gdbplugin.aarch64.walk import translate
from gdbplugin.machine import MachineError, MachineGoneError, PhysicalReadError, PhysicalWriteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.debugger.machine import GdbMachine


class NoPhysicalMemoryError(MachineError):
    """Nothing that is connected gives access to physical memory."""


class LinearMapMemory:
    """Reads through the linear map, on a core that is in the kernel."""

    def __init__(self, machine: GdbMachine, inferior: gdb.Inferior) -> None:
        self._machine = machine
        self._inferior = inferior
        self._offset, self._core = 0, 0
        self._offset, self._core = self._find()

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes; raises `PhysicalReadError` or `MachineGoneError`."""
        return self._read_virtual(self._core, self._offset + address, address, length)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes | None]:
        """See `ReadsRanges`: nothing is gained here."""
        return [None] * len(ranges)

    def write(self, address: int, data: bytes) -> None:
        """Write through the map; raises `PhysicalWriteError` or `MachineGoneError`."""
        with self._machine.selected(self._core):
            try:
                self._inferior.write_memory(self._offset + address, data)
            except gdb.MemoryError as error:
                raise PhysicalWriteError(address, len(data)) from error
            except gdb.error as error:
                raise MachineGoneError(f"the connection to the target was lost: {error}") from error

    def _find(self) -> tuple[int, int]:
        """The map's offset, and a core through which it can be read."""
        for core in self._machine.cores:
            if exception_level(self._machine, core) != 1:
                continue
            regime = el1_regime(self._machine, core)
            if not regime.enabled:
                return 0, core
            if regime.upper is not None and self._is_linear(core, regime, regime.upper.first_address):
                return regime.upper.first_address, core
        raise NoPhysicalMemoryError(
            "this debug stub reads virtual addresses only, and no core is stopped in the kernel with a "
            "linear map of memory: let the target run on and stop it in the kernel"
        )

    def _is_linear(self, core: int, regime: TranslationRegime, offset: int) -> bool:
        assert regime.upper is not None
        root = regime.upper.root_address
        try:
            found = translate(_ThroughMap(self, core, offset), regime, offset + root)
        except PhysicalReadError:
            return False
        return found.output == root

    def _read_virtual(self, core: int, virtual: int, address: int, length: int) -> bytes:
        with self._machine.selected(core):
            try:
                return bytes(self._inferior.read_memory(virtual, length))
            except gdb.MemoryError as error:
                raise PhysicalReadError(address, length) from error
            except gdb.error as error:
                raise MachineGoneError(f"the connection to the target was lost: {error}") from error


class _ThroughMap:
    """A machine that reads through a supposed linear map: what proves, or disproves, the map."""

    def __init__(self, memory: LinearMapMemory, core: int, offset: int) -> None:
        self._memory = memory
        self._core = core
        self._offset = offset

    @property
    def cores(self) -> Sequence[int]:
        return (self._core,)

    def read_physical(self, address: int, length: int) -> bytes:
        return self._memory._read_virtual(self._core, self._offset + address, address, length)

    def register(self, name: str, core: int) -> int | None:
        return self._memory._machine.register(name, core)
