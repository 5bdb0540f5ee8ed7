"""Layouts kept on disk by build-id, so that a file's DWARF is parsed once in its life.

The place is `tinyos-gdb` in `XDG_CACHE_HOME`, or in `~/.cache`. A cache that cannot be read or written is
no error: the DWARF is parsed again.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from gdbplugin.layout.debug_file import DIRECTORIES, build_id_of, find_debug_file
from gdbplugin.layout.elf import ElfError
from gdbplugin.layout.types import (
    Array,
    Choice,
    Enumeration,
    Field,
    LayoutError,
    Scalar,
    Static,
    Struct,
    Type,
    Variant,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 2
CRATES = ("tinyos", "kernel")
"""The crates whose statics a layout of TinyOS holds."""


class StaticTable:
    """A layout out of a table of statics; satisfies `gdbplugin.layout.types.Layout`."""

    def __init__(self, statics: Mapping[str, Static], problems: Sequence[str] = ()) -> None:
        self.statics = dict(statics)
        self.problems = tuple(problems)

    def static(self, name: str) -> Static | None:
        """The static of that qualified name, else the only one whose last part is that of `name`."""
        exact = self.statics.get(name)
        if exact is not None:
            return exact
        last = name.rpartition("::")[2]
        found = [static for known, static in self.statics.items() if known.rpartition("::")[2] == last]
        return found[0] if len(found) == 1 else None


def load(
    path: Path,
    crates: Sequence[str] | None = CRATES,
    directory: Path | None = None,
    debug_directories: Sequence[Path] = DIRECTORIES,
    names: Collection[str] | None = None,
) -> StaticTable:
    """The layout of an ELF file: from the cache, else from its DWARF and then into the cache.

    `crates` and `names` are as `gdbplugin.layout.dwarf.read_statics` takes them.

    The DWARF may be in a separate file, found as `debug_file` says. The cache entry has the build-id of the
    file with the DWARF: a program whose debug file is missing gets nothing, whatever was cached before. What
    was read only in part is not kept.
    Raises `LayoutError` where the file is unusable or has no debug information.
    """
    debug = find_debug_file(path, debug_directories)
    try:
        build_id = build_id_of(debug)
    except ElfError as error:
        raise LayoutError(str(error)) from error
    place = None
    directory = directory or cache_directory()
    if build_id and directory is not None:
        place = directory / f"{build_id.hex()}-{_selection(crates, names)}-{FORMAT}.json"
        known = _restore(place)
        if known is not None:
            return known
    # Not at the top: this import alone takes as long as a command should.
    from gdbplugin.layout import pyelftools

    pyelftools.require()
    from gdbplugin.layout.dwarf import read_statics

    statics, problems = read_statics(debug, crates, names)
    if place is not None and not problems:
        _keep(place, statics)
    return StaticTable(statics, problems)


def _selection(crates: Sequence[str] | None, names: Collection[str] | None) -> str:
    """What of a program is in a cache entry, for its file name."""
    chosen = "every-crate" if crates is None else "-".join(crates)
    if names is None:
        return chosen
    return f"{chosen}-{zlib.crc32(' '.join(sorted(names)).encode()):08x}"


def cache_directory() -> Path | None:
    """Where layouts are kept; None for a user without a home."""
    # A relative path is to be ignored, says the XDG Base Directory Specification.
    for base in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):
        if os.path.isabs(base):
            return Path(base, "tinyos-gdb")
    return None


def _restore(place: Path) -> StaticTable | None:
    try:
        return StaticTable(loads(place.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _keep(place: Path, statics: Mapping[str, Static]) -> None:
    """Write a cache entry so that no reader ever sees half of it."""
    # Not at the top: only a first use needs it.
    import tempfile

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as directory:
            new = Path(directory, place.name)
            new.write_text(dumps(statics), "utf-8")
            os.replace(new, place)
    except OSError:
        return


def dumps(statics: Mapping[str, Static]) -> str:
    """Statics as JSON text: a table of types, each naming others by their place in it."""
    writer = _Writer()
    entries = [[static.name, static.address, writer.add(static.type)] for static in statics.values()]
    return json.dumps({"statics": entries, "types": writer.rows}, separators=(",", ":"))


def loads(text: str) -> dict[str, Static]:
    """Statics out of what `dumps` made; one of several built-in exceptions if the text is something else."""
    content = json.loads(text)
    types: list[Type] = []
    for row in content["types"]:
        types.append(_READERS[row[0]](row, types))
    return {name: Static(name, address, types[place]) for name, address, place in content["statics"]}


class _Writer:
    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self._places: dict[int, int] = {}
        self._kept: list[Type] = []

    def add(self, type_: Type) -> int:
        """The place of a type in the table; what it consists of comes before it."""
        place = self._places.get(id(type_))
        if place is None:
            row = self._row(type_)
            place = self._places[id(type_)] = len(self.rows)
            self._kept.append(type_)  # Keeps its id from being given to another object.
            self.rows.append(row)
        return place

    def _fields(self, fields: Sequence[Field]) -> list[list[Any]]:
        return [[field.name, field.offset, self.add(field.type)] for field in fields]

    def _row(self, type_: Type) -> list[Any]:
        if isinstance(type_, Scalar):
            return ["scalar", type_.name, type_.size, type_.kind]
        if isinstance(type_, Array):
            return ["array", self.add(type_.element), type_.count]
        if isinstance(type_, Struct):
            return ["struct", type_.name, type_.size, self._fields(type_.fields)]
        if isinstance(type_, Enumeration):
            return ["enumeration", type_.name, type_.size, type_.signed, type_.values]
        variants = [
            [variant.name, variant.discriminants, self.add(variant.payload)] for variant in type_.variants
        ]
        discriminant = self._fields([type_.discriminant])[0] if type_.discriminant else None
        return ["choice", type_.name, type_.size, discriminant, variants]


def _field(row: list[Any], types: list[Type]) -> Field:
    return Field(row[0], row[1], types[row[2]])


def _struct(row: list[Any], types: list[Type]) -> Struct:
    return Struct(row[1], row[2], tuple(_field(field, types) for field in row[3]))


def _choice(row: list[Any], types: list[Type]) -> Choice:
    variants = []
    for name, discriminants, place in row[4]:
        payload = types[place]
        if not isinstance(payload, Struct):
            raise TypeError("the payload of a variant is a struct")
        variants.append(Variant(name, tuple(discriminants), payload))
    discriminant = _field(row[3], types) if row[3] is not None else None
    return Choice(row[1], row[2], discriminant, tuple(variants))


def _enumeration(row: list[Any], _: list[Type]) -> Enumeration:
    return Enumeration(row[1], row[2], row[3], tuple((number, name) for number, name in row[4]))


_READERS: Mapping[str, Any] = {
    "scalar": lambda row, _: Scalar(row[1], row[2], row[3]),
    "array": lambda row, types: Array(types[row[1]], row[2]),
    "struct": _struct,
    "enumeration": _enumeration,
    "choice": _choice,
}
