"""Finding a GDB that can be used; and the program `tinyos-gdb`, which starts it with the plugin.

The GDB must know AArch64, and must have a Python that is new enough for the plugin. A distribution's plain
`gdb` often knows only the architecture of its host.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from gdbplugin import programs
from gdbplugin.programs import gdb_environment as gdb_environment
from gdbplugin.session import process, streams
from gdbplugin.session.errors import ToolMissingError

PLUGIN = Path(__file__).resolve().parents[1] / "tinyos.py"


def find_gdb() -> str:
    """The path of the GDB to use: $TINYOS_GDB, unchecked, or the first on PATH that can be used.

    Raises `ToolMissingError`, which says what was found instead.
    """
    named = os.environ.get("TINYOS_GDB")
    if named:
        return process.find_program(named, "GDB", programs.GDB)
    try:
        return programs.find_gdb()
    except programs.UnfitError as error:
        raise ToolMissingError(f"GDB is missing: {error}; install it with: {programs.GDB.advice}") from error


def main() -> int:
    """Replace this process by GDB with the plugin and our arguments; returns 1 after an error message."""
    return streams.run("tinyos-gdb", _become_gdb)


def _become_gdb() -> int:
    try:
        program = programs.try_gdb(find_gdb())
    except programs.UnfitError as error:
        raise ToolMissingError(f"{error}; install another with: {programs.GDB.advice}") from error
    # Python ignores SIGPIPE, and the program that replaces it would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # The plugin first: the arguments may use its commands, and nothing of ours may follow `--args`.
    os.execve(program, [program, "-x", str(PLUGIN), *sys.argv[1:]], gdb_environment())
