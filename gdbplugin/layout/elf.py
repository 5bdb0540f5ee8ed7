"""ELF files without their DWARF: identity, loaded segments, and sections, decompressed where need be.

A debugger asks for these at its first command, so they are read with the `struct` module: importing
pyelftools takes longer than a command may.
"""

from __future__ import annotations

import importlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator

from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, BinaryIO

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")
_PT_LOAD = 1
_PT_NOTE = 4
_NT_GNU_BUILD_ID = 3
_EM_AARCH64 = 183
_SECTION = struct.Struct("<IIQQQQIIQQ")
_COMPRESSION = struct.Struct("<IIQQ")
_OLD_COMPRESSION = struct.Struct(">4sQ")
_SHT_NULL = 0
_SHT_NOTE = 7
_SHT_NOBITS = 8
_SHF_COMPRESSED = 0x800
_ZLIB, _ZSTD = 1, 2
_EXTENDED_INDEX = 0xFFFF
_MOST_BYTES = 1 << 30


class ElfError(Exception):
    """The file is not a usable ELF file. The message is one plain sentence."""


@dataclass(frozen=True)
class Segment:
    """A loaded part of the file. Addresses and sizes are in bytes."""

    virtual: int
    physical: int
    offset: int
    file_size: int
    memory_size: int


@dataclass(frozen=True)
class ElfImage:
    """A 64-bit little-endian ELF file: its loaded segments, and its build-id if it has one."""

    path: Path | str
    machine: int
    entry: int
    segments: tuple[Segment, ...]
    build_id: bytes | None
    build_id_offset: int | None
    build_id_physical: int | None = None
    """From the note's own program header: a debug file lacks the loaded bytes, but keeps their addresses."""

    @property
    def is_aarch64(self) -> bool:
        """Whether the file is for AArch64."""
        return self.machine == _EM_AARCH64

    def physical(self, virtual: int) -> int | None:
        """The physical address that the file gives for a virtual address; None outside its segments."""
        for segment in self.segments:
            if segment.virtual <= virtual < segment.virtual + segment.memory_size:
                return segment.physical + virtual - segment.virtual
        return None

    def fingerprint(self, limit: int = 64) -> tuple[int, bytes]:
        """A physical address, and the bytes that are there if a machine runs this file.

        They are the build-id if it is loaded, else the first `limit` bytes at the entry point.
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

    def difference(self, read_physical: Callable[[int, int], bytes | None]) -> str:
        """Why a machine does not run this file, in one line; empty if it does.

        `read_physical` takes a physical address and a length, and returns None if nothing can be read there.
        """
        address, expected = self.fingerprint()
        found = read_physical(address, len(expected))
        if found == expected:
            return ""
        instead = "cannot be read there" if found is None else f"has {found[:8].hex()}…"
        return (
            f"{self.path} is not what the machine runs: at physical {address:#x} it has "
            f"{expected[:8].hex()}…, the machine {instead}; load the ELF that was booted"
        )


def require_whole(file: BinaryIO, offset: int, size: int, path: Path | str, what: str) -> None:
    """Raise `ElfError` unless the whole part is in the file."""
    end = file.seek(0, io.SEEK_END)
    if offset + size > end:
        raise ElfError(f"{path} is truncated: {what} should end at byte {offset + size:,} of {end:,}")


def cut(file: BinaryIO, offset: int, size: int, path: Path | str, what: str) -> bytes:
    """Read a part of the file; raises `ElfError` unless all of it is there."""
    try:
        require_whole(file, offset, size, path, what)
        file.seek(offset)
        return file.read(size)
    except OSError as error:
        raise ElfError(f"cannot read {path}: {error.strerror}") from error


def read_image(path: Path | str) -> ElfImage:
    """Read a file's headers; raises `ElfError` unless it is a 64-bit little-endian ELF file."""
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
    """The build-id in a file's notes, given as (offset, data); and its offset in the file."""
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


@dataclass(frozen=True)
class Section:
    """A section of a file; `offset` and `size` are its place in the file, in bytes.

    `name` is the modern one: `.debug_info` for `.zdebug_info` too. `compression` is the method's number in
    the ELF specification, or None; `start` is where the compressed data begins, counted from the section's
    start; `plain_size` is the size in bytes after decompression.
    """

    index: int
    name: str
    kind: int
    offset: int
    size: int
    compression: int | None
    start: int
    plain_size: int


class Sections:
    """The sections of one ELF file."""

    def __init__(self, path: Path, table: int, sections: tuple[Section, ...], names: int) -> None:
        self.path = path
        self.all = sections
        self.table = table
        """The offset of the section headers in the file."""
        self.names = names
        """The index of the section that holds the names."""

    def find(self, name: str) -> Section | None:
        """The section of that name that has bytes in the file, or None."""
        return next((one for one in self.all if one.name == name and one.kind != _SHT_NOBITS), None)

    @property
    def has_debug_information(self) -> bool:
        """Whether the file itself has DWARF; unwind tables alone do not count."""
        found = self.find(".debug_info")
        return found is not None and found.size > 0

    def data(self, section: Section) -> bytes:
        """The bytes of a section, decompressed. Raises `ElfError`."""
        with _opened(self.path) as file:
            raw = cut(file, section.offset, section.size, self.path, f"its section {section.name}")
        if section.compression is None:
            return raw
        try:
            return _decompressed(section, raw[section.start :])
        except ElfError as error:
            raise ElfError(f"section {section.name} of {self.path} {error}") from error

    def text(self, name: str) -> bytes:
        """The bytes of the section of that name; empty if there is no such section."""
        found = self.find(name)
        return b"" if found is None else self.data(found)

    @property
    def build_id(self) -> bytes | None:
        """The build-id in the file's note sections.

        A debug file has no loaded sections, so its program headers do not lead to the build-id.
        """
        notes = [(one.offset, self.data(one)) for one in self.all if one.kind == _SHT_NOTE]
        return find_build_id(notes)[0]


def read_sections(path: Path) -> Sections:
    """Read a file's section headers, if it has any.

    Raises `ElfError` unless it is a whole 64-bit little-endian ELF file.
    """
    with _opened(path) as file:
        header = file.read(_HEADER.size)
        if header[:6] != b"\x7fELF\x02\x01" or len(header) < _HEADER.size:
            raise ElfError(f"{path} is not a 64-bit little-endian ELF file")
        *_, start, _, _, _, _, size, count, names = _HEADER.unpack(header)
        if start == 0:
            return Sections(path, 0, (), 0)
        if size != _SECTION.size:
            raise ElfError(f"{path} has section headers of {size} bytes, not {_SECTION.size}")
        first = _SECTION.unpack(cut(file, start, size, path, "its section headers"))
        # A file with very many sections keeps these two numbers in its first section.
        count = count or first[5]
        names = first[6] if names == _EXTENDED_INDEX else names
        rows = [*_SECTION.iter_unpack(cut(file, start, size * count, path, "its section headers"))]
        text = b""
        if names < len(rows):
            text = cut(file, rows[names][4], rows[names][5], path, "its section names")
        sections = tuple(_section(file, path, index, row, text) for index, row in enumerate(rows))
    return Sections(path, start, sections, names)


def open_plain(path: Path) -> BinaryIO:
    """Open the file with every section decompressed and under its modern name. Raises `ElfError`.

    For pyelftools, which knows only zlib, and reads no file where some sections have the old names
    (`.zdebug_info`) and others do not.
    """
    sections = read_sections(path)
    with _opened(path) as file:
        for section in sections.all:
            if section.kind not in (_SHT_NULL, _SHT_NOBITS):
                # Otherwise pyelftools would allocate as many bytes as a corrupt header says.
                require_whole(file, section.offset, section.size, path, f"its section {section.name}")
    compressed = [section for section in sections.all if section.compression is not None]
    if not compressed:
        return _opened(path)
    with _opened(path) as file:
        content = bytearray(file.read())
    names = bytearray(sections.data(sections.all[sections.names]))
    for section in compressed:
        data = sections.data(section)
        place = sections.table + section.index * _SECTION.size
        row = list(_SECTION.unpack_from(content, place))
        row[0], row[2], row[4], row[5] = len(names), row[2] & ~_SHF_COMPRESSED, len(content), len(data)
        _SECTION.pack_into(content, place, *row)
        names += section.name.encode() + b"\0"
        content += data
    place = sections.table + sections.names * _SECTION.size
    row = list(_SECTION.unpack_from(content, place))
    row[4], row[5] = len(content), len(names)
    _SECTION.pack_into(content, place, *row)
    return io.BytesIO(content + names)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ElfError(f"cannot read {path}: {error.strerror}") from error


def _section(file: BinaryIO, path: Path, index: int, row: tuple[int, ...], text: bytes) -> Section:
    place, kind, flags, _, offset, size, *_ = row
    name = text[place:].partition(b"\0")[0].decode("utf-8", "replace")
    compression, start, plain_size = None, 0, size
    head = b""
    if kind not in (_SHT_NULL, _SHT_NOBITS):
        head = cut(file, offset, min(size, _COMPRESSION.size), path, f"its section {name}")
    if flags & _SHF_COMPRESSED and len(head) == _COMPRESSION.size:
        compression, _, plain_size, _ = _COMPRESSION.unpack(head)
        start = _COMPRESSION.size
    elif name.startswith((".zdebug", ".debug")) and _is_compressed_as_of_old(head):
        _, plain_size = _OLD_COMPRESSION.unpack_from(head)
        compression, start = _ZLIB, _OLD_COMPRESSION.size
    if name.startswith(".zdebug"):
        name = "." + name[2:]
    return Section(index, name, kind, offset, size, compression, start, plain_size)


def _is_compressed_as_of_old(head: bytes) -> bool:
    """Whether data has the header that GNU's tools wrote before ELF defined compression.

    A string table may begin with the same letters, but has another letter next, where the size has a 0.
    """
    return len(head) >= _OLD_COMPRESSION.size and head[:4] == b"ZLIB" and head[4] == 0


def _decompressed(section: Section, data: bytes) -> bytes:
    size = section.plain_size
    if size > _MOST_BYTES:
        raise ElfError(f"claims to have {size:,} bytes after decompression: the limit is {_MOST_BYTES:,}")
    found = b"".join(_parts(section.compression, data, size))
    if len(found) != size:
        raise ElfError(f"decompresses to {len(found):,} bytes instead of {size:,}")
    return found


def _parts(compression: int | None, data: bytes, size: int) -> Iterator[bytes]:
    """The data decompressed, stream by stream: parallel linkers write several in a row."""
    new, failures = _decompressor(compression)
    while data and size > 0:
        stream = new()
        try:
            part = stream.decompress(data, size)
        except failures as error:
            raise ElfError(f"cannot be decompressed: {error}") from error
        yield part
        size -= len(part)
        if not stream.eof:
            return
        data = stream.unused_data


def _decompressor(compression: int | None) -> tuple[Callable[[], Any], type[Exception]]:
    if compression == _ZLIB:
        return zlib.decompressobj, zlib.error
    if compression != _ZSTD:
        raise ElfError(
            f"has unknown compression {compression}: decompress it (objcopy --decompress-debug-sections)"
        )
    module = zstd_module()
    if module is not None:
        return module.ZstdDecompressor, module.ZstdError
    raise ElfError(
        "is compressed with zstd, which this Python cannot decompress: install the package backports.zstd "
        "for it, or decompress the file (objcopy --decompress-debug-sections)"
    )


def zstd_module() -> Any:
    """The module for zstd, in Python since 3.14, and in a package for older ones; None if there is none."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
