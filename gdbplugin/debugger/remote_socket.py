"""GDB's own socket to the stub, used past GDB: many packets on their way at once.

GDB sends one packet, waits for its answer, and takes that apart digit by digit. So 1 MiB takes it 40 to
300 ms, depending on how fast the host wakes who waits; the same packets from here take a tenth of that. While
a command runs here, the target being stopped, nothing else uses the connection: when `ask` returns or raises
it is GDB's again, and no answer is outstanding.
"""

from __future__ import annotations

import _socket  # The half of `socket` that is in C: the other takes as long as a command.
import contextlib
import os
import select
import stat
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import gdb

from gdbplugin.debugger import sigint
from gdbplugin.machine import MachineGoneError

# As many answers as there may be at once without QEMU, which writes them, having to wait for room.
BURST = 32
_RECEIVED_BYTES = 1 << 16
# As often as GDB asks for an answer again.
_TRIES = 3
# For so long Ctrl-C waits for a stub that says nothing.
_PATIENCE_SECONDS = 2.0
_GLANCE_SECONDS = 0.1
_DESCRIPTORS = "/dev/fd"


class StubSocket:
    """The socket of one connection of GDB's; made by `find`."""

    def __init__(self, connection: gdb.RemoteTargetConnection, descriptor: int) -> None:
        self._connection = connection
        self._descriptor = descriptor

    @classmethod
    def find(cls, connection: gdb.RemoteTargetConnection) -> StubSocket | None:
        """The socket behind a connection; None where it has none, or which one it is cannot be told."""
        if not os.path.isdir(_DESCRIPTORS) or _socket.getdefaulttimeout() is not None:
            # With such a default a socket cannot be looked at without a change to GDB's own.
            return None
        if any(inferior.connection not in (None, connection) for inferior in gdb.inferiors()):
            return None
        found = [number for number in _descriptors() if _leads_to(number, connection.details or "")]
        return cls(connection, found[0]) if len(found) == 1 else None

    def ask(self, packets: Sequence[str], around: tuple[str, str] | None = None) -> list[bytes] | None:
        """The stub's answers to packets, in their order; None where GDB had better ask.

        Packets and answers are without the protocol's frame. What is `around` them is sent before and behind
        each burst of them, and is to be answered with OK. Raises `MachineGoneError`.
        """
        before, behind = ([around[0]], [around[1]]) if around is not None else ([], [])
        with self._channel() as channel:
            if channel is None:
                return None
            answers: list[bytes] = []
            for start in range(0, len(packets), BURST):
                burst = [*before, *packets[start : start + BURST], *behind]
                found = _exchange(channel, burst)
                if around is not None and (found.pop(0), found.pop()) != (b"OK", b"OK"):
                    raise MachineGoneError(f"the debug stub refused {around[0]}")
                answers += found
            return answers

    @contextlib.contextmanager
    def _channel(self) -> Iterator[_socket.socket | None]:
        """The socket for the length of a `with`; None where GDB had better ask."""
        if not self._connection.is_valid() or gdb.parameter("debug remote") or gdb.parameter("remotelogfile"):
            # What is sent from here stands in no log of GDB's.
            yield None
            return
        with contextlib.closing(_socket.socket(fileno=os.dup(self._descriptor))) as channel:
            # If something is there that nobody has asked for, GDB knows what to do with it.
            yield None if _is_readable(channel, 0) else channel


def _descriptors() -> Iterator[int]:
    """The numbers of this process's open files that are sockets."""
    for name in os.listdir(_DESCRIPTORS):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                yield int(name)
        except OSError:
            continue  # The listing's own, which is closed by now.


def _leads_to(descriptor: int, details: str) -> bool:
    """Whether a socket is connected to what GDB's connection says that it is to: HOST:PORT, or a path.

    GDB's connection may as well be a program's (`|`), a serial line, or UDP: then no socket is taken for it.
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
    # By the stub's own working directory.
    return os.path.basename(peer) == os.path.basename(details)


def _exchange(channel: _socket.socket, packets: Sequence[str]) -> list[bytes]:
    """One burst; Ctrl-C waits for its end, so that no answer is left for GDB to stumble upon."""
    with sigint.held():
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
                # GDB is to find the connection ended, not an answer that it did not ask for.
                with contextlib.suppress(OSError):
                    channel.shutdown(_socket.SHUT_RDWR)
    return answers


def _framed(packet: str) -> bytes:
    """A packet as it is sent, behind the acknowledgement of the answer before it.

    The last answer's is whatever packet comes next, from here or from GDB, as QEMU takes it.
    """
    content = packet.encode("ascii")
    return b"+$%b#%02x" % (content, sum(content) & 0xFF)


def _answers(channel: _socket.socket) -> Iterator[bytes]:
    """What comes, frame by frame. Raises `OSError` where it does not, or is no frame."""
    pending = bytearray()
    while True:
        # A frame ends with two digits of checksum, which a stream that loses nothing has no need of.
        while (end := pending.find(b"#")) >= 0 and len(pending) >= end + 3:
            acknowledgement, _, answer = pending[:end].partition(b"$")
            if acknowledgement.strip(b"+"):
                raise OSError(f"the debug stub said {bytes(acknowledgement[:20])!r} instead of an answer")
            del pending[: end + 3]
            yield bytes(answer)
        _wait(channel)
        data = channel.recv(_RECEIVED_BYTES)
        if not data:
            raise OSError("the debug stub closed it")
        pending += data


def _wait(channel: _socket.socket) -> None:
    """Wait for something to read; raises `OSError` where it takes longer than GDB, or its user, waits."""
    if _is_readable(channel, _GLANCE_SECONDS):
        return
    timeout = int(gdb.parameter("remotetimeout") or 0)
    seconds = _TRIES * max(1, timeout) if timeout >= 0 else None
    began = time.monotonic()
    while not _is_readable(channel, _GLANCE_SECONDS):
        waited = time.monotonic() - began
        if seconds is not None and waited > seconds:
            raise OSError(f"the debug stub did not answer within {seconds} s")
        if waited > _PATIENCE_SECONDS and sigint.is_waiting():
            raise OSError("interrupted while the debug stub did not answer")


def _is_readable(channel: _socket.socket, seconds: float) -> bool:
    """Whether there is something to read, or the end, within that time."""
    waiting = select.poll()
    waiting.register(channel, select.POLLIN)
    return bool(waiting.poll(1000 * seconds))
