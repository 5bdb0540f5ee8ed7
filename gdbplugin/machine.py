"""A stopped computer, as the rest of this package sees it.

A `Machine` has physical memory, cores, and the system registers of each core. GDB's remote connection and a
mapped RAM file are Machines; code that decodes does not know which one it uses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from gdbplugin.records import Protocol


class MachineError(Exception):
    """Something could not be read from the machine, or done with it. The message is one plain sentence."""


class SelectionError(MachineError):
    """What was asked for does not exist: a core, an ASID, an ID."""


class PhysicalReadError(MachineError):
    """A range of physical memory could not be read."""

    def __init__(
        self, address: int, length: int, reason: str = "there is no memory", *, kind: str = "physical"
    ) -> None:
        super().__init__(f"cannot read {length} bytes of {kind} memory at {address:#x}: {reason}")
        self.address = address
        self.length = length
        self.reason = reason


class UnreadableMemoryError(PhysicalReadError):
    """A range that cannot be read from here, although the processor may read it: its content is unknown."""


class PhysicalWriteError(MachineError):
    """A range of physical memory could not be written."""

    def __init__(self, address: int, length: int) -> None:
        super().__init__(f"cannot write {length} bytes of physical memory at {address:#x}")
        self.address = address
        self.length = length


class MachineGoneError(MachineError):
    """The connection to the machine was lost."""


class Machine(Protocol):
    """A stopped computer. Nothing here changes it."""

    @property
    def cores(self) -> Sequence[int]:
        """The numbers of the cores, in order."""

    def read_physical(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes at physical `address`; raises `PhysicalReadError` or `MachineGoneError`."""

    def register(self, name: str, core: int) -> int | None:
        """The value of a core's register by its name in the Arm manual; None if it is not known."""


class ReadsRanges(Protocol):
    """A machine that reads several ranges faster than one by one."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes | None]:
        """The contents of ranges, (address, length); None for one that must be read by `read_physical`.

        Raises `MachineGoneError`.
        """


class Prefetches(Protocol):
    """A machine with a cache, which can be filled in advance."""

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch ranges, (address, length), that will be read soon; raises `MachineGoneError`.

        What cannot be read is skipped: reading it raises the error later.
        """


class BytesMachine:
    """A machine made of byte strings and register values: for tests, and for memory already read."""

    def __init__(
        self,
        memory: Mapping[int, bytes | bytearray],
        registers: Mapping[int, Mapping[str, int]] | None = None,
    ) -> None:
        self._memory = dict(memory)
        self._starts = sorted(self._memory)
        self._registers = {core: dict(values) for core, values in (registers or {0: {}}).items()}

    @property
    def cores(self) -> Sequence[int]:
        """The numbers of the cores, in order."""
        return sorted(self._registers)

    def read_physical(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes; raises `PhysicalReadError`."""
        parts = []
        position, end = address, address + length
        while position < end:
            index = bisect_right(self._starts, position) - 1
            start = self._starts[index] if index >= 0 else 0
            block = self._memory[start] if index >= 0 else b""
            part = bytes(block[position - start : end - start])
            if not part:
                raise PhysicalReadError(address, length)
            parts.append(part)
            position += len(part)
        return b"".join(parts)

    def register(self, name: str, core: int) -> int | None:
        """The value of a core's register; None if it is not known."""
        return self._registers.get(core, {}).get(name)


class CachedMachine:
    """A cache of another machine's answers, until `forget` is called.

    Memory is fetched in aligned chunks, so neighbouring descriptors of a table and neighbouring fields of an
    object need no second transfer. A chunk fits one packet of every known stub, and a large read is still one
    large read.
    """

    CHUNK_BYTES = 1024

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._chunks: dict[int, bytes] = {}
        self._registers: dict[tuple[str, int], int | None] = {}
        self._cores: Sequence[int] | None = None

    def forget(self) -> None:
        """Clear the cache, because the machine ran or was written to."""
        self._chunks.clear()
        self._registers.clear()
        self._cores = None

    @property
    def cores(self) -> Sequence[int]:
        """The numbers of the cores, in order."""
        if self._cores is None:
            self._cores = self._machine.cores
        return self._cores

    def register(self, name: str, core: int) -> int | None:
        """The value of a core's register; None if it is not known."""
        key = (name, core)
        if key not in self._registers:
            self._registers[key] = self._machine.register(name, core)
        return self._registers[key]

    def read_physical(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes; raises as the other machine does."""
        if length <= 0:
            return b""
        size = self.CHUNK_BYTES
        first, last = address // size, (address + length - 1) // size
        chunks = self._chunks
        missing = [number for number in range(first, last + 1) if number not in chunks]
        if missing:
            try:
                self._fetch(missing)
            except PhysicalReadError:
                # The whole chunks may reach beyond the end of memory: read only what was asked for.
                return self._machine.read_physical(address, length)
        if first == last:
            offset = address - first * size
            return chunks[first][offset : offset + length]
        whole = b"".join([chunks[number] for number in range(first, last + 1)])
        offset = address - first * size
        return whole[offset : offset + length]

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch ranges that will be read soon, if that is faster than reading them later."""
        source, chunks = self._machine, self._chunks
        if not hasattr(source, "read_ranges"):
            return
        missing = {
            number
            for address, length in ranges
            for number in range(address // self.CHUNK_BYTES, (address + length - 1) // self.CHUNK_BYTES + 1)
            if number not in chunks
        }
        runs = _runs(sorted(missing))
        if len(runs) < 2:
            return
        size = self.CHUNK_BYTES
        found = source.read_ranges([(number * size, count * size) for number, count in runs])
        for (number, _), data in zip(runs, found, strict=True):
            if data is not None:
                self._keep(number, data)

    def _fetch(self, missing: list[int]) -> None:
        """Fetch chunks by number, each contiguous run in one read."""
        size = self.CHUNK_BYTES
        for number, count in _runs(missing):
            self._keep(number, self._machine.read_physical(number * size, count * size))

    def _keep(self, number: int, data: bytes) -> None:
        """Store data as chunks, from chunk `number` on."""
        size = self.CHUNK_BYTES
        for index, start in enumerate(range(0, len(data), size), number):
            self._chunks[index] = data[start : start + size]


def uncached(machine: Machine) -> Machine:
    """The machine behind a cache, for reading much once."""
    return machine._machine if isinstance(machine, CachedMachine) else machine


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs of consecutive ones: the first of each, and how many."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and sum(runs[-1]) == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs


def prefetch(machine: Machine, ranges: Iterable[tuple[int, int]]) -> None:
    """Have a machine fetch ranges, (address, length), that will be read soon, if it can."""
    if hasattr(machine, "prefetch"):
        machine.prefetch(ranges)
