"""Physical memory by packets of the remote protocol, as QEMU's stub offers it.

`Qqemu.PhyMemMode:1` makes the stub treat the addresses of memory packets as physical. The mode is on only
during a burst of packets, never while GDB or anything else may use the connection.

The packets bypass GDB if its socket is found; else they go through GDB one by one. GDB's own memory reads are
never used: they depend on its settings and caches.
"""

from __future__ import annotations

import binascii
import contextlib
import itertools
from collections.abc import Iterator, Sequence

import gdb

from gdbplugin.debugger import sigint
from gdbplugin.debugger.linear_map import SecureMemory
from gdbplugin.debugger.memory_map import ASK, MemoryMap
from gdbplugin.debugger.remote_socket import BURST, StubSocket
from gdbplugin.debugger.text import printed
from gdbplugin.machine import (
    MachineGoneError,
    PhysicalReadError,
    PhysicalWriteError,
    UnreadableMemoryError,
)

_MODE, _SET_MODE = "qqemu.PhyMemMode", "Qqemu.PhyMemMode"
# QEMU answers a packet with at most 4,096 hexadecimal digits.
_PACKET_BYTES = 2048
_SMALL_PACKET_BYTES = 256
# By connection number, which GDB never reuses: a machine's memory map does not change.
_maps: dict[int, MemoryMap] = {}
_asking: list[str] = []


def is_asking_monitor() -> bool:
    """Whether the `monitor` command being run is from this module, and so changes nothing."""
    return bool(_asking)


def ask_monitor(command: str) -> str | None:
    """The output of a monitor command that changes nothing; None if the stub has no such monitor."""
    _asking.append(command)
    try:
        with sigint.deferred():
            return printed(f"monitor {command}").replace("\r\n", "\n")
    except gdb.error:
        return None
    finally:
        _asking.clear()


class PacketMemory:
    """Physical memory read by `m` packets and written by `M` packets; created by `probe`."""

    def __init__(self, connection: gdb.RemoteTargetConnection, found: bytes, secure: SecureMemory) -> None:
        self._connection = connection
        self._secure = secure
        # If the user has turned the mode on, it stays on.
        self._around = None if found == b"1" else (f"{_SET_MODE}:1", f"{_SET_MODE}:0")
        self._socket = StubSocket.find(connection)
        self._map = self._memory_map()

    @classmethod
    def probe(cls, inferior: gdb.Inferior, secure: SecureMemory) -> PacketMemory | None:
        """The physical memory of an inferior; None if its stub does not have the mode.

        `secure` reads the memory that only cores in Secure state have: the mode does not reach it.
        """
        connection = inferior.connection
        if not isinstance(connection, gdb.RemoteTargetConnection):
            return None
        found = _send(connection, _MODE)
        return cls(connection, found, secure) if found in (b"0", b"1") else None

    def _memory_map(self) -> MemoryMap:
        number = self._connection.num
        if number not in _maps:
            _maps[number] = MemoryMap.parse(ask_monitor(ASK) or "")
        return _maps[number]

    def read(self, address: int, length: int) -> bytes:
        """Read exactly `length` bytes; raises `PhysicalReadError` or `MachineGoneError`.

        It is an `UnreadableMemoryError` if the map has memory there, but the stub does not read it.
        """
        lack = self._map.lack(address, length)
        if lack is not None:
            if self._map.secure is not None and self._map.secure.lack(address, length) is None:
                if self._around is None:
                    # Then no virtual address can be read.
                    reason = "it is Secure memory: turn the stub's mode off (maint packet Qqemu.PhyMemMode:0)"
                    raise UnreadableMemoryError(address, length, reason)
                return self._secure.read(address, length)
            raise PhysicalReadError(address, length, lack)
        (found,) = self.read_ranges([(address, length)])
        if found is not None:
            return found
        # The stub has smaller packets, or the memory ends within a packet.
        parts = []
        for place, size in _pieces(address, length, _SMALL_PACKET_BYTES):
            (part,) = self.read_ranges([(place, size)])
            if part is None:
                raise UnreadableMemoryError(address, length, "the debug stub does not read it")
            parts.append(part)
        return b"".join(parts)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """Read several ranges, as `gdbplugin.machine.ReadsRanges` says."""
        packets = [
            []
            if self._map.lack(address, length)
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
            found = self._socket.ask(packets, self._around) if self._socket is not None else None
            return self._through_gdb(packets) if found is None else found
        except MachineGoneError:
            # Let GDB notice now, not at its next use of the connection.
            with contextlib.suppress(MachineGoneError):
                _send(self._connection, _MODE)
            raise

    def _through_gdb(self, packets: list[str]) -> list[bytes]:
        answers = []
        for start in range(0, len(packets), BURST):
            with sigint.deferred(), self._switched():
                answers += [_send(self._connection, packet) for packet in packets[start : start + BURST]]
        return answers

    @contextlib.contextmanager
    def _switched(self) -> Iterator[None]:
        """Make the stub treat addresses as physical for the length of a `with`."""
        if self._around is None:
            yield
            return
        try:
            if _send(self._connection, self._around[0]) != b"OK":
                raise MachineGoneError(f"the debug stub refused {self._around[0]}")
            yield
        finally:
            _send(self._connection, self._around[1])

    def write(self, address: int, data: bytes) -> None:
        """Write what fits one packet; raises `PhysicalWriteError` or `MachineGoneError`."""
        if self._through_gdb([f"M{address:x},{len(data):x}:{data.hex()}"]) != [b"OK"]:
            raise PhysicalWriteError(address, len(data))


def _pieces(address: int, length: int, size: int) -> Iterator[tuple[int, int]]:
    """A range split into pieces of up to `size` bytes."""
    end = address + length
    return ((place, min(size, end - place)) for place in range(address, end, size))


def _contents(answers: Sequence[bytes], length: int) -> bytes | None:
    """The bytes in the hexadecimal digits of answers; None if one of them is an error."""
    try:
        found = binascii.unhexlify(b"".join(answers))
    except binascii.Error:
        return None
    # An error is three digits, so answers with one are not `length` bytes.
    return found if len(found) == length else None


def _send(connection: gdb.RemoteTargetConnection, packet: str) -> bytes:
    try:
        answer = connection.send_packet(packet)
    except (gdb.error, RuntimeError) as error:
        raise MachineGoneError(f"the connection to the target was lost: {error}") from error
    return answer or b""
