"""Registers the `tinyos` prefix and everything declared in the packages beside this file.

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
    from collections.abc import Iterator
    from types import ModuleType

# A class of one of these kinds that a module there defines is made once; a module with a function
# `register` has it called: for pretty printers, say.
_PACKAGES = ("commands", "settings", "functions", "printers")
_KINDS = (Command, gdb.Parameter, gdb.Function)


def register() -> None:
    """Register everything; doing so again replaces what was registered before."""
    prefix = Prefix()
    for module in _modules():
        for kind in _declared(module):
            made = kind()
            if isinstance(made, Command):
                prefix.commands.append(made)
                MachineInterface(made)
        if hasattr(module, "register"):
            module.register()
    for command in prefix.commands:
        if command.letter:
            # Said outright, for GDB takes an abbreviation only while no other word begins like it.
            gdb.execute(f"alias -a tinyos {command.letter} = tinyos {command.word}", to_string=True)


def _modules() -> Iterator[ModuleType]:
    here = os.path.dirname(__file__)
    for package in _PACKAGES:
        directory = os.path.join(here, package)
        if not os.path.isdir(directory):
            continue
        for name in sorted(os.listdir(directory)):
            if name.endswith(".py") and name != "__init__.py":
                yield importlib.import_module(f"gdbplugin.debugger.{package}.{name[:-3]}")


def _declared(module: ModuleType) -> list[type]:
    """The classes of `_KINDS` that the module itself defines, and means to be made: those without a `_`."""
    return [
        kind
        for name, kind in vars(module).items()
        if isinstance(kind, type)
        and issubclass(kind, _KINDS)
        and kind.__module__ == module.__name__
        and not name.startswith("_")
    ]
