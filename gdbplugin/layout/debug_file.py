"""Finds the file with a program's debug information, as GDB does: the program itself or a separate file.

See "Debugging Information in Separate Files" in GDB's manual: first by build-id below the debug directories,
then by the name in `.gnu_debuglink`: next to the program, in `.debug` there, and at the same path below the
debug directories. A file of that name must have the checksum given in the link.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from gdbplugin.layout.elf import ElfError, Sections, read_image, read_sections
from gdbplugin.layout.types import LayoutError
from gdbplugin.records import dataclass

DIRECTORIES = (Path("/usr/lib/debug"),)
"""GDB's `debug-file-directory` as distributions set it."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Link:
    """The contents of `.gnu_debuglink`: the debug file's name without a folder, and its CRC-32."""

    name: str
    checksum: int


def find_debug_file(path: Path, directories: Sequence[Path] = DIRECTORIES) -> Path:
    """The file with the DWARF of an ELF file: itself, or its separate debug file.

    Raises `LayoutError`, which names the places searched and says why a file found there is not usable.
    """
    try:
        sections = read_sections(path)
        if sections.has_debug_information:
            return path
        build_id, link = build_id_of(path), _link(sections)
    except ElfError as error:
        raise LayoutError(str(error)) from error
    tried: list[Path] = []
    wrong: list[str] = []
    for candidate in _by_build_id(build_id, directories):
        tried.append(candidate)
        if _is_usable(candidate, wrong) and _has_build_id(candidate, build_id, wrong, path):
            return candidate
    for candidate in _by_link(link, path, directories):
        tried.append(candidate)
        if _is_usable(candidate, wrong) and _has_checksum(candidate, link, wrong, path):
            return candidate
    raise LayoutError(_why_none(path, link, tried, wrong))


def build_id_of(path: Path) -> bytes | None:
    """The build-id of a program or debug file; raises `ElfError`."""
    return read_sections(path).build_id or read_image(path).build_id


def has_name(path: Path, name: bytes) -> bool | None:
    """Whether a name is in an ELF file's symbol table; None if the file has no such table.

    A quick check before the DWARF is read, which may be that of another, much larger program.
    Raises `LayoutError` if the file cannot be read.
    """
    try:
        names = read_sections(path).text(".strtab")
    except ElfError as error:
        raise LayoutError(str(error)) from error
    return name in names if names else None


def _by_build_id(build_id: bytes | None, directories: Sequence[Path]) -> Iterator[Path]:
    if build_id:
        digits = build_id.hex()
        for directory in directories:
            yield directory / ".build-id" / digits[:2] / f"{digits[2:]}.debug"


def _by_link(link: _Link | None, path: Path, directories: Sequence[Path]) -> Iterator[Path]:
    if link is None:
        return
    # The program may be given by a symbolic link: the debug file is next to the link or to its target.
    folders = dict.fromkeys([path.absolute().parent, path.resolve().parent])
    for folder in folders:
        yield folder / link.name
        yield folder / ".debug" / link.name
        for directory in directories:
            yield directory / folder.relative_to(folder.anchor) / link.name


def _is_usable(candidate: Path, wrong: list[str]) -> bool:
    """Whether a file exists and has DWARF. Why an existing one is not usable goes into `wrong`."""
    # Unlike Path.is_file, this does not raise for a name that no file can have.
    if not os.path.isfile(candidate):
        return False
    try:
        if read_sections(candidate).has_debug_information:
            return True
        wrong.append(f"{candidate} has no debug information either")
    except ElfError as error:
        wrong.append(str(error))
    return False


def _has_build_id(candidate: Path, build_id: bytes | None, wrong: list[str], path: Path) -> bool:
    if build_id_of(candidate) == build_id:
        return True
    wrong.append(f"{candidate} does not belong to {path}: it has another build-id")
    return False


def _has_checksum(candidate: Path, link: _Link | None, wrong: list[str], path: Path) -> bool:
    found = 0
    with candidate.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found = zlib.crc32(chunk, found)
    if link is not None and found == link.checksum:
        return True
    expected = link.checksum if link is not None else 0
    wrong.append(
        f"{candidate} does not belong to {path}: its checksum is {found:#010x}, not {expected:#010x} as "
        "the program's .gnu_debuglink says"
    )
    return False


def _link(sections: Sections) -> _Link | None:
    data = sections.text(".gnu_debuglink")
    name, _, _ = data.partition(b"\0")
    end = (len(name) + 4) & ~3  # After the name's zero, rounded up to four bytes.
    if not name or len(data) < end + 4:
        return None
    return _Link(name.decode("utf-8", "replace"), int.from_bytes(data[end : end + 4], "little"))


def _why_none(path: Path, link: _Link | None, tried: Sequence[Path], wrong: Sequence[str]) -> str:
    stripped = f"{path} is stripped: it has no debug information"
    if wrong:
        return f"{stripped}, and {'; '.join(wrong)}: give the debug file of this very build"
    places = ", ".join(map(str, tried))
    if link is not None:
        return f"{stripped}, and its debug file {link.name} is missing: put it at one of {places}"
    if places:
        return f"{stripped}, and no debug file is at {places}: give the ELF as the linker wrote it"
    return f"{stripped}, and it names no debug file: give the ELF as the linker wrote it"
