"""The guest's RAM, shared with QEMU and mapped here: read while the guest runs, without a stop or a packet.

It is an anonymous file in memory (a memfd): nothing is on disk, nothing remains, and a page costs memory only
after it was touched. A system without memfd uses a file in the session's private directory.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path
from typing import Protocol

from gdbplugin.machine import PhysicalReadError
from gdbplugin.session.directory import RAM

RAM_BYTES = 2 << 30
"""The RAM of the machine raspi4b, from physical address 0 on. QEMU has no other size for it."""
_WORD_BYTES = 8


class RamUnavailableError(Exception):
    """RAM cannot be shared here; the message is one sentence. A session works without it."""


class Ram(Protocol):
    """The guest's RAM as it is read; `MappedRam` is one."""

    def read(self, address: int, length: int) -> bytes:
        """Bytes from a physical address."""

    def word(self, address: int) -> int:
        """The aligned eight bytes at a physical address, read at once."""


class MappedRam:
    """RAM from physical address 0 on, mapped for reading. `close` unmaps it."""

    def __init__(self, descriptor: int, path: str, size: int) -> None:
        self.size = size
        """In bytes."""
        self.path = path
        """The file's name for QEMU, which inherits `descriptor`."""
        self.descriptor = descriptor
        self._bytes = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._words = memoryview(self._bytes).cast("Q")

    @classmethod
    def create(cls, directory: Path, size: int = RAM_BYTES) -> MappedRam:
        """New RAM, all zero: a memfd if the system has them, else a file in `directory`.

        Raises `RamUnavailableError`.
        """
        reasons = []
        for make in (_make_memfd, _make_file):
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
        """Exactly `length` bytes from physical `address`; raises `PhysicalReadError` outside RAM.

        The guest may write meanwhile: more than a word may mix values of two moments.
        """
        if address < 0 or length < 0 or address + length > self.size:
            raise PhysicalReadError(address, length, "it is not all RAM")
        return self._bytes[address : address + length]

    def word(self, address: int) -> int:
        """The eight bytes at an aligned physical address, read at once; raises `PhysicalReadError`."""
        if address % _WORD_BYTES or not 0 <= address < self.size:
            raise PhysicalReadError(address, _WORD_BYTES, "it is not an aligned word of RAM")
        return int(self._words[address // _WORD_BYTES])

    def close_descriptor(self) -> None:
        """Close the descriptor, once QEMU has inherited it; the mapping stays."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def close(self) -> None:
        """Unmap it; a second call does nothing."""
        self.close_descriptor()
        self._words.release()
        self._bytes.close()

    def __enter__(self) -> MappedRam:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_memfd(_: Path, __: int) -> tuple[int, str]:
    if sys.platform != "linux":
        raise RamUnavailableError("only Linux has memfd")
    descriptor = os.memfd_create("tinyos-ram", os.MFD_CLOEXEC)
    # /proc/self is the process that opens it: the name works in QEMU too, which inherits the descriptor.
    return descriptor, f"/proc/self/fd/{descriptor}"


def _make_file(directory: Path, size: int) -> tuple[int, str]:
    # A guest would die if the disk became full while it runs.
    there = os.statvfs(directory)
    if there.f_bavail * there.f_frsize < size:
        raise RamUnavailableError(f"{directory} has too little space")
    path = directory / RAM
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), str(path)
