"""The machine that GDB is connected to.

Registers are read through GDB, where each core is a thread. Physical memory is read by packets if the stub
is QEMU's, else through the kernel's linear map. Reading changes neither the target nor the user's selection.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

import gdb

from gdbplugin.aarch64.regime import TRANSLATION_REGISTERS
from gdbplugin.aarch64.registers import GENERAL_REGISTERS, is_processor_state
from gdbplugin.debugger.guards import sigint_deferred
from gdbplugin.debugger.linear_map import LinearMapMemory, SecureMemory
from gdbplugin.debugger.packets import PacketMemory, ask_monitor, memory_map
from gdbplugin.kernel.physical_map import MemoryMap
from gdbplugin.machine import MachineGoneError
from gdbplugin.records import Protocol

_SPELLINGS = {
    "CPSR": ("cpsr", "CPSR"),
    "PC": ("pc", "PC"),
}


_TOGETHER = (TRANSLATION_REGISTERS, GENERAL_REGISTERS)
"""Registers that are usually read together."""


def spellings(name: str) -> tuple[str, ...]:
    """The names that stubs give a register: they differ in case and in the suffix of the exception level."""
    if name in _SPELLINGS:
        return _SPELLINGS[name]
    bare = name.removesuffix("_EL1")
    return (name, bare, name.lower(), bare.lower())


class RegisterReader:
    """Reads the registers of an inferior's threads; valid for one stop."""

    def __init__(self, inferior: gdb.Inferior) -> None:
        self._inferior = inferior
        self._known: frozenset[str] | None = None
        self._values: dict[tuple[int, str], int | None] = {}
        self._swapped: bool | None = None

    def read(self, name: str, thread: gdb.InferiorThread) -> int | None:
        """The value of a register; None if the stub does not have it or cannot read it.

        Raises `MachineGoneError` if the connection is lost.
        """
        key = (thread.num, name)
        if key not in self._values:
            # Selecting a thread takes longer than reading a register.
            together = next((names for names in _TOGETHER if name in names), (name,))
            self._fetch(thread, together)
        return self._values[key]

    def _fetch(self, thread: gdb.InferiorThread, names: tuple[str, ...]) -> None:
        if not thread.is_valid():
            raise MachineGoneError("the connection to the target was lost")
        found: dict[str, int | None] = {}
        _pending.append(lambda: found.update({name: self._value(name) for name in names}))
        try:
            # Within GDB's `python` command, Ctrl-C would become a Python error.
            with sigint_deferred():
                gdb.execute(
                    f"thread apply {self._inferior.num}.{thread.num} -q "
                    # Not by an import statement, which would add a name to the user's Python.
                    f"python __import__({__name__!r}, fromlist=['']).run_pending()",
                    to_string=True,
                )
        finally:
            _pending.clear()
        if not thread.is_valid():
            raise MachineGoneError("the connection to the target was lost")
        self._warn_of_byte_order()
        for name in names:
            self._values[thread.num, name] = found.get(name)

    def _value(self, name: str) -> int | None:
        """The value in the thread that GDB has selected."""
        spelled = self._spelling(name)
        if spelled is None:
            return None
        try:
            value = gdb.parse_and_eval(f"${spelled}")
            if self._swapped is None:
                self._swapped = self._is_swapped()
            size = value.type.sizeof
            number = int(value) & ((1 << 8 * size) - 1)
            return _swap(number, size) if self._swapped else number
        except gdb.error:
            return None  # The stub has it, but cannot read it: for example, the core is powered off.

    def _is_swapped(self) -> bool:
        """Whether GDB reads the stub's registers as big-endian although they are little-endian.

        QEMU's always are, but GDB goes by `set endian` and the program.
        """
        integer = self._inferior.architecture().integer_type(32)
        if int(gdb.Value(b"\1\0\0\0", integer)) == 1:
            return False
        spelled = self._spelling("CPSR")
        if spelled is None:
            return False
        state = gdb.parse_and_eval(f"${spelled}")
        size = state.type.sizeof
        return is_processor_state(_swap(int(state) & ((1 << 8 * size) - 1), size))

    def _warn_of_byte_order(self) -> None:
        """Warn once that GDB's own commands show registers in the wrong byte order."""
        if self._swapped and self._inferior.num not in _warned:
            _warned.add(self._inferior.num)
            gdb.write(
                "GDB's byte order is big-endian, but the target's registers are little-endian: the tinyos "
                "commands read them as such; `set endian little` makes GDB do so too\n",
                gdb.STDERR,
            )

    def _spelling(self, name: str) -> str | None:
        if self._known is None:
            # From the list: an unknown register name would create a convenience variable.
            self._known = frozenset(entry.name for entry in self._inferior.architecture().registers())
        return next((spelled for spelled in spellings(name) if spelled in self._known), None)


def _swap(number: int, size: int) -> int:
    """A number of `size` bytes in the other byte order."""
    return int.from_bytes(number.to_bytes(size, "big"), "little")


_warned: set[int] = set()
"""The inferiors with a warning about the byte order."""
_pending: list[Callable[[], None]] = []


def run_pending() -> None:
    """Called back by GDB while the chosen thread is selected."""
    for action in _pending:
        action()


# `PSTATE=` where the core is in AArch64 state.
_STATE = r"(?ms)^CPU#(\d+)$(?:(?!^CPU#).)*?^PSR=([0-9a-f]+)"


class _Memory(Protocol):
    def read(self, address: int, length: int) -> bytes:
        """Read physical memory; raises a `MachineError`."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes | None]:
        """Read several ranges, as `gdbplugin.machine.ReadsRanges` says."""

    def write(self, address: int, data: bytes) -> None:
        """Write a few bytes into physical memory; raises a `MachineError`."""


class GdbMachine:
    """The selected inferior, stopped; satisfies `Machine` and `ReadsRanges`. Valid for one stop."""

    def __init__(self) -> None:
        self._inferior = gdb.selected_inferior()
        self._threads = dict(enumerate(sorted(self._inferior.threads(), key=lambda thread: thread.num)))
        self._registers = RegisterReader(self._inferior)
        self._memory: _Memory | None = None
        self._in_aarch32: dict[int, int] | None = None

    def is_current(self) -> bool:
        """Whether GDB still has this machine selected."""
        return self._inferior.is_valid() and self._inferior == gdb.selected_inferior()

    @property
    def cores(self) -> Sequence[int]:
        """The numbers of GDB's threads, from 0."""
        return tuple(self._threads)

    @property
    def selected_core(self) -> int:
        """The core whose thread is selected in GDB."""
        thread = gdb.selected_thread()
        number = thread.num if thread is not None else None
        return next((core for core, known in self._threads.items() if known.num == number), 0)

    @property
    def memory_map(self) -> MemoryMap:
        """QEMU's map of physical memory; without a range if the stub is not QEMU's."""
        return memory_map(self._inferior.connection)

    def read_physical(self, address: int, length: int) -> bytes:
        """Read exactly `length` bytes, as `Machine` says."""
        return self._physical_memory().read(address, length)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes | None]:
        """Read several ranges, as `ReadsRanges` says."""
        return self._physical_memory().read_ranges(ranges)

    def write_physical(self, address: int, data: bytes) -> None:
        """Write a few bytes, for commands that are documented to change the target.

        Raises `PhysicalWriteError` or `MachineGoneError`.
        """
        self._physical_memory().write(address, data)

    def _physical_memory(self) -> _Memory:
        if self._memory is None:
            secure = SecureMemory(self, self._inferior)
            packets = PacketMemory.probe(self._inferior, secure)
            self._memory = packets or LinearMapMemory(self, self._inferior)
        return self._memory

    def register(self, name: str, core: int) -> int | None:
        """The value of a core's register; None if this stub does not have it."""
        if core not in self._threads:
            return None
        value = self._registers.read(name, self._threads[core])
        if name == "CPSR" and value is not None and self._may_be_in_aarch32(core):
            return self._aarch32_states().get(core, value)
        return value

    def _may_be_in_aarch32(self, core: int) -> bool:
        """Whether SCR_EL3.RW or HCR_EL2.RW put a lower exception level in AArch32 state (D1.3)."""
        return any(
            value is not None and not value >> bit & 1
            for name, bit in (("SCR_EL3", 10), ("HCR_EL2", 31))
            for value in (self._registers.read(name, self._threads[core]),)
        )

    def _aarch32_states(self) -> dict[int, int]:
        """The processor state of each core in AArch32 state, from QEMU's monitor.

        QEMU's stub still gives the last AArch64 state for such a core.
        """
        if self._in_aarch32 is None:
            said = ask_monitor("info registers -a") or ""
            self._in_aarch32 = {int(core): int(state, 16) for core, state in re.findall(_STATE, said)}
        return self._in_aarch32

    def selected(self, core: int) -> contextlib.AbstractContextManager[None]:
        """Select a core in GDB for the length of a `with`, then the user's thread and frame again."""
        return selecting(self._threads[core])


@contextlib.contextmanager
def selecting(thread: gdb.InferiorThread) -> Iterator[None]:
    """Select a thread in GDB for the length of a `with`, then the user's thread and frame again."""
    before = gdb.selected_thread()
    if not thread.is_valid():
        raise MachineGoneError("the connection to the target was lost")
    if before == thread:
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
        return None  # The state of the thread gives no frame, so there is none to go back to.
