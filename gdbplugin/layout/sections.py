"""The sections of an ELF file, decompressed where they are compressed.

Read with the `struct` module: a debugger asks at its first command where the debug information is, and must
not wait for pyelftools. `open_plain` decompresses a file for pyelftools, which knows zlib only, and reads no
file in which some sections have the old names (`.zdebug_info`) and others do not.
"""

from __future__ import annotations

import importlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from gdbplugin.layout.elf import ElfError, cut, find_build_id, require_whole
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
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


@dataclass(frozen=True)
class Section:
    """A section of a file. `offset` and `size` are in bytes, as the section lies in the file.

    `name` is the usual one: `.debug_info` for `.zdebug_info` too. `compression` is the method's number in
    the ELF specification, None for a section that is not compressed; `start` is where the compressed data
    begins, counted from the section's own start; `plain_size` is the size in bytes once decompressed.
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
    """The sections of one ELF file. Look them up by name; read one with `data`."""

    def __init__(self, path: Path, table: int, sections: tuple[Section, ...], names: int) -> None:
        self.path = path
        self.all = sections
        self.table = table
        """Where the section headers lie in the file."""
        self.names = names
        """The index of the section that holds the names."""

    def find(self, name: str) -> Section | None:
        """The section of that name that has bytes in the file; None if there is none."""
        return next((one for one in self.all if one.name == name and one.kind != _SHT_NOBITS), None)

    @property
    def has_debug_information(self) -> bool:
        """Whether the file has DWARF of its own; unwind tables alone do not count."""
        found = self.find(".debug_info")
        return found is not None and found.size > 0

    def data(self, section: Section) -> bytes:
        """The bytes of a section, decompressed. Raises `ElfError` where that cannot be done."""
        with _opened(self.path) as file:
            raw = cut(file, section.offset, section.size, self.path, f"its section {section.name}")
        if section.compression is None:
            return raw
        try:
            return _decompressed(section, raw[section.start :])
        except ElfError as error:
            raise ElfError(f"section {section.name} of {self.path} {error}") from error

    def text(self, name: str) -> bytes:
        """The bytes of the section of that name; none where there is no such section."""
        found = self.find(name)
        return b"" if found is None else self.data(found)

    @property
    def build_id(self) -> bytes | None:
        """The build-id in the file's note sections.

        The program headers of a debug file lead nowhere: its loaded sections were left out.
        """
        notes = [(one.offset, self.data(one)) for one in self.all if one.kind == _SHT_NOTE]
        return find_build_id(notes)[0]


def read_sections(path: Path) -> Sections:
    """Read a file's section headers; a file without any has no sections.

    Raises `ElfError` for anything but a 64-bit little-endian ELF file, and for one that is cut off.
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
        # A file with very many sections has these two numbers in its first section.
        count = count or first[5]
        names = first[6] if names == _EXTENDED_INDEX else names
        rows = [*_SECTION.iter_unpack(cut(file, start, size * count, path, "its section headers"))]
        text = b""
        if names < len(rows):
            text = cut(file, rows[names][4], rows[names][5], path, "its section names")
        sections = tuple(_section(file, path, index, row, text) for index, row in enumerate(rows))
    return Sections(path, start, sections, names)


def open_plain(path: Path) -> BinaryIO:
    """The file, open for reading, with every section decompressed and named as usual. Raises `ElfError`."""
    sections = read_sections(path)
    with _opened(path) as file:
        for section in sections.all:
            if section.kind not in (_SHT_NULL, _SHT_NOBITS):
                # Else pyelftools would ask for as many bytes as a corrupt header says.
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
    """Whether data begins as GNU's tools wrote it before ELF had compression.

    A table of strings may begin with these letters too, but is then followed by a letter, where a size has 0.
    """
    return len(head) >= _OLD_COMPRESSION.size and head[:4] == b"ZLIB" and head[4] == 0


def _decompressed(section: Section, data: bytes) -> bytes:
    size = section.plain_size
    if size > _MOST_BYTES:
        raise ElfError(
            f"says that it has {size:,} bytes once decompressed: more than are read ({_MOST_BYTES:,})"
        )
    found = b"".join(_parts(section.compression, data, size))
    if len(found) != size:
        raise ElfError(
            f"does not decompress to the {size:,} bytes that it should have, but to {len(found):,}"
        )
    return found


def _parts(compression: int | None, data: bytes, size: int) -> Iterator[bytes]:
    """What the data decompresses to: linkers that work in parallel write several streams in a row."""
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
        raise ElfError(f"is compressed in a way that is not known, number {compression}: decompress it")
    # Python has it from 3.14 on; before that a package has the same under another name.
    for name in ("compression.zstd", "backports.zstd"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        return module.ZstdDecompressor, module.ZstdError
    raise ElfError(
        "is compressed with zstd, which this Python cannot decompress: install the package backports.zstd "
        "for it, or decompress the file (objcopy --decompress-debug-sections)"
    )
