"""Physical memory read at the virtual addresses where a core maps it, for stubs without another way.

The map is assumed to start at TTBR1's first address, as in TinyOS and most kernels, or to be the identity. It
is verified before use: the translation tables, read through it, must map the root table to the address that
is in the register.
"""

from __future__ import annotations

import gdb

from gdbplugin.aarch64.regime import RegimeUnknownError, TranslationRegime, el1_regime, regime_at
from gdbplugin.aarch64.registers import exception_level, is_secure
from gdbplugin.aarch64.walk import translate
from gdbplugin.machine import (
    MachineError,
    MachineGoneError,
    PhysicalReadError,
    PhysicalWriteError,
    UnreadableMemoryError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gdbplugin.debugger.machine import GdbMachine

_PAGE_BYTES = 4096


class NoPhysicalMemoryError(MachineError):
    """The connected stub gives no access to physical memory."""


class LinearMapMemory:
    """Physical memory through the linear map of a core that is in the kernel."""

    def __init__(self, machine: GdbMachine, inferior: gdb.Inferior) -> None:
        self._machine = machine
        self._inferior = inferior
        self._offset, self._core = 0, 0
        self._offset, self._core = self._find()

    def read(self, address: int, length: int) -> bytes:
        """Read exactly `length` bytes; raises `PhysicalReadError` or `MachineGoneError`."""
        return _ThroughMap(self._machine, self._inferior, self._core, self._offset).read_physical(
            address, length
        )

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes | None]:
        """None for each range: reading several at once would save nothing here."""
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
        """The offset of the map, and a core that has it."""
        for core in self._machine.cores:
            if exception_level(self._machine, core) != 1:
                continue
            regime = el1_regime(self._machine, core)
            if not regime.enabled:
                return 0, core
            if regime.upper is not None:
                map_ = _ThroughMap(self._machine, self._inferior, core, regime.upper.first_address)
                if map_.is_verified(regime):
                    return map_.offset, core
        raise NoPhysicalMemoryError(
            "this debug stub reads only virtual addresses, and no core is stopped in the kernel with a "
            "linear map of memory: resume the target and stop it in the kernel"
        )


class SecureMemory:
    """Secure memory, which physical packets do not reach, through a core that is in Secure state.

    A page is read only if the tables map it at the address that is read.
    """

    def __init__(self, machine: GdbMachine, inferior: gdb.Inferior) -> None:
        self._machine = machine
        self._inferior = inferior
        self._maps: list[tuple[_ThroughMap, TranslationRegime]] | None = None

    def read(self, address: int, length: int) -> bytes:
        """Read exactly `length` bytes; raises `UnreadableMemoryError` or `MachineGoneError`."""
        if self._maps is None:
            self._maps = list(self._find())
        for map_, regime in self._maps:
            if not regime.enabled or map_.holds(regime, address, length):
                return map_.read_physical(address, length)
        raise UnreadableMemoryError(
            address,
            length,
            "it is Secure memory, which the debug stub's physical packets do not reach, and no core stopped "
            "in Secure state maps it at its own address or in a linear map",
        )

    def _find(self) -> Iterator[tuple[_ThroughMap, TranslationRegime]]:
        """The verified maps, each with its regime."""
        for core in self._machine.cores:
            level = exception_level(self._machine, core)
            if not level or not is_secure(self._machine, core, level):
                continue
            try:
                regime = regime_at(self._machine, core, level)
            except RegimeUnknownError:
                continue
            offsets = [0] if regime.upper is None else [0, regime.upper.first_address]
            for offset in offsets:
                map_ = _ThroughMap(self._machine, self._inferior, core, offset)
                if not regime.enabled or map_.is_verified(regime):
                    yield map_, regime


class _ThroughMap:
    """A machine that reads through an assumed map of physical memory, to verify that map."""

    def __init__(self, machine: GdbMachine, inferior: gdb.Inferior, core: int, offset: int) -> None:
        self.offset = offset
        self._machine = machine
        self._inferior = inferior
        self._core = core
        self._holding: set[int] = set()

    @property
    def cores(self) -> Sequence[int]:
        return (self._core,)

    def is_verified(self, regime: TranslationRegime) -> bool:
        """Whether the tables, read through the map, map their root to the address in the register."""
        root = regime.control(self.offset).root_address
        try:
            return translate(self, regime, self.offset + root).output == root
        except PhysicalReadError:
            return False

    def holds(self, regime: TranslationRegime, address: int, length: int) -> bool:
        """Whether the tables map each page of a range at the address where this map reads it."""
        first = address & -_PAGE_BYTES
        for page in range(first, address + length, _PAGE_BYTES):
            if page not in self._holding:
                if translate(self, regime, self.offset + page).output != page:
                    return False
                self._holding.add(page)
        return True

    def read_physical(self, address: int, length: int) -> bytes:
        with self._machine.selected(self._core):
            try:
                return bytes(self._inferior.read_memory(self.offset + address, length))
            except gdb.MemoryError as error:
                reason = "the debug stub cannot read it: it is not mapped there"
                raise UnreadableMemoryError(address, length, reason) from error
            except gdb.error as error:
                raise MachineGoneError(f"the connection to the target was lost: {error}") from error

    def register(self, name: str, core: int) -> int | None:
        return self._machine.register(name, core)
