"""Pretty printers for TinyOS's types; `info pretty-printer` lists them.

The name of a value's type tells whether it is TinyOS's, in any program. Only the value itself is read. An
enum value without a name is printed as its number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import gdb
import gdb.printing

from gdbplugin.debugger.guards import fitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CRATES = ("tinyos::", "kernel::")
_ATOMIC = "core::sync::atomic::Atomic"


class _Printers(gdb.printing.PrettyPrinter):
    """GDB calls this with every value that it prints. Each group of printers can be disabled separately."""

    def __init__(self) -> None:
        groups = ("atomic", "enum", "lock", "struct")
        super().__init__("tinyos", [gdb.printing.SubPrettyPrinter(name) for name in groups])

    def __call__(self, value: gdb.Value) -> Any:
        """A printer for the value; None if it is not TinyOS's or its printer is disabled."""
        name = value.type.strip_typedefs().name
        if name is None or not (name.startswith(_CRATES) or name.startswith(_ATOMIC)):
            return None
        group, printer = find(value, name)
        enabled = any(entry.enabled for entry in self.subprinters or () if entry.name == group)
        return printer(value) if enabled else None


def register() -> None:
    """Register the printers; doing so again replaces them."""
    gdb.printing.register_pretty_printer(None, _Printers(), replace=True)


_PATH = re.compile(r"(?:\w+::)+")
_ADDRESSES = frozenset(
    {
        "base",
        "pc",
        "pstate",
        "saved_state",
        "shell_context",
        "sp",
        "stack_pointer",
        "syndrome",
        "table",
        "thread_pointer",
        "zero_frame",
        "end_syndrome",
    }
)
_WHOLE = (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION)


def find(value: gdb.Value, name: str) -> tuple[str, Callable[[gdb.Value], Any]]:
    """The group and the class of the printer for a value, by its type's name."""
    if name.startswith("core::"):
        return "atomic", _Atomic
    if value.type.strip_typedefs().code not in _WHOLE:
        return "enum", _Enumerator
    return ("lock", _Lock) if "::SequenceLock<" in name else ("struct", _Record)


def short(name: str) -> str:
    """A type or enum value's name without paths, also in its type parameters."""
    return fitted(_PATH.sub("", name))


def unwrapped(value: gdb.Value) -> gdb.Value:
    """The value inside nested structs that have only one field with a size."""
    while value.type.strip_typedefs().code == gdb.TYPE_CODE_STRUCT:
        filled = [field for field in value.type.strip_typedefs().fields() if field.type and field.type.sizeof]
        if len(filled) != 1:
            break
        value = value[filled[0]]
    return value


class _Enumerator:
    """Prints an enum value by its bare name."""

    def __init__(self, value: gdb.Value) -> None:
        self._value = value

    def to_string(self) -> str:
        """Called by GDB: the text of the value."""
        number = int(self._value)
        for field in self._value.type.strip_typedefs().fields():
            if field.enumval == number:
                return short(field.name or "")
        return f"{number:#x}?"


class _Atomic:
    """Prints an atomic as the number in it."""

    def __init__(self, value: gdb.Value) -> None:
        self._value = value

    def to_string(self) -> str:
        """Called by GDB: the text of the value."""
        return str(unwrapped(self._value))


class _Lock:
    """Prints a `SequenceLock`: whether it is locked for writing, and the value."""

    def __init__(self, value: gdb.Value) -> None:
        self._value = value

    def to_string(self) -> str:
        """Called by GDB: the text of the value."""
        sequence = int(unwrapped(self._value["sequence"]))
        state = ", being written now" if sequence % 2 else ""
        return f"SequenceLock (written {sequence // 2:,} times{state})"

    def children(self) -> Iterator[tuple[str, gdb.Value]]:
        """Called by GDB: the value, without the `UnsafeCell` around it."""
        yield "value", unwrapped(self._value["value"])


class _Record:
    """Prints a struct by its bare name, with readable fields; a wrapper as the struct that it wraps."""

    def __init__(self, value: gdb.Value) -> None:
        inner = unwrapped(value)
        self._value = inner if inner.type.strip_typedefs().code in _WHOLE else value

    def to_string(self) -> str:
        """Called by GDB: the text of the value."""
        name = short(self._value.type.strip_typedefs().name or "")
        return f"{name} {_task(self._value)}" if name == "Task" else name

    def children(self) -> Iterator[tuple[str, gdb.Value | str]]:
        """Called by GDB: the fields."""
        for field in self._value.type.strip_typedefs().fields():
            yield fitted(field.name or ""), _shown(field.name or "", self._value[field])


def _task(value: gdb.Value) -> str:
    """A task in a few words: number, name and state."""
    known = {field.name for field in value.type.strip_typedefs().fields()}
    words = [str(_shown(name, value[name])) for name in ("id", "name", "state") if name in known]
    return short(" ".join(words))


def _shown(name: str, value: gdb.Value) -> gdb.Value | str:
    type_ = value.type.strip_typedefs()
    if type_.code == gdb.TYPE_CODE_ARRAY and _is_text(name, type_):
        return _text(value)
    if type_.code == gdb.TYPE_CODE_INT and (name.endswith("_address") or name in _ADDRESSES):
        return f"{int(value):#x}"
    if type_.code == gdb.TYPE_CODE_INT and (name.endswith("_size") or name == "high_water_mark"):
        return f"{int(value)} ({_size(int(value))})"
    return value


def _is_text(name: str, type_: gdb.Type) -> bool:
    return type_.target().sizeof == 1 and name in ("name", "message", "magic")


def _text(value: gdb.Value) -> str:
    low, high = value.type.strip_typedefs().range()
    raw = bytes(int(value[index]) & 0xFF for index in range(low, high + 1))
    return '"' + fitted(raw.split(b"\0")[0].decode("utf-8", "backslashreplace")) + '"'


def _size(number: int) -> str:
    for power, unit in ((2, "MiB"), (1, "KiB")):
        if number >= 1024**power and number % 1024**power == 0:
            return f"{number // 1024**power} {unit}"
    return f"{number} B"
