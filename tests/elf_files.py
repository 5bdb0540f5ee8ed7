"""ELF files that a test has compressed, stripped or split in two, by Python so that no tool is needed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_PT_NOTE = 4
SHT_PROGBITS, SHT_NOTE, SHT_NOBITS = 1, 7, 8
SHF_ALLOC, SHF_COMPRESSED = 0x2, 0x800


@dataclass(frozen=True)
class Section:
    """A section with its bytes; `link` is the index of another section in the file that it came from."""

    name: str
    data: bytes
    kind: int = SHT_PROGBITS
    flags: int = 0
    address: int = 0
    size: int | None = None
    link: int = 0
    info: int = 0
    align: int = 1
    entry: int = 0

    @property
    def is_debug(self) -> bool:
        """As GNU's tools see it, which is why the kernel's `.debugger_probes` is one too."""
        return self.name.startswith((".debug", ".zdebug")) and not self.flags & SHF_ALLOC


def sections_of(elf: bytes) -> list[Section]:
    """The sections of a 64-bit little-endian file."""
    *_, start, _, _, _, _, _, count, names = _HEADER.unpack_from(elf)
    rows = [_SECTION.unpack_from(elf, start + index * _SECTION.size) for index in range(count)]
    text = elf[rows[names][4] :]
    found = []
    for name, kind, flags, address, offset, size, link, info, align, entry in rows:
        data = b"" if kind in (0, SHT_NOBITS) else elf[offset : offset + size]
        word = text[name : text.index(b"\0", name)].decode()
        found.append(Section(word, data, kind, flags, address, size, link, info, align, entry))
    return found


def changed(
    elf: bytes, change: Callable[[Section], Section | None], add: Iterable[Section] = (), loads: bool = True
) -> bytes:
    """The file with each section as `change` makes it (None: without it), and with more of them.

    What is loaded stays where it is in the file; without `loads` only the headers of that are left.
    """
    *_, start, _, _, _, _, _, _, old_names = _HEADER.unpack_from(elf)
    old = sections_of(elf)
    kept: dict[int, Section] = {}
    for index, section in enumerate(old):
        new = section if index == 0 else change(section)
        if new is not None and index != old_names:
            kept[index] = new
    loaded = [row for row in _rows(elf, start, len(old)) if row[2] & SHF_ALLOC and row[1] != SHT_NOBITS]
    end = max((row[4] + row[5] for row in loaded), default=_HEADER.size)
    content = bytearray(elf[:end] if loads else elf[: _HEADER.size + 56 * 16])
    places = {index: place for place, index in enumerate(kept)}
    names, table = bytearray(), bytearray()
    offsets = {index: row[4] for index, row in enumerate(_rows(elf, start, len(old)))}
    everything = [*kept.items(), *((None, section) for section in add)]
    for index, section in [*everything, (None, Section(".shstrtab", b"", 3))]:
        name, size = len(names), len(section.data)
        names += section.name.encode() + b"\0"
        data = bytes(names) if section.name == ".shstrtab" else section.data
        if section.flags & SHF_ALLOC and loads and index is not None:
            offset = offsets[index]
        else:
            content += bytes(-len(content) % max(section.align, 1))
            offset = len(content)
            content += data
        size = len(data)
        if section.kind in (0, SHT_NOBITS):
            size = section.size or 0
        link = places.get(section.link, 0) if index is not None else section.link
        row = (section.flags, section.address, offset, size, link, section.info, section.align, section.entry)
        table += _SECTION.pack(name, section.kind, *row)
    if not loads:
        note = next((one for one in _rows(bytes(table), 0, len(table) // 64) if one[1] == SHT_NOTE), None)
        _without_content(content, note[4] if note else 0)
    header = list(_HEADER.unpack_from(content))
    header[6], header[12], header[13] = len(content), len(everything) + 1, len(everything)
    _HEADER.pack_into(content, 0, *header)
    return bytes(content + table)


def _without_content(content: bytearray, note: int) -> None:
    """The program headers of a debug file: nothing is loaded from it, and its note lies elsewhere in it."""
    *_, start, _, _, _, size, count, _, _, _ = _HEADER.unpack_from(content)
    for place in range(start, start + size * count, size):
        kind, flags, offset, virtual, physical, filed, memory, align = _PROGRAM.unpack_from(content, place)
        offset, filed = (note, filed) if kind == _PT_NOTE else (offset, 0)
        _PROGRAM.pack_into(content, place, kind, flags, offset, virtual, physical, filed, memory, align)


def _rows(elf: bytes, start: int, count: int) -> list[tuple[int, ...]]:
    return [_SECTION.unpack_from(elf, start + index * _SECTION.size) for index in range(count)]


def without_indexes(path: Path) -> bytes:
    """Without the tables by which names and addresses may be found faster: nothing may need them."""
    indexes = (".debug_names", ".debug_aranges", ".debug_pubnames", ".debug_pubtypes", ".gdb_index")
    return changed(path.read_bytes(), lambda one: None if one.name in indexes else one)


def stripped(elf: bytes, add: Iterable[Section] = ()) -> bytes:
    """What `strip` leaves: neither symbols nor debug information."""
    return changed(elf, lambda one: None if one.is_debug or one.kind in (2, 3) else one, add)


def debug_only(elf: bytes) -> bytes:
    """What `objcopy --only-keep-debug` makes: all but what is loaded, the build-id excepted."""

    def without_loaded(section: Section) -> Section:
        if section.flags & SHF_ALLOC and section.kind != SHT_NOTE:
            return replace(section, kind=SHT_NOBITS, data=b"")
        return section

    return changed(elf, without_loaded, loads=False)


def debug_link(name: str, debug: bytes) -> Section:
    """The section by which a program names its debug file."""
    text = name.encode() + b"\0"
    text += bytes(-len(text) % 4)
    return Section(".gnu_debuglink", text + struct.pack("<I", zlib.crc32(debug)), align=4)


def _compressed(section: Section, method: int, data: bytes) -> Section:
    header = struct.pack("<IIQQ", method, 0, len(section.data), section.align)
    return replace(section, data=header + data, flags=section.flags | SHF_COMPRESSED, align=8)


def zlib_compressed(section: Section) -> Section:
    """As `--compress-debug-sections=zlib` does."""
    return _compressed(section, 1, zlib.compress(section.data)) if section.is_debug else section


def zlib_in_parts(section: Section) -> Section:
    """As linkers do that work in parallel: several streams one after the other."""
    half = len(section.data) // 2
    parts = zlib.compress(section.data[:half]) + zlib.compress(section.data[half:])
    return _compressed(section, 1, parts) if section.is_debug else section


def zlib_gnu_compressed(section: Section) -> Section:
    """As `--compress-debug-sections=zlib-gnu` does: not all of them, and not every one by another name."""
    data = b"ZLIB" + struct.pack(">Q", len(section.data)) + zlib.compress(section.data)
    if not section.is_debug or section.name == ".debug_addr" or len(data) >= len(section.data):
        return section
    return replace(section, name=section.name.replace(".debug_", ".zdebug_"), data=data)


def zstd_compressed(section: Section) -> Section:
    """As `--compress-debug-sections=zstd` does."""
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    return _compressed(section, 2, zstd.compress(section.data)) if section.is_debug else section


def oddly_compressed(section: Section) -> Section:
    """By a method that nobody knows yet."""
    return _compressed(section, 9, section.data) if section.is_debug else section


COMPRESSIONS = {
    "zlib": zlib_compressed,
    "zlib-in-parts": zlib_in_parts,
    "zlib-gnu": zlib_gnu_compressed,
    "zstd": zstd_compressed,
}
