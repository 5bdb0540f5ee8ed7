"""A proxy between GDB and QEMU's stub: records GDB's packets, can hide features of QEMU, or disconnect."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_PACKET = re.compile(rb"\$([^#]*)#[0-9a-fA-F]{2}")


class StubProxy:
    """Listens on `address`. `packets` are those from GDB; QEMU never gets those that begin with `refused`.

    With `lose_at`, the connection closes instead of answering that packet (1: the first) after the packet
    `armed_by`; the same for each further connection. `lose_at` may be changed at any time.
    """

    def __init__(
        self,
        directory: Path,
        stub_address: str,
        refused: Sequence[str] = (),
        *,
        armed_by: str = "",
        lose_at: int = 0,
    ) -> None:
        self.address = str(directory / "proxy")
        self.packets: list[str] = []
        self.most_at_once = 0
        """The largest number of packets that waited for their answers together."""
        self._armed_by = armed_by
        self._left = 0
        self.lose_at = lose_at
        self._refused = tuple(refused) or ("\0",)
        self._stub_address = stub_address
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen(1)
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Close the connections, as a stub that dies does."""
        self._end(*list(self._open))

    @staticmethod
    def _end(*ends: socket.socket) -> None:
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # The other side was faster.

    def _serve(self) -> None:
        while True:
            try:
                gdb, _ = self._listener.accept()
            except OSError:
                return
            stub = self._connect()
            self._left = 0
            self._open += [gdb, stub]
            threading.Thread(target=self._carry, args=(gdb, stub), daemon=True).start()

    def _carry(self, gdb: socket.socket, stub: socket.socket) -> None:
        """Carry one connection's data until it ends, then close it: a test makes hundreds."""
        answers = threading.Thread(target=self._to_gdb, args=(stub, gdb), daemon=True)
        answers.start()
        self._to_stub(gdb, stub)
        answers.join()
        for end in (gdb, stub):
            self._open.remove(end)
            end.close()

    def _connect(self) -> socket.socket:
        host, colon, port = self._stub_address.rpartition(":")
        if colon and port.isdigit():
            stub = socket.create_connection((host or "127.0.0.1", int(port)))
            # As GDB does: otherwise each packet waits 40 ms for the acknowledgement of the one before.
            stub.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return stub
        stub = socket.socket(socket.AF_UNIX)
        stub.connect(self._stub_address)
        return stub

    def _send(self, end: socket.socket, data: bytes) -> None:
        try:
            with self._lock:
                end.sendall(data)
        except OSError:
            end.close()

    def _to_gdb(self, stub: socket.socket, gdb: socket.socket) -> None:
        while data := self._receive(stub):
            self._send(gdb, data)
        self._end(gdb, stub)

    def _to_stub(self, gdb: socket.socket, stub: socket.socket) -> None:
        pending = b""
        while data := self._receive(gdb):
            pending += data
            self.most_at_once = max(self.most_at_once, len(_PACKET.findall(pending)))
            while found := _PACKET.search(pending):
                packet = found[1].decode("latin-1")
                self.packets.append(packet)
                if self._is_lost(packet):
                    self._end(gdb, stub)
                    return
                answer = self._answer(packet)
                if answer is not None:
                    self._send(gdb, answer)
                    pending = pending[found.end() :]
                    continue
                self._send(stub, pending[: found.end()])
                pending = pending[found.end() :]
            if pending and b"$" not in pending:
                self._send(stub, pending)
                pending = b""
        self._end(gdb, stub)

    def _answer(self, packet: str) -> bytes | None:
        """The proxy's own answer to a packet; None for one that QEMU answers."""
        # An empty answer means that the packet is unknown; GDB still acknowledges.
        return b"+$#00" if packet.startswith(self._refused) else None

    def _is_lost(self, packet: str) -> bool:
        """Whether the connection closes at this packet."""
        if self._armed_by and packet == self._armed_by:
            self._left = self.lose_at
            return False
        self._left -= 1
        return self._left == 0

    @staticmethod
    def _receive(end: socket.socket) -> bytes:
        try:
            return end.recv(65536)
        except OSError:
            return b""
