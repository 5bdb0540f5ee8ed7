"""Which GDB is used, outside scripts/ too; and the program `tinyos-gdb`, which starts it with the plugin.

Only one that can do AArch64 and has a Python for the plugin inside is any good: a distribution's plain `gdb`
often has the first for its own machine alone.
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
    """The path of the GDB to use: $TINYOS_GDB, as it is, or the first on PATH that serves.

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
    """Become a GDB with the plugin loaded, given our arguments; where there is none, say so and return 1."""
    return streams.run("tinyos-gdb", _become_gdb)


def _become_gdb() -> int:
    try:
        program = programs.try_gdb(find_gdb())
    except programs.UnfitError as error:
        raise ToolMissingError(f"{error}; install another with: {programs.GDB.advice}") from error
    # Python ignores it, and a program that takes our place would too.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # The plugin first: what follows may already use its commands, and nothing may follow `--args`.
    os.execve(program, [program, "-x", str(PLUGIN), *sys.argv[1:]], gdb_environment())
