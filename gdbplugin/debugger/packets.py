"""Physical memory by packets of the remote protocol, as QEMU's stub offers it.

`Qqemu.PhyMemMode:1` makes the stub take the addresses of memory packets as physical ones. The mode is
switched on with the first read and put back as it was found before GDB itself is used again.

The packets are GDB's own, of the size that it has agreed on with the stub, sent by its native code: half the
time of packets sent one by one from here. That is right as long as GDB passes an address on as it is and has
no memory of its own to answer from; where a user has told it otherwise, the packets are sent from here.
"""

from __future__ import annotations

import gdb

from gdbplugin.machine import MachineGoneError, PhysicalReadError, PhysicalWriteError

# QEMU answers at most 4,096 hexadecimal digits to one packet.
_PACKET_BYTES = 2048
_SMALL_PACKET_BYTES = 256


class PacketMemory:
    """Reads by `m` packets, writes by `M` packets; made by `probe`."""

    def __init__(self, inferior: gdb.Inferior, connection: gdb.RemoteTargetConnection, found: bytes) -> None:
        self._inferior = inferior
        self._connection = connection
        self._found = found
        self._physical = found == b"1"
        self._native = _asks_the_target(inferior)

    @classmethod
    def probe(cls, inferior: gdb.Inferior) -> PacketMemory | None:
        """The memory behind an inferior's stub, or None if it knows no such mode."""
        connection = inferior.connection
        if not isinstance(connection, gdb.RemoteTargetConnection):
            return None
        found = _send(connection, "qqemu.PhyMemMode")
        return cls(inferior, connection, found) if found in (b"0", b"1") else None

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes; raises `PhysicalReadError` or `MachineGoneError`."""
        self._set(True)
        if not self._native:
            return self._read_by_packets(address, length)
        try:
            return bytes(self._inferior.read_memory(address, length))
        except gdb.MemoryError as error:
            raise PhysicalReadError(address, length) from error
        except (gdb.error, OverflowError) as error:
            raise MachineGoneError(f"the connection to the target was lost: {error}") from error

    def _read_by_packets(self, address: int, length: int) -> bytes:
        parts = []
        position, end = address, address + length
        while position < end:
            part = self._packet(position, min(_PACKET_BYTES, end - position))
            parts.append(part)
            position += len(part)
        return b"".join(parts)

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
        answer = _send(self._connection, f"Qqemu.PhyMemMode:{int(physical)}")
        if answer != b"OK":
            raise MachineGoneError(f"the debug stub refused to switch to physical addresses: {answer!r}")
        self._physical = physical

    def _packet(self, address: int, length: int) -> bytes:
        answer = _send(self._connection, f"m{address:x},{length:x}")
        if len(answer) == 2 * length:
            return bytes.fromhex(answer.decode("ascii"))
        if length > _SMALL_PACKET_BYTES:
            # A stub with smaller packets, or memory that ends within this piece.
            return self._packet(address, _SMALL_PACKET_BYTES)
        raise PhysicalReadError(address, length)


def _asks_the_target(inferior: gdb.Inferior) -> bool:
    """Whether GDB, asked for memory, asks the target for just that: the same address, and nothing kept.

    GDB's stack and code caches have no part in reads of this kind. What has: `set trust-readonly-sections`
    (answers from the program's file), `mem` regions of the user's (which may be cached, or closed), and an
    architecture or `set remoteaddresssize` of fewer bits, to which GDB cuts addresses.
    """
    return (
        not gdb.parameter("trust-readonly-sections")
        and not gdb.parameter("remoteaddresssize")
        and "There are no memory regions defined" in gdb.execute("info mem", to_string=True)
        and inferior.architecture().name().startswith("aarch64")
    )


def _send(connection: gdb.RemoteTargetConnection, packet: str) -> bytes:
    try:
        answer = connection.send_packet(packet)
    except (gdb.error, RuntimeError) as error:
        raise MachineGoneError(f"the connection to the target was lost: {error}") from error
    return answer or b""
