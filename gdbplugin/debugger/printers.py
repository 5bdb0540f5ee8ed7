"""Pretty printers for TinyOS's types; `info pretty-printer` lists them.

Registering them imports nothing and looks at no file: a value's type says by its name whether it is TinyOS's,
in whichever program. What prints is imported with the first such value.
"""

from __future__ import annotations

import importlib

import gdb
import gdb.printing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CRATES = ("tinyos::", "kernel::")
_ATOMIC = "core::sync::atomic::Atomic"


class _Kind:
    """A group of types that can be disabled by itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.enabled = True


class _Collection:
    """What GDB calls with every value that it prints."""

    name = "tinyos"

    def __init__(self) -> None:
        self.enabled = True
        self.subprinters = [_Kind(name) for name in ("atomic", "cell", "enum", "struct")]

    def __call__(self, value: gdb.Value) -> Any:
        """A printer for the value; None where it is not TinyOS's, or no printer is enabled for it."""
        name = value.type.strip_typedefs().name
        if name is None or not (name.startswith(_CRATES) or name.startswith(_ATOMIC)):
            return None
        kind, printer = importlib.import_module("gdbplugin.debugger.printing").find(value, name)
        enabled = any(entry.enabled for entry in self.subprinters if entry.name == kind)
        return printer(value) if enabled else None


def register() -> None:
    """Add the collection, or put it in the place of the one that was added before."""
    gdb.printing.register_pretty_printer(None, _Collection(), replace=True)
