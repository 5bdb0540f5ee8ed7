"""Layouts from the DWARF of an ELF file, read by pyelftools.

Only the units of the wanted crates are parsed: a kernel's file also has all of `core`. That still takes up to
a second, so `cache` keeps the result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from gdbplugin.layout.dwarf_unit import UNREADABLE, UnitReader, UnsupportedError, in_words, name_of, string_of
from gdbplugin.layout.elf import ElfError, open_plain
from gdbplugin.layout.types import LayoutError, Static, in_one_line

_SUPPLEMENTARY = ("DW_FORM_GNU_ref_alt", "DW_FORM_GNU_strp_alt", "DW_FORM_ref_sup", "DW_FORM_strp_sup")
# Rust's own library: large, and never a kernel.
_LIBRARY = frozenset({"alloc", "compiler_builtins", "core", "panic_abort", "panic_unwind", "std", "unwind"})


def read_statics(
    path: Path, crates: Sequence[str] | None, names: Collection[str] | None = None
) -> tuple[Mapping[str, Static], tuple[str, ...]]:
    """The statics of the crates by qualified name, and a clause for each thing that could not be read.

    Without `crates`: of every crate except Rust's own library. With `names`: only statics whose last name is
    among them; the types of others are not read. A part that is not understood affects no other part. `path`
    is the file with the DWARF itself. Raises `LayoutError` if it has none, or nothing in it can be read.
    """
    try:
        with open_plain(path) as file:
            elf = ELFFile(file)
            # Not `has_dwarf_info`, which is also true for unwind tables alone.
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
    """Reads one file: the statics of its units, and the problems met."""

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
        """Every unit; one whose header is not understood is skipped by its length."""
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
        """Record what was not understood, and what can be done about it."""
        why = in_words(error)
        if self._supplement is not None and any(form in why for form in _SUPPLEMENTARY):
            # The same for every unit.
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
    """The size in bytes of the unit at `offset`, with its length field; never 0."""
    stream.seek(offset)
    raw = stream.read(12)
    length = int.from_bytes(raw[:4], "little")
    if length == 0xFFFF_FFFF:  # 64-bit DWARF.
        return 12 + int.from_bytes(raw[4:], "little")
    return 4 + length


def _supplement_of(elf: Any) -> str | None:
    """The supplementary file to which dwz moved what several programs share, or None."""
    link = elf.get_section_by_name(".gnu_debugaltlink")
    if link is not None:
        return f"{_text(link.data())} (.gnu_debugaltlink)"
    link = elf.get_section_by_name(".debug_sup")
    # Two bytes of version, then a byte that says whether this file is the supplement itself.
    return None if link is None or link.data()[2:3] == b"\1" else f"{_text(link.data()[3:])} (.debug_sup)"


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def _top_of(unit: Any) -> Any:
    """The unit's own entry."""
    forms = unit.structs.Dwarf_dw_form
    # pyelftools reads eight bytes; DWARF 5, 7.5.5, has four.
    forms["DW_FORM_strx4"] = unit.structs.Dwarf_uint32("")
    return unit.get_top_DIE()


def _split_file(top: Any) -> str | None:
    """The `.dwo` file with the rest of a skeleton unit; None for a whole unit."""
    for attribute in ("DW_AT_dwo_name", "DW_AT_GNU_dwo_name"):
        if attribute in top.attributes:
            return string_of(top.attributes[attribute])
    return None


def _crate_of(top: Any) -> str:
    """The crate of a unit, which rustc names `src/lib.rs/@/CRATE.HASH-cgu.N`."""
    return name_of(top).rpartition("/@/")[2].partition(".")[0]
