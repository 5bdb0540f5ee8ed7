"""System registers, read through GDB on the thread that is the core.

`thread apply` is what looks at another thread here, as it gives the user's thread and frame back by
itself; and a register's value is had from the thread's innermost frame without any unwinding, so that
no memory is read for it.
"""

from __future__ import annotations

from collections.abc import Callable

import gdb

from gdbplugin.aarch64.regime import OF_TRANSLATION
from gdbplugin.debugger import interrupts
from gdbplugin.machine import MachineGoneError

_SPELLINGS = {
    "CPSR": ("cpsr", "CPSR"),
    "PC": ("pc", "PC"),
}


def spellings(name: str) -> tuple[str, ...]:
    """The names a stub may give a register: stubs differ in case and in the exception level's suffix."""
    if name in _SPELLINGS:
        return _SPELLINGS[name]
    bare = name.removesuffix("_EL1")
    return (name, bare, name.lower(), bare.lower())


class RegisterReader:
    """Reads registers of one inferior's threads; valid for one stop."""

    def __init__(self, inferior: gdb.Inferior) -> None:
        self._inferior = inferior
        self._known: frozenset[str] | None = None
        self._values: dict[tuple[int, str], int | None] = {}

    def read(self, name: str, thread: gdb.InferiorThread) -> int | None:
        """A register's value; None where the stub has no such register or cannot tell.

        Raises `MachineGoneError` where the connection is lost.
        """
        key = (thread.num, name)
        if key not in self._values:
            # Looking at a thread costs more than a register.
            self._fetch(thread, OF_TRANSLATION if name in OF_TRANSLATION else (name,))
        return self._values[key]

    def _fetch(self, thread: gdb.InferiorThread, names: tuple[str, ...]) -> None:
        if not thread.is_valid():
            raise MachineGoneError("the connection to the target was lost")
        found: dict[str, int | None] = {}
        _pending.append(lambda: found.update({name: self._value(name) for name in names}))
        try:
            # Within GDB's own `python`, Ctrl-C would come out as an error in Python.
            with interrupts.held():
                gdb.execute(
                    f"thread apply {self._inferior.num}.{thread.num} -q "
                    "python import gdbplugin.debugger.registers as r; r.run_pending()",
                    to_string=True,
                )
        finally:
            _pending.clear()
        if not thread.is_valid():
            raise MachineGoneError("the connection to the target was lost")
        for name in names:
            self._values[thread.num, name] = found.get(name)

    def _value(self, name: str) -> int | None:
        """The value in the thread that GDB looks at."""
        spelled = self._spelling(name)
        if spelled is None:
            return None
        try:
            value = gdb.parse_and_eval(f"${spelled}")
            return int(value) & ((1 << 8 * value.type.sizeof) - 1)
        except gdb.error:
            return None  # Known to the stub, and yet not to be read: on a core that is powered off, say.

    def _spelling(self, name: str) -> str | None:
        if self._known is None:
            # Asked of the list: naming a register that is none would make a convenience variable.
            self._known = frozenset(entry.name for entry in self._inferior.architecture().registers())
        return next((spelled for spelled in spellings(name) if spelled in self._known), None)


_pending: list[Callable[[], None]] = []


def run_pending() -> None:
    """Called back through GDB, while it looks at the thread that was named."""
    for action in _pending:
        action()
