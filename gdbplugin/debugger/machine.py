"""The machine that GDB is connected to.

Registers are read through GDB, each core being one of its threads. Physical memory is read by
packets to QEMU's stub where that is what answers, else through the kernel's linear map. Reading changes
neither the target nor the user's selection in GDB.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

import gdb

from gdbplugin.debugger.linear import LinearMapMemory, SecureMemory
from gdbplugin.debugger.packets import PacketMemory, ask_monitor
from gdbplugin.debugger.registers import RegisterReader
from gdbplugin.machine import MachineGoneError
from gdbplugin.records import Protocol

# `PSTATE=` where the core is in AArch64 state.
_STATE = r"(?ms)^CPU#(\d+)$(?:(?!^CPU#).)*?^PSR=([0-9a-f]+)"


class _Memory(Protocol):
    def read(self, address: int, length: int) -> bytes:
        """Physical memory; raises a `MachineError`."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes | None]:
        """See `ReadsRanges`."""

    def write(self, address: int, data: bytes) -> None:
        """A few bytes into physical memory; raises a `MachineError`."""


class GdbMachine:
    """The selected inferior, stopped; satisfies `Machine` and `ReadsRanges`. Valid for one stop."""

    def __init__(self) -> None:
        self._inferior = gdb.selected_inferior()
        self._threads = dict(enumerate(sorted(self._inferior.threads(), key=lambda thread: thread.num)))
        self._registers = RegisterReader(self._inferior)
        self._memory: _Memory | None = None
        self._in_aarch32: dict[int, int] | None = None

    def is_current(self) -> bool:
        """Whether this is still the machine that is selected in GDB."""
        return self._inferior.is_valid() and self._inferior == gdb.selected_inferior()

    @property
    def cores(self) -> Sequence[int]:
        """See `Machine`: GDB's threads, the first being core 0."""
        return tuple(self._threads)

    @property
    def selected_core(self) -> int:
        """The number of the core whose thread is selected in GDB."""
        thread = gdb.selected_thread()
        number = thread.num if thread is not None else None
        return next((core for core, known in self._threads.items() if known.num == number), 0)

    def read_physical(self, address: int, length: int) -> bytes:
        """See `Machine`."""
        return self._physical_memory().read(address, length)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes | None]:
        """See `ReadsRanges`."""
        return self._physical_memory().read_ranges(ranges)

    def write_physical(self, address: int, data: bytes) -> None:
        """Write a few bytes: only for a command that says that it changes the target.

        Raises `PhysicalWriteError`, `MachineGoneError`.
        """
        self._physical_memory().write(address, data)

    def _physical_memory(self) -> _Memory:
        if self._memory is None:
            secure = SecureMemory(self, self._inferior)
            packets = PacketMemory.probe(self._inferior, secure)
            self._memory = packets or LinearMapMemory(self, self._inferior)
        return self._memory

    def register(self, name: str, core: int) -> int | None:
        """See `Machine`: None for a register this stub does not have."""
        if core not in self._threads:
            return None
        value = self._registers.read(name, self._threads[core])
        if name == "CPSR" and value is not None and self._may_be_in_aarch32(core):
            return self._aarch32_states().get(core, value)
        return value

    def _may_be_in_aarch32(self, core: int) -> bool:
        """Whether SCR_EL3.RW or HCR_EL2.RW have a lower exception level in AArch32 state (D1.3)."""
        return any(
            value is not None and not value >> bit & 1
            for name, bit in (("SCR_EL3", 10), ("HCR_EL2", 31))
            for value in (self._registers.read(name, self._threads[core]),)
        )

    def _aarch32_states(self) -> dict[int, int]:
        """The processor state of each core that is in AArch32 state, as QEMU's monitor has it.

        QEMU's stub goes on giving the last state of AArch64 then.
        """
        if self._in_aarch32 is None:
            said = ask_monitor("info registers -a") or ""
            self._in_aarch32 = {int(core): int(state, 16) for core, state in re.findall(_STATE, said)}
        return self._in_aarch32

    @contextlib.contextmanager
    def selected(self, core: int) -> Iterator[None]:
        """Have GDB look at a core for the length of a `with`; then the user's thread and frame again."""
        before = gdb.selected_thread()
        thread = self._threads[core]
        if not thread.is_valid():
            raise MachineGoneError("the connection to the target was lost")
        if before is not None and before.num == thread.num:
            yield
            return
        frame = _selected_frame()
        thread.switch()
        try:
            yield
        finally:
            if before is not None and before.is_valid():
                before.switch()
                if frame is not None and frame.is_valid():
                    frame.select()


def _selected_frame() -> gdb.Frame | None:
    try:
        return gdb.selected_frame()
    except gdb.error:
        return None  # A thread whose state makes no frame: there is none to go back to.
