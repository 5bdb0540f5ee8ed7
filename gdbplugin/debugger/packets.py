"""Physical memory by packets of the remote protocol, as QEMU's stub offers it.

`Qqemu.PhyMemMode:1` makes the stub take the addresses of memory packets as physical ones. The mode is
switched on with the first read and put back as it was found before GDB itself is used again.

They go past GDB where its socket is found, else one by one through it; never by GDB's own reading of memory,
in which its settings, and what it keeps of memory, have a part.
"""

from __future__ import annotations

import binascii
import contextlib
import itertools
from collections.abc import Iterator, Sequence

import gdb

from gdbplugin.debugger.memory_map import ASK, MemoryMap
from gdbplugin.debugger.stub_socket import StubSocket
from gdbplugin.machine import MachineGoneError, PhysicalReadError, PhysicalWriteError

_MODE, _SET_MODE = "qqemu.PhyMemMode", "Qqemu.PhyMemMode"
# QEMU answers at most 4,096 hexadecimal digits to one packet.
_PACKET_BYTES = 2048
_SMALL_PACKET_BYTES = 256
# By the number of the connection, which GDB gives to no other: a machine's devices stay where they are.
_maps: dict[int, MemoryMap] = {}


class PacketMemory:
    """Reads by `m` packets, writes by `M` packets; made by `probe`."""

    def __init__(self, connection: gdb.RemoteTargetConnection, found: bytes) -> None:
        self._connection = connection
        self._found = found
        self._physical = found == b"1"
        self._socket = StubSocket.find(connection)
        self._map = self._memory_map()

    @classmethod
    def probe(cls, inferior: gdb.Inferior) -> PacketMemory | None:
        """The memory behind an inferior's stub, or None if it knows no such mode."""
        connection = inferior.connection
        if not isinstance(connection, gdb.RemoteTargetConnection):
            return None
        found = _send(connection, _MODE)
        return cls(connection, found) if found in (b"0", b"1") else None

    def _memory_map(self) -> MemoryMap:
        number = self._connection.num
        if number not in _maps and self._socket is not None:
            said = self._socket.monitor(ASK)
            if not said:
                return MemoryMap()
            _maps[number] = MemoryMap.parse(said)
        return _maps.get(number, MemoryMap())

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes; raises `PhysicalReadError` or `MachineGoneError`."""
        device = self._map.device(address, length)
        if device is not None:
            reason = f"the device {device} is there, which reading might change"
            raise PhysicalReadError(address, length, reason)
        (found,) = self.read_ranges([(address, length)])
        if found is not None:
            return found
        # A stub with smaller packets, or memory that ends within the piece of one.
        parts = []
        for place, size in _pieces(address, length, _SMALL_PACKET_BYTES):
            (part,) = self.read_ranges([(place, size)])
            if part is None:
                raise PhysicalReadError(address, length)
            parts.append(part)
        return b"".join(parts)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """See `ReadsRanges`."""
        self._set(True)
        packets = [
            []
            if self._map.device(address, length)
            else [f"m{place:x},{size:x}" for place, size in _pieces(address, length, _PACKET_BYTES)]
            for address, length in ranges
        ]
        answers = iter(self._answers([packet for of_range in packets for packet in of_range]))
        return [
            _contents(list(itertools.islice(answers, len(of_range))), length)
            for of_range, (_, length) in zip(packets, ranges, strict=True)
        ]

    def _answers(self, packets: list[str]) -> list[bytes]:
        try:
            found = self._socket.ask(packets) if self._socket is not None else None
            return [_send(self._connection, packet) for packet in packets] if found is None else found
        except MachineGoneError:
            # GDB learns of it now, not from whatever it is to do next.
            with contextlib.suppress(MachineGoneError):
                _send(self._connection, _MODE)
            raise

    def write(self, address: int, data: bytes) -> None:
        """Write one packet's worth; raises `PhysicalWriteError` or `MachineGoneError`."""
        self._set(True)
        if _send(self._connection, f"M{address:x},{len(data):x}:{data.hex()}") != b"OK":
            raise PhysicalWriteError(address, len(data))

    def suspend(self) -> None:
        """Put the mode back as it was found. A connection that is gone has no mode."""
        if self._connection.is_valid():
            self._set(self._found == b"1")

    def _set(self, physical: bool) -> None:
        if self._physical == physical:
            return
        answer = _send(self._connection, f"{_SET_MODE}:{int(physical)}")
        if answer != b"OK":
            raise MachineGoneError(f"the debug stub refused to switch to physical addresses: {answer!r}")
        self._physical = physical


def _pieces(address: int, length: int, size: int) -> Iterator[tuple[int, int]]:
    """A range in pieces of up to `size` bytes."""
    end = address + length
    return ((place, min(size, end - place)) for place in range(address, end, size))


def _contents(answers: Sequence[bytes], length: int) -> bytes | None:
    """The bytes that answers hold in hexadecimal digits; None where one of them is an error instead."""
    try:
        found = binascii.unhexlify(b"".join(answers))
    except binascii.Error:
        return None
    # An error has three digits, and is shorter than any piece of which it could be all there is.
    return found if len(found) == length else None


def _send(connection: gdb.RemoteTargetConnection, packet: str) -> bytes:
    try:
        answer = connection.send_packet(packet)
    except (gdb.error, RuntimeError) as error:
        raise MachineGoneError(f"the connection to the target was lost: {error}") from error
    return answer or b""
