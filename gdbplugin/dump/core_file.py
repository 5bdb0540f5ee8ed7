"""ELF cores of a whole machine: written sparsely, and read as physical memory (System V gABI, chapter 5).

Physical memory lies in the file once; each `PT_LOAD` segment shows a part of it at a virtual address. So a
debugger reads the kernel's half and the tasks' stacks by virtual address, and this package reads all of it by
physical address. Where the guest has touched nothing, the file has a hole.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gdbplugin.machine import PhysicalReadError
from gdbplugin.records import NamedTuple, Protocol, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

PAGE_BYTES = 4096
_HEADER = struct.Struct("<4s4BQHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION_BYTES = 64
_NOTE = struct.Struct("<III")
_ET_CORE, _EM_AARCH64 = 4, 183
_PT_LOAD, _PT_NOTE = 1, 4
_NT_PRSTATUS = 1
_PN_XNUM = 0xFFFF
_STATUS_BYTES, _STATUS_PID, _STATUS_REGISTERS = 392, 32, 112
_REGISTERS = 34  # X0 to X30, SP, PC, PSTATE.
# All of physical memory is a segment too, at virtual addresses that no translation table can map.
_PHYSICAL_VIEW = 0x00FF_0000_0000_0000
_OWNER = "TinyOS"
_NT_TINYOS = 0x5401  # Tools take a number of their own, whoever the owner is, for what they know.
_MOST_NOTE_BYTES = 16 << 20
_MOST_PART_BYTES = 1 << 20
_MOST_SEGMENTS = 1 << 20
_MOST_THREADS = 4096
_MOST_PHYSICAL = 1 << 52  # The architecture has no longer physical addresses.


class DumpError(Exception):
    """A file is not a dump, or a damaged one. The message is one plain sentence."""


class Thread(NamedTuple):
    """A thread as a debugger shows it: its number, and X0 to X30, SP, PC and PSTATE."""

    number: int
    registers: Sequence[int]


class Segment(NamedTuple):
    """A range of virtual addresses, and the physical address of its first byte."""

    virtual: int
    physical: int
    size: int


@dataclass(frozen=True)
class Contents:
    """What a dump has beside memory. `information` is JSON data: see `gdbplugin.dump.machine`."""

    threads: tuple[Thread, ...]
    segments: tuple[Segment, ...]
    information: Mapping[str, Any]
    memory_size: int
    """Bytes of physical memory, from address 0 on."""
    ranges: tuple[tuple[int, int], ...]
    """The ranges of it that can be read by physical address: start and size."""


class Output(Protocol):
    """What a core is written to: a file, or a stream that only goes on."""

    def write(self, data: bytes, /) -> int:
        """Write at the current place."""

    def seek(self, place: int, /) -> int:
        """Go to a place."""

    def truncate(self, size: int, /) -> int:
        """Set the size."""


def write_core(file: Output, contents: Contents, memory: Iterable[tuple[int, bytes]]) -> None:
    """Write a core; `memory` are the parts of physical memory that may not be zero: address and bytes.

    Pages of zeros become holes. Raises `OSError`.
    """
    notes = b"".join([_status(thread) for thread in contents.threads])
    notes += _note(_OWNER, _NT_TINYOS, json.dumps(contents.information).encode())
    views = [Segment(_PHYSICAL_VIEW + start, start, size) for start, size in contents.ranges]
    segments = [*contents.segments, *views]
    count = len(segments) + 1
    extended = count >= _PN_XNUM
    table = _HEADER.size + (_SECTION_BYTES if extended else 0)
    start = table + count * _PROGRAM.size
    base = -(-(start + len(notes)) // PAGE_BYTES) * PAGE_BYTES
    file.write(_header(count, table))
    if extended:
        file.write(_section(count))
    file.write(_PROGRAM.pack(_PT_NOTE, 4, start, 0, 0, len(notes), 0, 4))
    for one in segments:
        row = (one.virtual, one.physical, one.size, one.size, PAGE_BYTES)
        file.write(_PROGRAM.pack(_PT_LOAD, 6, base + one.physical, *row))
    file.write(notes)
    file.truncate(base + contents.memory_size)
    for address, data in memory:
        for offset, part in not_zero(data):
            file.seek(base + address + offset)
            file.write(part)


def _header(count: int, table: int) -> bytes:
    sections = (_HEADER.size, 1) if table != _HEADER.size else (0, 0)
    return _HEADER.pack(
        *(b"\x7fELF", 2, 1, 1, 0, 0, _ET_CORE, _EM_AARCH64, 1, 0, table, sections[0], 0),
        *(_HEADER.size, _PROGRAM.size, min(count, _PN_XNUM), _SECTION_BYTES, sections[1], 0),
    )


def _section(count: int) -> bytes:
    """The section that has the number of segments, where that has more than 16 bits (`sh_info`)."""
    return struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, count, 0, 0)


def _status(thread: Thread) -> bytes:
    """The note NT_PRSTATUS: Linux's `struct elf_prstatus` for AArch64."""
    data = bytearray(_STATUS_BYTES)
    struct.pack_into("<i", data, _STATUS_PID, thread.number)
    struct.pack_into(f"<{_REGISTERS}Q", data, _STATUS_REGISTERS, *thread.registers)
    return _note("CORE", _NT_PRSTATUS, bytes(data))


def _note(owner: str, kind: int, data: bytes) -> bytes:
    name = owner.encode() + b"\0"
    return _NOTE.pack(len(name), len(data), kind) + _padded(name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def not_zero(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The runs of pages that are not all zero."""
    if data == bytes(len(data)):
        return  # Most parts are; this is the fastest way to see it.
    zeros = bytes(PAGE_BYTES)
    start = None
    for place in range(0, len(data), PAGE_BYTES):
        page = data[place : place + PAGE_BYTES]
        if page != zeros[: len(page)]:
            start = place if start is None else start
        elif start is not None:
            yield start, data[start:place]
            start = None
    if start is not None:
        yield start, data[start:]


class CoreFile:
    """A core opened for reading: its threads, its information, and its physical memory. `close` ends it.

    Raises `DumpError` for a file that is not a core for AArch64, or whose headers are damaged.
    """

    kind = "ELF core"

    def __init__(self, path: Path, file: BinaryIO | None = None) -> None:
        """With `file`, that is read; `path` is then only its name in messages."""
        self.path = path
        self._file = file or opened(path)
        try:
            self._size = self._file.seek(0, 2)
            self.segments: list[tuple[int, int, int]] = []
            """Physical address, size and place in the file of each part of memory, by address."""
            self.threads: list[Thread] = []
            self.information: dict[str, Any] = {}
            self._read_headers()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Its memory: start and size of each range, by address, joined where they overlap."""
        found: list[tuple[int, int]] = []
        for start, size in sorted((physical, size) for physical, size, _ in self.segments):
            before, length = found[-1] if found else (0, -1)
            if start <= before + length:
                found[-1] = before, max(length, start + size - before)
            else:
                found.append((start, size))
        return tuple(found)

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from a physical address; raises `PhysicalReadError`."""
        for physical, size, place in self.segments:
            if physical <= address and address + length <= physical + size:
                data = self._at(place + address - physical, length)
                if len(data) == length:
                    return data
                raise PhysicalReadError(address, length, "the dump is cut off there")
        raise PhysicalReadError(address, length, "the dump has no such memory")

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """Its memory without the holes of the file: physical address and bytes. Closes the file.

        Raises `DumpError` if the segments share more of the file than one view of it.
        """
        with self._file:
            held = sum(min(size, max(0, self._size - place)) for _, size, place in self.segments)
            if held > self._size:
                raise DumpError(
                    f"{self.path} is damaged: its segments have {held:,} bytes, more than the file"
                )
            for physical, size, place in sorted(self.segments):
                for offset, data in data_of(self._file.fileno(), place + size, place):
                    yield physical + offset - place, data

    def _at(self, place: int, length: int) -> bytes:
        if place >= self._size or length <= 0:
            return b""
        self._file.seek(place)
        return self._file.read(min(length, self._size - place))

    def _read_headers(self) -> None:
        header = self._at(0, _HEADER.size)
        if header[:6] != b"\x7fELF\x02\x01" or len(header) < _HEADER.size:
            raise DumpError(f"{self.path} is not a 64-bit little-endian ELF file")
        (*_, kind, machine, _, _, table, sections, _, _, size, count, _, _, _) = _HEADER.unpack(header)
        if (kind, machine) != (_ET_CORE, _EM_AARCH64):
            raise DumpError(f"{self.path} is not a core of an AArch64 machine")
        if size != _PROGRAM.size:
            raise DumpError(f"{self.path} has program headers of {size} bytes, not {_PROGRAM.size}")
        if count == _PN_XNUM:
            count = int.from_bytes(self._at(sections + 44, 4), "little")
        if count > _MOST_SEGMENTS:
            raise DumpError(f"{self.path} says that it has {count:,} segments")
        rows = self._at(table, count * _PROGRAM.size)
        if len(rows) < count * _PROGRAM.size:
            raise DumpError(f"{self.path} is truncated: its program headers are cut off")
        found = set()
        self._note_bytes = min(self._size, _MOST_NOTE_BYTES)  # What may still be read of all notes together.
        for kind, _, place, _, physical, file_size, _, _ in _PROGRAM.iter_unpack(rows):
            if kind == _PT_NOTE:
                notes = self._at(place, min(file_size, self._note_bytes))
                self._note_bytes -= len(notes)
                self._read_notes(notes)
            elif kind == _PT_LOAD and file_size:
                if physical + file_size > _MOST_PHYSICAL or place + file_size >= 1 << 63:
                    raise DumpError(
                        f"{self.path} is damaged: it says that it has {file_size:,} bytes of memory at "
                        f"{physical:#x}, from place {place:#x} of the file on"
                    )
                found.add((physical, file_size, place))
        self.segments = sorted(_joined(found), key=lambda one: -one[1])

    def _read_notes(self, data: bytes) -> None:
        for name, kind, content in read_notes(data):
            thread = registers_of(name, kind, content)
            if thread is not None:
                if len(self.threads) == _MOST_THREADS:
                    raise DumpError(f"{self.path} is damaged: it has more than {_MOST_THREADS:,} threads")
                self.threads.append(thread)
            elif name == _OWNER.encode() + b"\0" and kind == _NT_TINYOS:
                self.information = self._information(content)

    def _information(self, data: bytes) -> dict[str, Any]:
        damaged = DumpError(f"the note of {self.path} with the system registers is damaged")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise damaged from error
        if not isinstance(found, dict):
            raise damaged
        cores = found.get("cores", [{}])
        if not isinstance(cores, list) or not 0 < len(cores) <= _MOST_THREADS:
            raise damaged
        for core in cores:
            if not isinstance(core, dict) or not all(map(_is_register, core.values())):
                raise damaged
        return found


def _is_register(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _joined(segments: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Segments (physical address, size, place), those joined that go on both in memory and in the file."""
    found: list[tuple[int, int, int]] = []
    for physical, size, place in sorted(segments, key=lambda one: (one[2] - one[0], one[0])):
        if found:
            start, length, before = found[-1]
            if place - physical == before - start and physical <= start + length:
                found[-1] = start, max(length, physical + size - start), before
                continue
        found.append((physical, size, place))
    return found


def opened(path: Path) -> BinaryIO:
    """A file opened for reading; raises `DumpError`."""
    try:
        if stat.S_ISFIFO(path.stat().st_mode):  # Opening would wait for a writer.
            raise DumpError(f"cannot read {path}: it is a pipe, and a dump is read at many places")
        return path.open("rb")
    except OSError as error:
        raise DumpError(f"cannot read {path}: {error.strerror}") from error


def read_notes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """The notes in `data`: name with its final 0, type, and content."""
    position = 0
    while position + _NOTE.size <= len(data):
        name_size, size, kind = _NOTE.unpack_from(data, position)
        name = position + _NOTE.size
        content = name + (name_size + 3 & ~3)
        yield data[name : name + name_size], kind, data[content : content + size]
        position = content + (size + 3 & ~3)


def registers_of(name: bytes, kind: int, data: bytes) -> Thread | None:
    """The thread whose registers a note has; None if it is another note."""
    if name != b"CORE\0" or kind != _NT_PRSTATUS or len(data) < _STATUS_BYTES:
        return None
    (number,) = struct.unpack_from("<i", data, _STATUS_PID)
    return Thread(number, struct.unpack_from(f"<{_REGISTERS}Q", data, _STATUS_REGISTERS))


def data_of(descriptor: int, size: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """The parts of a sparse file from `start` to `size` that are not holes: offset and bytes, 1 MiB at most.

    Raises `OSError`.
    """
    position = start
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # No data from there on.
                return
            raise
        position = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        for offset in range(start, position, _MOST_PART_BYTES):
            yield offset, os.pread(descriptor, min(_MOST_PART_BYTES, position - offset), offset)
