"""Registers the `tinyos` prefix and every command found in `gdbplugin/debugger/commands/`.

A command is there once its file is: no list is kept by hand. This runs while GDB starts, so that
neither this module nor the declarations import anything that GDB has not loaded already.
"""

from __future__ import annotations

import importlib
import os

import gdb

from gdbplugin.debugger.command import Command, MachineInterface, Prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import TypeGuard

_PACKAGE = "gdbplugin.debugger.commands"


def register() -> None:
    """Register everything; doing so again replaces what was registered before."""
    declared = [kind for module in _modules() for kind in vars(module).values() if _is_declaration(kind)]
    prefix = Prefix()
    for kind in declared:
        command = kind()
        prefix.commands.append(command)
        MachineInterface(command)
        if command.letter:
            # Said outright, for GDB takes an abbreviation only while no other word begins like it.
            gdb.execute(f"alias -a tinyos {command.letter} = tinyos {command.word}", to_string=True)


def _modules() -> list[ModuleType]:
    directory = os.path.join(os.path.dirname(__file__), "commands")
    names = sorted(
        name[:-3] for name in os.listdir(directory) if name.endswith(".py") and name != "__init__.py"
    )
    return [importlib.import_module(f"{_PACKAGE}.{name}") for name in names]


def _is_declaration(kind: object) -> TypeGuard[type[Command]]:
    return isinstance(kind, type) and issubclass(kind, Command) and kind is not Command
