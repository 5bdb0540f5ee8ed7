"""Registers everything that the plugin adds to GDB.

This runs while GDB starts, so neither this module nor those it registers import anything that GDB has not
loaded already.
"""

from __future__ import annotations

from gdbplugin.commands import COMMANDS
from gdbplugin.debugger import command, functions, preferences, printers


def register() -> None:
    """Register everything; doing so again replaces what was registered before."""
    command.register(COMMANDS)
    preferences.register()
    functions.register()
    printers.register()
