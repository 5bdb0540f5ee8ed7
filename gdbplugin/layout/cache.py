"""Layouts and code maps kept on disk by build-id, so that the DWARF of a file is parsed only once.

They are in `tinyos-gdb` below `XDG_CACHE_HOME` or `~/.cache`. If that cannot be read or written, the DWARF is
parsed again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from gdbplugin.layout.debug_file import DIRECTORIES, build_id_of, find_debug_file
from gdbplugin.layout.elf import ElfError
from gdbplugin.layout.types import (
    Array,
    Enumeration,
    Field,
    LayoutError,
    Opaque,
    Option,
    Scalar,
    Static,
    Struct,
    Type,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.layout.code import CodeMap

FORMAT = 3
CRATES = ("tinyos", "kernel")
"""The crates of TinyOS."""
_OLDEST_PYELFTOOLS = (0, 33)
"""As in pyproject.toml: the first that reads every form of strings and addresses in DWARF 5."""


class StaticTable:
    """A layout made of a table of statics; satisfies `gdbplugin.layout.types.Layout`."""

    def __init__(self, statics: Mapping[str, Static], problems: Sequence[str] = ()) -> None:
        self.statics = dict(statics)
        self.problems = tuple(problems)

    def static(self, name: str) -> Static | None:
        """The static of that qualified name; else the only one with the same last part."""
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
    """The layout of an ELF file, from the cache or from its DWARF, which is then cached.

    `crates` and `names` are those of `gdbplugin.layout.dwarf.read_statics`. The DWARF may be in a separate
    file (see `debug_file`). A cache entry goes by the build-id of the file with the DWARF: a program whose
    debug file is missing gets no cached layout. A layout that was read only in part is not cached.
    Raises `LayoutError` if the file is unusable or has no debug information.
    """
    debug = find_debug_file(path, debug_directories)
    place = _place(debug, f"{_selection(crates, names)}-{FORMAT}", directory)
    if place is not None:
        known = _restore(place)
        if known is not None:
            return known
    # Not at the top: this import alone takes as long as a whole command may.
    _require_pyelftools()
    from gdbplugin.layout.dwarf import read_statics

    statics, problems = read_statics(debug, crates, names)
    # Nothing is kept for a name that the file does not have, for there are very many such names.
    if place is not None and not problems and (statics or names is None):
        _keep(place, dumps(statics))
    return StaticTable(statics, problems)


def load_code(
    path: Path, directory: Path | None = None, debug_directories: Sequence[Path] = DIRECTORIES
) -> CodeMap:
    """The functions and lines of an ELF file, from the cache or from its DWARF, as `load` does it.

    What could not be read is among the map's problems. Raises `LayoutError` if the file is unusable or has
    no debug information.
    """
    from gdbplugin.layout.code import CodeMap, CodeTables

    debug = find_debug_file(path, debug_directories)
    place = _place(debug, f"code-{FORMAT}", directory)
    if place is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return CodeMap(CodeTables.from_json(json.loads(place.read_text("utf-8"))))
    _require_pyelftools()
    from gdbplugin.layout.code_reader import read_code

    code = read_code(debug)
    if place is not None and not code.problems:
        _keep(place, json.dumps(code.tables.to_json(), separators=(",", ":")))
    return code


def _place(debug: Path, kind: str, directory: Path | None) -> Path | None:
    """The file of a cache entry; None if the file with the DWARF has no build-id, or there is no cache."""
    try:
        build_id = build_id_of(debug)
    except ElfError as error:
        raise LayoutError(str(error)) from error
    directory = directory or cache_directory()
    if not build_id or directory is None:
        return None
    return directory / f"{build_id.hex()}-{kind}.json"


def _require_pyelftools() -> None:
    """Raise `LayoutError` if pyelftools is missing or too old, with the version found.

    Setup installs it, but in GDB another plugin may have put an older one first on Python's path.
    """
    try:
        import elftools
    except Exception as error:  # Another plugin's file of that name may raise anything.
        raise LayoutError(f"debug information cannot be read without pyelftools: {error}") from error
    version = str(getattr(elftools, "__version__", "without a version"))
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < _OLDEST_PYELFTOOLS:
        raise LayoutError(
            f"debug information cannot be read with pyelftools {version}, which comes first on "
            f"Python's path ({os.path.dirname(elftools.__file__)}): "
            f"{'.'.join(map(str, _OLDEST_PYELFTOOLS))} is needed"
        )


def _selection(crates: Sequence[str] | None, names: Collection[str] | None) -> str:
    """The part of a cache entry's file name that says which statics it has."""
    chosen = "every-crate" if crates is None else "-".join(crates)
    if names is None:
        return chosen
    return f"{chosen}-{zlib.crc32(' '.join(sorted(names)).encode()):08x}"


def cache_directory() -> Path | None:
    """The directory of the cache; None for a user without a home."""
    # The XDG Base Directory Specification says to ignore a relative path.
    for base in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):
        if os.path.isabs(base):
            return Path(base, "tinyos-gdb")
    return None


def _restore(place: Path) -> StaticTable | None:
    try:
        return StaticTable(loads(place.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _keep(place: Path, text: str) -> None:
    """Write a cache entry in one step, so that no reader sees half of it."""
    # Not at the top: only needed when the DWARF was parsed.
    import tempfile

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as directory:
            new = Path(directory, place.name)
            new.write_text(text, "utf-8")
            os.replace(new, place)
    except OSError:
        return


def dumps(statics: Mapping[str, Static]) -> str:
    """Statics as JSON text: a table of types, which refer to each other by index."""
    writer = _Writer()
    entries = [[static.name, static.address, writer.add(static.type)] for static in statics.values()]
    return json.dumps({"statics": entries, "types": writer.rows}, separators=(",", ":"))


def loads(text: str) -> dict[str, Static]:
    """Statics from the text that `dumps` made; other text raises one of several built-in exceptions."""
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
        """The index of a type in the table; the types that it consists of come before it."""
        place = self._places.get(id(type_))
        if place is None:
            row = self._row(type_)
            place = self._places[id(type_)] = len(self.rows)
            self._kept.append(type_)  # Keeping the type prevents its id from being reused.
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
        if isinstance(type_, Opaque):
            return ["opaque", type_.name, type_.size]
        fields = self._fields([type_.discriminant, type_.value])
        return ["option", type_.name, type_.size, type_.none, type_.some, *fields]


def _field(row: list[Any], types: list[Type]) -> Field:
    return Field(row[0], row[1], types[row[2]])


def _struct(row: list[Any], types: list[Type]) -> Struct:
    return Struct(row[1], row[2], tuple(_field(field, types) for field in row[3]))


def _option(row: list[Any], types: list[Type]) -> Option:
    return Option(row[1], row[2], _field(row[5], types), row[3], row[4], _field(row[6], types))


def _enumeration(row: list[Any], _: list[Type]) -> Enumeration:
    return Enumeration(row[1], row[2], row[3], tuple((number, name) for number, name in row[4]))


_READERS: Mapping[str, Any] = {
    "scalar": lambda row, _: Scalar(row[1], row[2], row[3]),
    "array": lambda row, types: Array(types[row[1]], row[2]),
    "struct": _struct,
    "enumeration": _enumeration,
    "option": _option,
    "opaque": lambda row, _: Opaque(row[1], row[2]),
}
