"""Reads a `CodeMap` from an ELF file: from its DWARF by pyelftools, and from its symbols for assembly."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from gdbplugin.layout.code import CodeMap, CodeTables
from gdbplugin.layout.dwarf_unit import UNREADABLE, UnsupportedError, in_words, name_of, string_of
from gdbplugin.layout.elf import ElfError, open_plain
from gdbplugin.records import NamedTuple

_NAMED = frozenset(
    {
        "DW_TAG_namespace",
        "DW_TAG_structure_type",
        "DW_TAG_union_type",
        "DW_TAG_enumeration_type",
        "DW_TAG_subprogram",
    }
)
_ORIGINS = ("DW_AT_abstract_origin", "DW_AT_specification")
# An inlined function refers to its abstract instance, and that to its declaration.
_MOST_ORIGINS = 8
_SHF_EXECINSTR = 4


def read_code(path: Path) -> CodeMap:
    """The functions and lines of an ELF file. What could not be read is among the map's `problems`."""
    problems: list[str] = []
    tables = CodeTables()
    try:
        with open_plain(path) as file:
            elf = ELFFile(file)
            if elf.get_section_by_name(".debug_info") is not None:
                _Reader(elf.get_dwarf_info(), tables, problems).finish()
            _add_symbols(elf, tables)
    except (ElfError, OSError) as error:
        problems.append(str(error))
    except UNREADABLE as error:
        problems.append(f"the functions of {path} cannot be read: {in_words(error)}")
    tables.sort()
    return CodeMap(tables, problems)


class _Subprogram(NamedTuple):
    """A function, or an inlined instance (`depth` at least 0), with a reference instead of a name."""

    ranges: list[tuple[int, int]]
    origin: int
    depth: int
    outer: int
    call_file: str | None
    call_line: int | None


class _Reader:
    """Walks every unit once; names are looked up afterwards, as they may be in a later unit."""

    def __init__(self, dwarf: Any, tables: CodeTables, problems: list[str]) -> None:
        self._dwarf = dwarf
        self._tables = tables
        self._names: dict[int, str] = {}
        self._origins: dict[int, int] = {}
        self._found: list[_Subprogram] = []
        for unit in dwarf.iter_CUs():
            try:
                files = self._read_lines(unit)
                self._walk(unit, files)
            except UNREADABLE as error:
                problems.append(
                    f"the functions of the unit at {unit.cu_offset:#x} cannot be read: {in_words(error)}"
                )

    def finish(self) -> None:
        """Put the functions that were found into the tables, by their names."""
        tables = self._tables
        for one in self._found:
            name = tables.number(self._name(one.origin))
            if one.depth < 0:
                tables.functions += [[start, end, one.outer, name] for start, end in one.ranges]
                continue
            called = tables.number(one.call_file), one.call_line
            tables.inlined.setdefault(str(one.outer), []).extend(
                [start, end, one.depth, name, *called] for start, end in one.ranges
            )

    def _name(self, offset: int) -> str:
        for _ in range(_MOST_ORIGINS):
            if offset in self._names or offset not in self._origins:
                break
            offset = self._origins[offset]
        return self._names.get(offset, "?")

    def _walk(self, unit: Any, files: list[str]) -> None:
        """Read the entries of a unit in the order of the file, each with the path of those around it."""
        top = unit.get_top_DIE()
        offset, end = top.offset + top.size, unit.cu_offset + unit.size
        # For each open entry: the path of names, the function's entry address, and the depth of inlining.
        around: list[tuple[tuple[str, ...], int | None, int]] = [((), None, -1)]
        while offset < end and around:
            entry = unit.get_DIE_from_refaddr(offset)
            offset += entry.size
            if entry.is_null():
                around.pop()
                continue
            inner = self._read(unit, entry, files, *around[-1])
            if entry.has_children:
                around.append(inner)

    def _read(
        self, unit: Any, entry: Any, files: list[str], path: tuple[str, ...], outer: int | None, depth: int
    ) -> tuple[tuple[str, ...], int | None, int]:
        """Keep what one entry says; returns what its children stand in."""
        tag = entry.tag
        if tag in _NAMED:
            name = name_of(entry)
            path = (*path, name)
            if name:
                self._names[entry.offset] = "::".join(path)
        if tag not in ("DW_TAG_subprogram", "DW_TAG_inlined_subroutine"):
            return path, outer, depth
        origin = _reference(unit, entry)
        if origin is not None:
            self._origins[entry.offset] = origin
        ranges = self._ranges(unit, entry)
        if tag == "DW_TAG_subprogram":
            if not ranges:
                return path, None, -1
            start = ranges[0][0]
            self._found.append(_Subprogram(ranges, entry.offset, -1, start, None, None))
            return path, start, -1
        if outer is None:
            return path, None, -1
        file, line = (_number(entry, name) for name in ("DW_AT_call_file", "DW_AT_call_line"))
        called_in = files[file] if file is not None and 0 <= file < len(files) else None
        self._found.append(_Subprogram(ranges, entry.offset, depth + 1, outer, called_in, line))
        return path, outer, depth + 1

    def _ranges(self, unit: Any, entry: Any) -> list[tuple[int, int]]:
        """The instruction ranges of an entry, the one with its entry point first.

        Those that the linker removed are left out.
        """
        attributes = entry.attributes
        low = attributes.get("DW_AT_low_pc")
        if "DW_AT_ranges" in attributes:
            found = list(self._listed(unit, attributes["DW_AT_ranges"].value))
        elif low is not None and "DW_AT_high_pc" in attributes:
            high = attributes["DW_AT_high_pc"]
            end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
            found = [(low.value, end)]
        else:
            found = []
        return [(start, end) for start, end in found if 0 < start < end]

    def _listed(self, unit: Any, offset: int) -> Iterator[tuple[int, int]]:
        base = _number(unit.get_top_DIE(), "DW_AT_low_pc") or 0
        for one in self._dwarf.range_lists().get_range_list_at_offset(offset, unit):
            if hasattr(one, "base_address"):
                base = one.base_address
            else:
                shift = 0 if one.is_absolute else base
                yield one.begin_offset + shift, one.end_offset + shift

    def _read_lines(self, unit: Any) -> list[str]:
        """Keep the rows of a unit's line table; returns its files by number."""
        program = self._dwarf.line_program_for_CU(unit)
        if program is None:
            return []
        tables, files = self._tables, _files(program, unit.get_top_DIE())
        last: tuple[str | None, int] | None = None
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if state.line == 0 and not state.end_sequence:
                continue  # Code of no line of its own counts as that before it, as in GDB.
            file = files[state.file] if 0 <= state.file < len(files) else None
            place = (None, 0) if state.end_sequence else (file, state.line)
            if place != last and state.address:
                tables.addresses.append(state.address)
                tables.files.append(tables.number(place[0]))
                tables.lines.append(place[1])
            last = None if state.end_sequence else place
        return files


def _files(program: Any, top: Any) -> list[str]:
    """The files of a line table by their numbers, relative to the directory of the compilation."""
    header = program.header
    start = os.path.normpath(_text(top, "DW_AT_comp_dir") or "/")
    is_modern = header.version >= 5
    directories = [
        entry.decode("utf-8", "replace") if isinstance(entry, bytes) else ""
        for entry in header.include_directory
    ]
    if not is_modern:
        directories.insert(0, "")
    found = [] if is_modern else [""]
    for entry in header.file_entry:
        name = entry.name.decode("utf-8", "replace")
        index = entry.dir_index
        directory = directories[index] if 0 <= index < len(directories) else ""
        whole = os.path.normpath(os.path.join(start, directory, name))
        found.append(whole.removeprefix(start.rstrip("/") + "/"))
    return found


def _text(entry: Any, name: str) -> str:
    attribute = entry.attributes.get(name)
    return string_of(attribute) if attribute else ""


def _number(entry: Any, name: str) -> int | None:
    attribute = entry.attributes.get(name)
    return attribute.value if attribute is not None and isinstance(attribute.value, int) else None


def _reference(unit: Any, entry: Any) -> int | None:
    """The offset of the entry that has the name of this one."""
    for name in _ORIGINS:
        attribute = entry.attributes.get(name)
        if attribute is None:
            continue
        if attribute.form == "DW_FORM_ref_addr":
            return int(attribute.value)
        if attribute.form.startswith("DW_FORM_ref") and isinstance(attribute.value, int):
            return int(unit.cu_offset + attribute.value)
        raise UnsupportedError(str(attribute.form))
    return None


def _add_symbols(elf: Any, tables: CodeTables) -> None:
    """Add the functions that only the symbol table knows: those in assembly."""
    table = elf.get_section_by_name(".symtab")
    if table is None:
        return
    sections = {
        index: range(section["sh_addr"], section["sh_addr"] + section["sh_size"])
        for index, section in enumerate(elf.iter_sections())
        if section["sh_flags"] & _SHF_EXECINSTR
    }
    named: dict[int, str] = {}
    for symbol in table.iter_symbols():
        address, section = symbol["st_value"], sections.get(symbol["st_shndx"], ())
        # Names with a $ mark code and data in a section (AAELF64, 5.5.4).
        if address in section and symbol.name and not symbol.name.startswith(("$", ".L")):
            named.setdefault(address, symbol.name)
    known = {row[0] for row in tables.functions}
    ends = sorted({*named, *known, *(section.stop for section in sections.values())})
    for address, end in itertools.pairwise(ends):
        if address in named and address not in known:
            tables.functions.append([address, end, address, tables.number(named[address])])
