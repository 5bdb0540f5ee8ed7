"""The program that GDB has loaded, by the name of its file."""

from __future__ import annotations

import gdb

from gdbplugin.machine import MachineError


class WrongProgramError(MachineError):
    """The program GDB has loaded is missing, stripped, of another kind, or not what the machine runs."""


def file_name() -> str:
    """The loaded program's file; raises `WrongProgramError` where there is none."""
    space = gdb.current_progspace()
    name = space.filename if space is not None else None
    if not name:
        raise WrongProgramError("no program is loaded: give GDB the kernel's ELF (file build/kernel.elf)")
    return str(name)


def how_to_read_all() -> str:
    """What to type where GDB's own reading of the symbols lacks what is in the file."""
    return (
        f"give `symbol-file -readnow {file_name()}`, which has GDB read all of it, without the file's index"
    )
