"""The layout of the program that GDB has loaded: from GDB's own symbols, else from the DWARF of its files.

GDB's symbols need neither the file nor the cache. CPU time of the first command in a GDB, on two cores: with
them 25 ms for `stats` and 35 ms for `report`; with the cached DWARF 38 and 57 ms, which misses the goal of
50 ms; right after a new build of the kernel, when the DWARF is not cached yet, 650 ms for `stats`.

GDB's Python does not tell which discriminant selects which variant of an enum with payloads. Statics with
such a type are read from the DWARF instead, and so are statics that GDB does not find: GDB 13 finds none in a
file whose index (`.debug_names`) lacks some of the file's units. What reads DWARF is imported only then.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence

import gdb

from gdbplugin.kernel.design import MANAGER, DesignLayout
from gdbplugin.layout.elf import ElfError, read_sections
from gdbplugin.layout.types import (
    Array,
    Enumeration,
    Field,
    LayoutError,
    Opaque,
    Scalar,
    Static,
    Struct,
    Type,
    in_one_line,
)
from gdbplugin.machine import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from gdbplugin.kernel.call_frames import CallFrameTable
    from gdbplugin.layout.cache import StaticTable
    from gdbplugin.layout.code import CodeMap


class WrongProgramError(MachineError):
    """The program loaded in GDB is missing, stripped, not TinyOS, or not the one that the machine runs."""


def file_name() -> str:
    """The path of the loaded program; raises `WrongProgramError` if there is none."""
    space = gdb.current_progspace()
    name = space.filename if space is not None else None
    if not name:
        raise WrongProgramError("no program is loaded: load the kernel's ELF (file build/kernel.elf)")
    return str(name)


def how_to_read_all() -> str:
    """What to type if GDB itself has not read all symbols of the file."""
    return (
        f"type `symbol-file -readnow {file_name()}`, which makes GDB read all of it without the file's index"
    )


_KINDS = {
    gdb.TYPE_CODE_BOOL: "boolean",
    gdb.TYPE_CODE_CHAR: "character",
    gdb.TYPE_CODE_FLT: "float",
}


def find_symbol(name: str) -> gdb.Symbol | None:
    """The static of that qualified name; None if GDB does not have it or fails to read it."""
    try:
        return gdb.lookup_global_symbol(name) or gdb.lookup_static_symbol(name)
    except gdb.error:
        return None  # Then the file itself is read, and any problem reported.


class GdbLayout:
    """The layout of the program GDB has loaded; satisfies `gdbplugin.layout.types.Layout`.

    `complete` reads a static by name from the DWARF, and may raise `LayoutError`. It is called only for
    statics that GDB does not find, or whose types have enums with payloads.
    """

    problems: Sequence[str] = ()
    """None: `complete` raises those of the files."""

    def __init__(self, complete: Callable[[str], Static | None]) -> None:
        self._complete = complete
        self._types: dict[str, Type] = {}
        self._statics: dict[str, Static | None] = {}
        self._incomplete = False

    def static(self, name: str) -> Static | None:
        """The static of that qualified name; None if neither GDB nor the files have it."""
        if name not in self._statics:
            self._statics[name] = self._look_up(name)
        return self._statics[name]

    def _look_up(self, name: str) -> Static | None:
        symbol = find_symbol(name)
        if symbol is None or symbol.type is None:
            return self._complete(name)
        self._incomplete = False
        type_ = self._read(symbol.type)
        if self._incomplete:
            return self._complete(name)
        address = symbol.value().address
        return None if address is None else Static(name, int(address), type_)

    def _read(self, type_: gdb.Type) -> Type:
        type_ = type_.strip_typedefs().unqualified()
        code = type_.code
        if code == gdb.TYPE_CODE_ARRAY:
            low, high = type_.range()
            return Array(self._read(type_.target()), high - low + 1)
        name = type_.name or ""
        if name and name in self._types:
            return self._types[name]
        read = self._read_new(type_, name)
        if name:
            self._types[name] = read
        return read

    def _read_new(self, type_: gdb.Type, name: str) -> Type:
        code = type_.code
        if code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_FUNC, gdb.TYPE_CODE_REF):
            return Scalar("pointer", type_.sizeof, "pointer")
        if code == gdb.TYPE_CODE_ENUM:
            return _enumeration(type_, name)
        if code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            return self._record(type_, name)
        if code == gdb.TYPE_CODE_INT:
            return Scalar(name, type_.sizeof, "signed" if type_.is_signed else "unsigned")
        if code in _KINDS:
            return Scalar(name, type_.sizeof, _KINDS[code])
        raise LayoutError(f"GDB gives {name or 'a type'} an unknown type code ({code})")

    def _record(self, type_: gdb.Type, name: str) -> Type:
        fields = [field for field in type_.fields() if hasattr(field, "bitpos")]
        if not any(field.artificial for field in fields):
            return Struct(name, type_.sizeof, tuple(self._field(field) for field in fields))
        self._incomplete = True
        return Opaque(name, type_.sizeof)

    def _field(self, field: gdb.Field) -> Field:
        assert field.type is not None
        return Field(field.name or "", (field.bitpos or 0) // 8, self._read(field.type))


def _enumeration(type_: gdb.Type, name: str) -> Enumeration:
    values = tuple((field.enumval, (field.name or "").rpartition("::")[2]) for field in type_.fields())
    return Enumeration(name, type_.sizeof, any(number < 0 for number, _ in values), values)


def static_in_files(name: str) -> Static | None:
    """A static of the loaded program as its DWARF has it; raises `LayoutError`."""
    problems: list[str] = []
    for table in _tables(problems):
        found = table.static(name)
        if found is not None:
            return found
    if problems:
        raise LayoutError(in_one_line(problems))
    return None


def statics_in_files(names: frozenset[str]) -> dict[str, Static]:
    """Every static of the loaded program with one of these last names, by its path."""
    problems: list[str] = []
    found: dict[str, Static] = {}
    for table in _tables(problems, crates=None, names=names):
        found.update(table.statics)
    if problems and not found:
        raise LayoutError(in_one_line(problems))
    return found


def _tables(problems: list[str], **chosen: Any) -> Iterator[StaticTable]:
    """The statics of each file, chosen as in `cache.load`; what could not be read goes into `problems`."""
    from gdbplugin.layout import cache

    for file in _files():
        try:
            table = cache.load(file, **chosen)
        except LayoutError as error:
            problems.append(str(error))
            continue
        problems += table.problems
        yield table


def code() -> CodeMap:
    """The functions and lines of the loaded program; raises `LayoutError`."""
    return _code(*_version(_files()[0]))


def call_frames() -> CallFrameTable:
    """The call frame information of the loaded program; raises `LayoutError`."""
    return _call_frames(*_version(_files()[0]))


def _version(path: Path) -> tuple[Path, int]:
    """A file, and when it was last changed."""
    try:
        return path, path.stat().st_mtime_ns
    except OSError as error:
        raise LayoutError(f"cannot read {path}: {error.strerror}") from error


@functools.lru_cache(maxsize=2)
def _code(path: Path, changed: int) -> CodeMap:
    from gdbplugin.layout import cache

    del changed
    return cache.load_code(path)


@functools.lru_cache(maxsize=2)
def _call_frames(path: Path, changed: int) -> CallFrameTable:
    from gdbplugin.kernel.call_frames import read_call_frames

    del changed
    return read_call_frames(path)


def require_manager(layout: DesignLayout, chosen: str) -> None:
    """Raise `WrongProgramError` or `LayoutError` if the program's files have no manager either."""
    from pathlib import Path

    from gdbplugin.layout.debug_file import has_name

    program, files = Path(file_name()), _files()
    last = MANAGER.rpartition("::")[2]
    # The symbol table first: reading the DWARF of another program may take minutes.
    words = {last, chosen.rpartition("::")[2] or last}
    named = [has_name(file, word.encode()) for file in (program, *files) for word in words]
    if True not in named and False in named:
        raise WrongProgramError(f"{program} is not TinyOS: it has no {last}")
    if layout.static(MANAGER) is None:
        raise WrongProgramError(
            f"{program} is not TinyOS: it has no {last} with debug information, or one of another shape"
        )


def _files() -> list[Path]:
    """The files with debug information that GDB has loaded; else the program's own debug file.

    Raises `LayoutError`, which says where that was searched for.
    """
    from pathlib import Path

    from gdbplugin.layout.debug_file import find_debug_file

    add_packages()
    # A separate debug file is an objfile too, and so is a file that the user added.
    files = [Path(one.filename) for one in gdb.objfiles() if one.filename]
    found = [file for file in files if file.is_file() and _has_debug_information(file)]
    if found:
        return found
    directories = str(gdb.parameter("debug-file-directory") or "").split(os.pathsep)
    return [find_debug_file(Path(file_name()), [Path(directory) for directory in directories if directory])]


def _has_debug_information(file: Path) -> bool:
    try:
        return read_sections(file).has_debug_information
    except ElfError:
        return False  # GDB loads files of other formats too.


@functools.cache
def add_packages() -> None:
    """Make the plugin's dependencies importable: GDB's Python does not use the virtual environment.

    In a checkout they are in `.venv`, otherwise next to the installed package. They go to the end of the
    path, so that other plugins still find their own versions first.
    """
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = os.path.join(root, ".venv", "lib")
    versions = sorted(os.listdir(environment)) if os.path.isdir(environment) else []
    for path in [os.path.join(environment, version, "site-packages") for version in versions] or [root]:
        if path not in sys.path:
            sys.path.append(path)
