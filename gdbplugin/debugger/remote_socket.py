"""Sends packets on GDB's own socket to the stub, many at once, without going through GDB.

GDB sends one packet, waits for its answer and decodes it digit by digit. So it takes 40 to 300 ms for 1 MiB,
depending on how fast the host wakes a waiting process; the same packets sent from here take a tenth of that.
While a command runs and the target is stopped, nothing else uses the connection. When `ask` returns or
raises, no answer is outstanding, and GDB can use it again.
"""

from __future__ import annotations

import _socket  # The C part of `socket`: importing the rest takes as long as a command.
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
        if any(inferior.connection not in (None, connection) for inferior in gdb.inferiors()):
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
    with sigint.deferred():
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
        if waited > _PATIENCE_SECONDS and sigint.is_pending():
            raise OSError("interrupted while the debug stub did not answer")


def _is_readable(channel: _socket.socket, seconds: float) -> bool:
    """Whether there is something to read, or the end of the stream, within that time."""
    waiting = select.poll()
    waiting.register(channel, select.POLLIN)
    return bool(waiting.poll(1000 * seconds))
