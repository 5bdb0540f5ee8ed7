"""What an ELF file says of itself before its DWARF is read: its identity and where it is loaded.

A debugger asks this at the first command of a session, so it must cost next to nothing: two small
reads and the `struct` module. The DWARF is `dwarf`'s business.
"""

from __future__ import annotations

import io
import struct

from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")
_PT_LOAD = 1
_PT_NOTE = 4
_NT_GNU_BUILD_ID = 3
_EM_AARCH64 = 183


class ElfError(Exception):
    """The file is not an ELF file that can be used. The message is one plain sentence."""


@dataclass(frozen=True)
class Segment:
    """A loaded part of the file. Addresses and sizes in bytes."""

    virtual: int
    physical: int
    offset: int
    file_size: int
    memory_size: int


@dataclass(frozen=True)
class ElfImage:
    """A 64-bit little-endian ELF file: its build-id, if it has one, and its loaded segments."""

    path: Path | str
    machine: int
    entry: int
    segments: tuple[Segment, ...]
    build_id: bytes | None
    build_id_offset: int | None
    build_id_physical: int | None = None
    """By the note's own program header: a debug file lacks what is loaded, but still says where it lies."""

    @property
    def is_aarch64(self) -> bool:
        """Whether it is for AArch64."""
        return self.machine == _EM_AARCH64

    def physical(self, virtual: int) -> int | None:
        """The physical address the file gives to a virtual address of one of its segments."""
        for segment in self.segments:
            if segment.virtual <= virtual < segment.virtual + segment.memory_size:
                return segment.physical + virtual - segment.virtual
        return None

    def fingerprint(self, limit: int = 64) -> tuple[int, bytes]:
        """A physical address, and the bytes that lie there if a machine runs this file.

        The build-id where it is loaded; else the first `limit` bytes from the entry point on.
        """
        if self.build_id is not None and self.build_id_offset is not None:
            for segment in self.segments:
                inside = self.build_id_offset - segment.offset
                if 0 <= inside < segment.file_size:
                    return segment.physical + inside, self.build_id
        place = self.build_id_physical
        if self.build_id is not None and place is not None:
            for segment in self.segments:
                if segment.physical <= place < segment.physical + segment.memory_size:
                    return place, self.build_id
        for segment in self.segments:
            inside = self.entry - segment.virtual
            if not 0 <= inside < segment.file_size:
                inside = self.entry - segment.physical
            if 0 <= inside < segment.file_size:
                length = min(limit, segment.file_size - inside)
                with open(self.path, "rb") as file:
                    start = segment.offset + inside
                    return segment.physical + inside, cut(file, start, length, self.path, "its entry point")
        raise ElfError(f"{self.path} has nothing loaded at its entry point")


def require_whole(file: BinaryIO, offset: int, size: int, path: Path | str, what: str) -> None:
    """Raise `ElfError` where that part is not wholly in the file."""
    end = file.seek(0, io.SEEK_END)
    if offset + size > end:
        raise ElfError(f"{path} is truncated: {what} should end at byte {offset + size:,} of {end:,}")


def cut(file: BinaryIO, offset: int, size: int, path: Path | str, what: str) -> bytes:
    """That part of the file; raises `ElfError` where it is not all there."""
    try:
        require_whole(file, offset, size, path, what)
        file.seek(offset)
        return file.read(size)
    except OSError as error:
        raise ElfError(f"cannot read {path}: {error.strerror}") from error


def read_image(path: Path | str) -> ElfImage:
    """Read a file's headers; raises `ElfError` for anything but a 64-bit little-endian ELF file."""
    try:
        with open(path, "rb") as file:
            header = file.read(_HEADER.size)
            if header[:6] != b"\x7fELF\x02\x01" or len(header) < _HEADER.size:
                raise ElfError(f"{path} is not a 64-bit little-endian ELF file")
            (_, _, machine, _, entry, programs, _, _, _, size, count, _, _, _) = _HEADER.unpack(header)
            if size != _PROGRAM.size and count:
                raise ElfError(f"{path} has program headers of {size} bytes, not {_PROGRAM.size}")
            table = cut(file, programs, size * count, path, "its program headers")
            end = file.seek(0, io.SEEK_END)
            segments, notes, shifts = [], [], {}
            for kind, _, offset, virtual, physical, file_size, memory_size, _ in _PROGRAM.iter_unpack(table):
                if kind == _PT_LOAD:
                    segments.append(Segment(virtual, physical, offset, file_size, memory_size))
                elif kind == _PT_NOTE and offset < end:
                    file.seek(offset)
                    notes.append((offset, file.read(min(file_size, 4096))))
                    shifts[offset] = physical - offset
    except OSError as error:
        raise ElfError(f"cannot read {path}: {error.strerror}") from error
    build_id, place = find_build_id(notes)
    shift = next(
        (shifts[start] for start, data in notes if place and start <= place < start + len(data)), None
    )
    where = place + shift if place is not None and shift is not None else None
    return ElfImage(path, machine, entry, tuple(segments), build_id, place, where)


def find_build_id(notes: list[tuple[int, bytes]]) -> tuple[bytes | None, int | None]:
    """The build-id in a file's notes, and its offset in the file."""
    for start, data in notes:
        position = 0
        while position + _NOTE.size <= len(data):
            name_size, size, kind = _NOTE.unpack_from(data, position)
            name = position + _NOTE.size
            content = name + (name_size + 3 & ~3)
            if kind == _NT_GNU_BUILD_ID and data[name : name + name_size] == b"GNU\0":
                return data[content : content + size], start + content
            position = content + (size + 3 & ~3)
    return None, None
