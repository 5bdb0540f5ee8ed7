"""How a session with GDB's target would be begun in Python."""

from __future__ import annotations

import os

import gdb

from gdbplugin.commands.library import call, shown_path
from gdbplugin.debugger import current, dumps
from gdbplugin.debugger.preferences import chosen_manager
from gdbplugin.programs import BEGUN_VARIABLE


def session_code() -> str:
    """The call of the library: as the session says that started this GDB, or by GDB's own connection."""
    said = os.environ.get(BEGUN_VARIABLE, "")
    connection = gdb.selected_inferior().connection
    if said and (connection is None or current.is_dump() == said.startswith("TinyOS.open_dump")):
        return said
    program = gdb.current_progspace()
    elf = shown_path((program.filename if program is not None else None) or "")
    arguments = [elf] if elf else []
    manager = chosen_manager()
    if connection is None:
        return call("TinyOS.boot", *arguments, manager=manager)
    if current.is_dump():
        path, registers = dumps.opened_file()
        return call("TinyOS.open_dump", shown_path(path), *arguments, registers=registers, manager=manager)
    address = str(getattr(connection, "details", None) or "")
    return call("TinyOS.attach", address, *arguments, manager=manager)
