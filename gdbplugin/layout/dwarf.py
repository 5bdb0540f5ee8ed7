"""Layouts from an ELF file's DWARF, by pyelftools.

Only the compile units that belong to the wanted crates are parsed: a kernel's file carries the whole of
`core` besides, which nobody asks for. Still this takes a second or so; `cache` keeps the outcome.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from gdbplugin.layout.dwarf_unit import UNREADABLE, UnitReader, UnsupportedError, in_words, name_of, string_of
from gdbplugin.layout.elf import ElfError
from gdbplugin.layout.sections import open_plain
from gdbplugin.layout.types import LayoutError, Static, in_one_line

_SUPPLEMENTARY = ("DW_FORM_GNU_ref_alt", "DW_FORM_GNU_strp_alt", "DW_FORM_ref_sup", "DW_FORM_strp_sup")
# Large, and nobody's kernel.
_LIBRARY = frozenset({"alloc", "compiler_builtins", "core", "panic_abort", "panic_unwind", "std", "unwind"})


def read_statics(
    path: Path, crates: Sequence[str] | None, names: Collection[str] | None = None
) -> tuple[Mapping[str, Static], tuple[str, ...]]:
    """Every static of the crates, by qualified name; and what could not be read, a clause each.

    Without `crates` those of every crate but Rust's own library. With `names` only statics of which one of
    them is the last part of the name: what others are made of is not looked at.
    One part that is not understood takes no other with it. `path` is the file that has the DWARF itself.
    Raises `LayoutError` where it has none, or nothing of it can be read.
    """
    try:
        with open_plain(path) as file:
            elf = ELFFile(file)
            # Not `has_dwarf_info`: for that, unwind tables alone are enough.
            if elf.get_section_by_name(".debug_info") is None:
                raise LayoutError(f"{path} has no debug information")
            reader = _FileReader(path, elf, crates, names)
            reader.read()
    except OSError as error:
        raise LayoutError(f"cannot read {path}: {error.strerror}") from error
    except ElfError as error:
        raise LayoutError(str(error)) from error
    except UNREADABLE as error:
        raise LayoutError(
            f"the debug information of {path} cannot be understood: {in_words(error)}"
        ) from error
    if reader.problems and not reader.statics:
        raise LayoutError(in_one_line(reader.problems))
    return reader.statics, tuple(reader.problems)


class _FileReader:
    """One file: the statics of its units, and what could not be read."""

    def __init__(
        self, path: Path, elf: Any, crates: Sequence[str] | None, names: Collection[str] | None
    ) -> None:
        self.statics: dict[str, Static] = {}
        self.problems: list[str] = []
        self._path = path
        self._crates = crates
        self._names = names
        self._dwarf = elf.get_dwarf_info()
        self._supplement = _supplement_of(elf)

    def read(self) -> None:
        """Read every unit."""
        split = []
        for unit in self._units():
            where = f"unit at {unit.cu_offset:#x}"
            try:
                top = _top_of(unit)
                elsewhere = _split_file(top)
                if elsewhere is not None:
                    split.append(elsewhere)
                elif self._is_wanted(_crate_of(top)):
                    self._read_unit(unit, top)
            except UNREADABLE as error:
                self._note(where, error)
        if split:
            more = f" and {len(split) - 1} more" if len(split) > 1 else ""
            self.problems.append(
                f"the debug information of {self._path} is split: part of it is in {split[0]}{more}, which "
                "the plugin does not read; build the kernel with -Csplit-debuginfo=off"
            )

    def _is_wanted(self, crate: str) -> bool:
        if self._crates is None:
            return bool(crate) and crate not in _LIBRARY
        return crate in self._crates

    def _read_unit(self, unit: Any, top: Any) -> None:
        reader = UnitReader(unit, self._note, self._names)
        for static in reader.statics(top):
            self.statics[static.name] = static

    def _units(self) -> Iterator[Any]:
        """The units one after the other; from one whose header is not understood its length leads on."""
        section = self._dwarf.debug_info_sec
        offset = 0
        while offset < section.size:
            try:
                yield self._dwarf.get_CU_at(offset)
            except UNREADABLE as error:
                self._note(f"unit at {offset:#x}", error)
            following = offset + _unit_size(section.stream, offset)
            if following > section.size:
                self._note(f"unit at {offset:#x}", UnsupportedError("it ends beyond its section"))
            offset = following

    def _note(self, where: str, error: Exception) -> None:
        """Keep what was not understood, and what can be done about it."""
        why = in_words(error)
        if self._supplement is not None and any(form in why for form in _SUPPLEMENTARY):
            # Every unit says the same.
            problem = (
                f"the debug information of {self._path} is partly in a supplementary file, "
                f"{self._supplement}, which the plugin does not read; give the file as it was before dwz"
            )
        else:
            problem = (
                f"the debug information of {self._path} cannot be read: {why} ({where}); "
                "build the kernel with another compiler, or with -Cdwarf-version=4"
            )
        if problem not in self.problems:
            self.problems.append(problem)


def _unit_size(stream: Any, offset: int) -> int:
    """The size in bytes of the unit at `offset`, its length field included; never 0."""
    stream.seek(offset)
    raw = stream.read(12)
    length = int.from_bytes(raw[:4], "little")
    if length == 0xFFFF_FFFF:  # 64-bit DWARF.
        return 12 + int.from_bytes(raw[4:], "little")
    return 4 + length


def _supplement_of(elf: Any) -> str | None:
    """The file that dwz has moved to what several programs share; None where there is none."""
    link = elf.get_section_by_name(".gnu_debugaltlink")
    if link is not None:
        return f"{_text(link.data())} (.gnu_debugaltlink)"
    link = elf.get_section_by_name(".debug_sup")
    # A version of two bytes, and a byte that says whether the file is the supplement itself.
    return None if link is None or link.data()[2:3] == b"\1" else f"{_text(link.data()[3:])} (.debug_sup)"


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def _top_of(unit: Any) -> Any:
    """The entry that stands for a whole unit."""
    forms = unit.structs.Dwarf_dw_form
    # pyelftools takes eight bytes for it; DWARF 5, 7.5.5, has four.
    forms["DW_FORM_strx4"] = unit.structs.Dwarf_uint32("")
    return unit.get_top_DIE()


def _split_file(top: Any) -> str | None:
    """The `.dwo` file with the rest of a skeleton unit; None for a unit that is whole."""
    for attribute in ("DW_AT_dwo_name", "DW_AT_GNU_dwo_name"):
        if attribute in top.attributes:
            return string_of(top.attributes[attribute])
    return None


def _crate_of(top: Any) -> str:
    """The crate of a compile unit, which rustc names `src/lib.rs/@/CRATE.HASH-cgu.N`."""
    return name_of(top).rpartition("/@/")[2].partition(".")[0]
