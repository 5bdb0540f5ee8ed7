"""Finds statics in the DWARF of the loaded program's files, for what GDB does not find or tell itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gdb

from gdbplugin.debugger.layout import WrongProgramError, file_name
from gdbplugin.kernel.design import MANAGER, DesignLayout
from gdbplugin.layout import cache
from gdbplugin.layout.debug_file import find_debug_file, has_name
from gdbplugin.layout.elf import ElfError, read_sections
from gdbplugin.layout.types import LayoutError, Static, in_one_line


def _add_packages() -> None:
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


_add_packages()


def find_static(name: str) -> Static | None:
    """A static of the loaded program as its DWARF has it; raises `LayoutError`."""
    problems: list[str] = []
    for table in _tables(problems):
        found = table.static(name)
        if found is not None:
            return found
    if problems:
        raise LayoutError(in_one_line(problems))
    return None


def search(names: frozenset[str]) -> dict[str, Static]:
    """Every static of the loaded program with one of these last names, by its path."""
    problems: list[str] = []
    found: dict[str, Static] = {}
    for table in _tables(problems, crates=None, names=names):
        found.update(table.statics)
    if problems and not found:
        raise LayoutError(in_one_line(problems))
    return found


def _tables(problems: list[str], **chosen: Any) -> Iterator[cache.StaticTable]:
    """The statics of each file, chosen as in `cache.load`; what could not be read goes into `problems`."""
    for file in _files():
        try:
            table = cache.load(file, **chosen)
        except LayoutError as error:
            problems.append(str(error))
            continue
        problems += table.problems
        yield table


def require_manager(layout: DesignLayout, chosen: str) -> None:
    """Raise `WrongProgramError` or `LayoutError` if the program's files have no manager either."""
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
