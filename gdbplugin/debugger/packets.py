"""Physical memory by packets of the remote protocol, many at once on GDB's own socket to the stub.

GDB sends one packet, waits for its answer and decodes it digit by digit: 40 to 300 ms for 1 MiB, depending on
how fast the host wakes a waiting process. The same packets sent from here take a tenth of that. While a
command runs and the target is stopped, nothing else uses the connection; when `ask` returns or raises, no
answer is outstanding, and GDB can use it again. If GDB's socket is not found, the packets go through GDB.

`Qqemu.PhyMemMode:1` makes QEMU's stub treat the addresses of memory packets as physical. The mode is on only
during a burst of packets, never while GDB or anything else may use the connection. GDB's own memory reads are
not used: they depend on its settings and caches.
"""

from __future__ import annotations

import _socket
import binascii
import contextlib
import itertools
import os
import select
import stat
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import gdb

from gdbplugin.debugger.guards import printed, sigint_deferred, sigint_is_pending
from gdbplugin.debugger.linear_map import SecureMemory
from gdbplugin.kernel.physical_map import ASK, MemoryMap
from gdbplugin.machine import MachineGoneError, PhysicalReadError, PhysicalWriteError, UnreadableMemoryError

# So many answers fit the socket buffer: QEMU never waits to write them.
BURST = 32
_RECEIVED_BYTES = 1 << 16
# GDB retries as often.
_TRIES = 3
# Ctrl-C waits so long for a stub that does not answer.
_PATIENCE_SECONDS = 2.0
_GLANCE_SECONDS = 0.1
_DESCRIPTORS = "/dev/fd"


class StubSocket:
    """The socket of one of GDB's connections; created by `find`."""

    def __init__(self, connection: gdb.RemoteTargetConnection, descriptor: int) -> None:
        self._connection = connection
        self._descriptor = descriptor

    @classmethod
    def find(cls, connection: gdb.RemoteTargetConnection) -> StubSocket | None:
        """The socket of a connection; None if it has none or it cannot be identified."""
        if not os.path.isdir(_DESCRIPTORS) or _socket.getdefaulttimeout() is not None:
            # With a default timeout, wrapping a descriptor would make GDB's own socket non-blocking.
            return None
        connections = {inferior.connection for inferior in gdb.inferiors()}
        if any(one != connection for one in connections if isinstance(one, gdb.RemoteTargetConnection)):
            return None
        found = [number for number in _descriptors() if _leads_to(number, connection.details or "")]
        return cls(connection, found[0]) if len(found) == 1 else None

    def ask(self, packets: Sequence[str], around: tuple[str, str] | None = None) -> list[bytes] | None:
        """The stub's answers to packets, in order; None if they should go through GDB.

        Packets and answers are without the protocol's framing. The packets `around` are sent before and after
        each burst, and must be answered with OK. Raises `MachineGoneError`.
        """
        before, after = ([around[0]], [around[1]]) if around is not None else ([], [])
        with self._channel() as channel:
            if channel is None:
                return None
            answers: list[bytes] = []
            for start in range(0, len(packets), BURST):
                burst = [*before, *packets[start : start + BURST], *after]
                found = _exchange(channel, burst)
                if around is not None and (found.pop(0), found.pop()) != (b"OK", b"OK"):
                    raise MachineGoneError(f"the debug stub refused {around[0]}")
                answers += found
            return answers

    @contextlib.contextmanager
    def _channel(self) -> Iterator[_socket.socket | None]:
        """The socket for the length of a `with`; None if packets should go through GDB."""
        if not self._connection.is_valid() or gdb.parameter("debug remote") or gdb.parameter("remotelogfile"):
            # What is sent from here does not appear in GDB's log.
            yield None
            return
        with contextlib.closing(_socket.socket(fileno=os.dup(self._descriptor))) as channel:
            # If there is something unread, GDB knows what to do with it.
            yield None if _is_readable(channel, 0) else channel


def _descriptors() -> Iterator[int]:
    """The file descriptors of this process that are sockets."""
    for name in os.listdir(_DESCRIPTORS):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                yield int(name)
        except OSError:
            continue  # The descriptor of the listing itself, which is closed by now.


def _leads_to(descriptor: int, details: str) -> bool:
    """Whether a socket is connected to the HOST:PORT or path of GDB's connection.

    If that is a program (`|`), a serial line or UDP, no socket is.
    """
    with contextlib.closing(_socket.socket(fileno=os.dup(descriptor))) as channel:
        try:
            peer = channel.getpeername()
        except OSError:
            return False
        if channel.type != _socket.SOCK_STREAM or details.startswith(("|", "udp", "/dev/")):
            return False
        if channel.family in (_socket.AF_INET, _socket.AF_INET6):
            return details.rpartition(":")[2] == str(peer[1])
    if not isinstance(peer, str) or not peer:
        return False
    if os.path.isabs(peer):
        return os.path.realpath(peer) == os.path.realpath(details)
    # Relative to the stub's working directory.
    return os.path.basename(peer) == os.path.basename(details)


def _exchange(channel: _socket.socket, packets: Sequence[str]) -> list[bytes]:
    """Send a burst and read its answers. Ctrl-C waits for the end, so that GDB finds no unread answer."""
    with sigint_deferred():
        is_over = False
        try:
            channel.sendall(b"".join(map(_framed, packets)))
            answers = list(islice(_answers(channel), len(packets)))
            is_over = True
        except OSError as error:
            reason = error.strerror or error
            raise MachineGoneError(f"the connection to the target was lost: {reason}") from error
        finally:
            if not is_over:
                # GDB must find a closed connection, not an answer that it did not ask for.
                with contextlib.suppress(OSError):
                    channel.shutdown(_socket.SHUT_RDWR)
    return answers


def _framed(packet: str) -> bytes:
    """A packet with its framing, after the acknowledgement of the answer before it.

    QEMU takes any next packet, from here or from GDB, as the acknowledgement of the last answer.
    """
    content = packet.encode("ascii")
    return b"+$%b#%02x" % (content, sum(content) & 0xFF)


def _answers(channel: _socket.socket) -> Iterator[bytes]:
    """The answers as they arrive. Raises `OSError` if none arrives, or something else does."""
    pending = bytearray()
    while True:
        # A frame ends with two digits of checksum, which a reliable stream does not need.
        while (end := pending.find(b"#")) >= 0 and len(pending) >= end + 3:
            acknowledgement, _, answer = pending[:end].partition(b"$")
            if acknowledgement.strip(b"+"):
                raise OSError(f"the debug stub sent {bytes(acknowledgement[:20])!r} instead of an answer")
            del pending[: end + 3]
            yield bytes(answer)
        _wait(channel)
        data = channel.recv(_RECEIVED_BYTES)
        if not data:
            raise OSError("the debug stub closed it")
        pending += data


def _wait(channel: _socket.socket) -> None:
    """Wait until there is something to read; raises `OSError` after GDB's timeout, or on Ctrl-C."""
    if _is_readable(channel, _GLANCE_SECONDS):
        return
    timeout = int(gdb.parameter("remotetimeout") or 0)
    seconds = _TRIES * max(1, timeout) if timeout >= 0 else None
    began = time.monotonic()
    while not _is_readable(channel, _GLANCE_SECONDS):
        waited = time.monotonic() - began
        if seconds is not None and waited > seconds:
            raise OSError(f"the debug stub did not answer within {seconds} s")
        if waited > _PATIENCE_SECONDS and sigint_is_pending():
            raise OSError("interrupted while the debug stub did not answer")


def _is_readable(channel: _socket.socket, seconds: float) -> bool:
    """Whether there is something to read, or the end of the stream, within that time."""
    waiting = select.poll()
    waiting.register(channel, select.POLLIN)
    return bool(waiting.poll(1000 * seconds))


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
        with sigint_deferred():
            return printed(f"monitor {command}").replace("\r\n", "\n")
    except gdb.error:
        return None
    finally:
        _asking.clear()


def memory_map(connection: gdb.TargetConnection | None) -> MemoryMap:
    """QEMU's map of the physical memory behind a connection; without a range if there is no such monitor."""
    if not isinstance(connection, gdb.RemoteTargetConnection):
        return MemoryMap()
    if connection.num not in _maps:
        _maps[connection.num] = MemoryMap.parse(ask_monitor(ASK) or "")
    return _maps[connection.num]


class PacketMemory:
    """Physical memory read by `m` packets and written by `M` packets; created by `probe`."""

    def __init__(self, connection: gdb.RemoteTargetConnection, found: bytes, secure: SecureMemory) -> None:
        self._connection = connection
        self._secure = secure
        # If the user has turned the mode on, it stays on.
        self._around = None if found == b"1" else (f"{_SET_MODE}:1", f"{_SET_MODE}:0")
        self._socket = StubSocket.find(connection)
        self._map = memory_map(connection)

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
            with sigint_deferred(), self._switched():
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
