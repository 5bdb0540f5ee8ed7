"""The guest's RAM, shared with QEMU and mapped here: read while the guest runs, with no stop and no packet.

It is memory without a name (a memfd): nothing of it is on disk, nothing is left behind, and a page costs
memory only once it was touched. A system that has none uses a file in the session's private directory.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

from gdbplugin.machine import PhysicalReadError
from gdbplugin.session.directory import RAM

RAM_BYTES = 2 << 30
"""The RAM of the machine raspi4b, from physical address 0 on. It cannot be changed."""
_WORD_BYTES = 8


class RamUnavailableError(Exception):
    """No RAM can be shared here; the message is one plain sentence. A session goes on without."""


class MappedRam:
    """RAM from physical address 0 on, mapped for reading. Its pages are given back after `close`."""

    def __init__(self, descriptor: int, path: str, size: int) -> None:
        self.size = size
        """In bytes."""
        self.path = path
        """The file, as QEMU is to be told of it; it inherits `descriptor`."""
        self.descriptor = descriptor
        self._bytes = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._words = memoryview(self._bytes).cast("Q")

    @classmethod
    def create(cls, directory: Path, size: int = RAM_BYTES) -> MappedRam:
        """New RAM, all zero: without a name where the system can, else a file in `directory`.

        Raises `RamUnavailableError`.
        """
        reasons = []
        for make in (_make_nameless, _make_file):
            try:
                descriptor, path = make(directory, size)
            except (OSError, RamUnavailableError) as error:
                reasons.append(str(error))
                continue
            try:
                os.ftruncate(descriptor, size)
                return cls(descriptor, path, size)
            except OSError as error:
                os.close(descriptor)
                reasons.append(str(error))
        raise RamUnavailableError(f"{size} bytes for the guest cannot be mapped: {'; '.join(reasons)}")

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from physical `address`; raises `PhysicalReadError` outside of RAM.

        The guest may write meanwhile: what is longer than a word may be of two moments.
        """
        if address < 0 or length < 0 or address + length > self.size:
            raise PhysicalReadError(address, length, "it is not all RAM")
        return self._bytes[address : address + length]

    def word(self, address: int) -> int:
        """The eight bytes at an aligned physical address, read at once; raises `PhysicalReadError`."""
        if address % _WORD_BYTES or not 0 <= address < self.size:
            raise PhysicalReadError(address, _WORD_BYTES, "it is no aligned word of RAM")
        return int(self._words[address // _WORD_BYTES])

    def handed_over(self) -> None:
        """QEMU has the descriptor now: ours is needed no more."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def close(self) -> None:
        """Unmap it; a second call does nothing."""
        self.handed_over()
        self._words.release()
        self._bytes.close()

    def __enter__(self) -> MappedRam:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_nameless(_: Path, __: int) -> tuple[int, str]:
    if sys.platform != "linux":
        raise RamUnavailableError("memory without a name is Linux's")
    descriptor = os.memfd_create("tinyos-ram", os.MFD_CLOEXEC)
    # Of whoever opens it: so it is good in QEMU too, which inherits the descriptor.
    return descriptor, f"/proc/self/fd/{descriptor}"


def _make_file(directory: Path, size: int) -> tuple[int, str]:
    # A guest that runs out of room on the way would die.
    there = os.statvfs(directory)
    if there.f_bavail * there.f_frsize < size:
        raise RamUnavailableError(f"{directory} has too little room")
    path = directory / RAM
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), str(path)
