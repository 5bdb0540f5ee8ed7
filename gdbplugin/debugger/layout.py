"""Layouts from GDB's own symbols, in the form of those that `gdbplugin.layout` reads from the DWARF.

They need neither the file nor the cache. CPU time of the first command in a GDB, on two cores: with GDB's
symbols 25 ms for `stats` and 35 ms for `report`; with the cached DWARF 38 and 57 ms, which misses the goal of
50 ms; right after a new build of the kernel, when the DWARF is not cached yet, 650 ms for `stats`.

GDB's Python does not tell which discriminant selects which variant of an enum with payloads. Statics with
such a type are read from the ELF file's DWARF instead, and so are statics that GDB does not find: GDB 13
finds none in a file whose index (`.debug_names`) lacks some of the file's units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gdb

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
)
from gdbplugin.machine import MachineError


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
    """None: `complete` raises those of the file."""

    def __init__(self, complete: Callable[[str], Static | None]) -> None:
        self._complete = complete
        self._types: dict[str, Type] = {}
        self._statics: dict[str, Static | None] = {}
        self._incomplete = False

    def static(self, name: str) -> Static | None:
        """The static of that qualified name; None if neither GDB nor the file has it."""
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
