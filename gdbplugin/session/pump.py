"""Waiting, for everything a session listens to at once.

QEMU blocks when nobody empties its console, and GDB when nobody reads its answers. So whichever of them is
waited for, all are read: one selector, no thread, no sleep.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable

from gdbplugin.session.errors import WaitTimeoutError
from gdbplugin.session.signals import deferred

_READ_BYTES = 1 << 16
_EVIDENCE_LINES = 12
_EVIDENCE_COLUMNS = 200


class Pump:
    """Reads every stream added to it while any wait is on."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._witnesses: dict[str, Callable[[], str]] = {}
        self._pieces = 0  # Read so far.

    def add(self, descriptor: int, receive: Callable[[bytes], None]) -> None:
        """Hand what arrives on `descriptor` to `receive`; at its end `b""`, once, and it is removed."""
        self._selector.register(descriptor, selectors.EVENT_READ, receive)

    def remove(self, descriptor: int) -> None:
        """Stop reading `descriptor`; nothing happens where it is not read (any more)."""
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def witness(self, name: str, text: Callable[[], str]) -> None:
        """Let the error of every wait that runs out show the last lines of `text()` under `name`."""
        self._witnesses[name] = text

    def evidence(self) -> str:
        """The last lines of every witness that has said something."""
        parts = []
        for name, text in self._witnesses.items():
            lines = [line[:_EVIDENCE_COLUMNS] for line in text().splitlines()[-_EVIDENCE_LINES:]]
            if lines:
                parts.append("\n".join([f"--- last of {name}:", *lines]))
        return "\n".join(parts)

    def wait(self, done: Callable[[], bool], timeout: float, waiting_for: str) -> None:
        """Read until `done()`; raises `WaitTimeoutError`, naming `waiting_for`, after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            seen = self._pieces
            if done():
                return
            if self._pieces != seen:
                continue  # It has read itself, perhaps what it had looked for before that.
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeoutError(f"waited {timeout:g} s for {waiting_for}", self.evidence())
            self._read_ready(left)

    def drain(self) -> None:
        """Read what has already arrived, and wait for nothing."""
        while self._read_ready(0):
            pass

    def fileno(self) -> int:
        """A descriptor that is ready to be read when a stream is: then an event loop calls `drain`."""
        return self._selector.fileno()

    def close(self) -> None:
        """Forget every stream; they stay open."""
        self._selector.close()

    def _read_ready(self, timeout: float) -> bool:
        ready = self._selector.select(timeout)
        if not ready:
            return False
        with deferred():  # What was read and not yet handed on would be lost.
            for key, _ in ready:
                data = _read(key.fd)
                self._pieces += 1
                if not data:
                    self.remove(key.fd)
                key.data(data)
        return True


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _READ_BYTES)
    except ConnectionResetError:
        return b""  # A socket whose other end died with data unread: its end, as any other.
