"""A stopped computer, as everyone else in this package sees it.

A `Machine` answers three questions and no more: what lies in physical memory, what a core's
system register holds, and which cores there are. GDB's remote connection, a mapped RAM file and a
dump each answer them; the code that decodes never learns which it is talking to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Protocol


class MachineError(Exception):
    """Something the machine was asked for could not be had. The message is one plain sentence."""


class PhysicalReadError(MachineError):
    """A range of physical memory could not be read."""

    def __init__(self, address: int, length: int, reason: str = "there is no memory") -> None:
        super().__init__(f"cannot read {length} bytes of physical memory at {address:#x}: {reason}")
        self.address = address
        self.length = length


class PhysicalWriteError(MachineError):
    """A range of physical memory could not be written."""

    def __init__(self, address: int, length: int) -> None:
        super().__init__(f"cannot write {length} bytes of physical memory at {address:#x}")
        self.address = address
        self.length = length


class MachineGoneError(MachineError):
    """The connection to the machine was lost while it was being asked."""


class Machine(Protocol):
    """What a stopped computer is to everyone else here. Nothing in it changes the computer."""

    @property
    def cores(self) -> Sequence[int]:
        """The numbers of the cores, in order."""

    def read_physical(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from physical `address`, or `PhysicalReadError`, `MachineGoneError`."""

    def register(self, name: str, core: int) -> int | None:
        """The value of a core's register by its name in the Arm manual; None where it is not known."""


class BytesMachine:
    """A machine made of byte strings and register values: for tests, and for memory already at hand."""

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
        """See `Machine`."""
        return sorted(self._registers)

    def read_physical(self, address: int, length: int) -> bytes:
        """See `Machine`."""
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
        """See `Machine`."""
        return self._registers.get(core, {}).get(name)


class CachedMachine:
    """Another machine whose answers are remembered until `forget` is called.

    Memory is fetched and kept in aligned chunks, so that the neighbouring descriptors of a table
    and the neighbouring fields of an object cost no second transfer. A chunk is small enough to fit
    one packet of every stub known, and a large read still becomes one large read.
    """

    CHUNK_BYTES = 1024

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._chunks: dict[int, bytes] = {}
        self._registers: dict[tuple[str, int], int | None] = {}
        self._cores: Sequence[int] | None = None

    def forget(self) -> None:
        """Drop every remembered answer, because the machine ran or was written to."""
        self._chunks.clear()
        self._registers.clear()
        self._cores = None

    @property
    def cores(self) -> Sequence[int]:
        """See `Machine`."""
        if self._cores is None:
            self._cores = self._machine.cores
        return self._cores

    def register(self, name: str, core: int) -> int | None:
        """See `Machine`."""
        key = (name, core)
        if key not in self._registers:
            self._registers[key] = self._machine.register(name, core)
        return self._registers[key]

    def read_physical(self, address: int, length: int) -> bytes:
        """See `Machine`."""
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
                # Rounding to whole chunks may have reached beyond the memory: ask for just what is wanted.
                return self._machine.read_physical(address, length)
        if first == last:
            offset = address - first * size
            return chunks[first][offset : offset + length]
        whole = b"".join([chunks[number] for number in range(first, last + 1)])
        offset = address - first * size
        return whole[offset : offset + length]

    def _fetch(self, missing: list[int]) -> None:
        """Fetch the chunks of these numbers, each contiguous run of them in one read."""
        size = self.CHUNK_BYTES
        start = 0
        for position in range(1, len(missing) + 1):
            if position < len(missing) and missing[position] == missing[position - 1] + 1:
                continue
            number, count = missing[start], position - start
            data = self._machine.read_physical(number * size, count * size)
            for index in range(count):
                self._chunks[number + index] = data[index * size : (index + 1) * size]
            start = position
