"""System registers, read through GDB on the thread that is the core.

`thread apply` is what looks at another thread here, as it gives the user's thread and frame back by
itself; and a register's value is had from the thread's innermost frame without any unwinding, so that
no memory is read for it.
"""

from __future__ import annotations

from collections.abc import Callable

import gdb

from gdbplugin.aarch64.regime import OF_TRANSLATION
from gdbplugin.aarch64.registers import is_processor_state
from gdbplugin.debugger import sigint
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
        self._swapped: bool | None = None

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
            with sigint.held():
                gdb.execute(
                    f"thread apply {self._inferior.num}.{thread.num} -q "
                    # The user's Python gets no name by it.
                    f"python __import__({__name__!r}, fromlist=['']).run_pending()",
                    to_string=True,
                )
        finally:
            _pending.clear()
        if not thread.is_valid():
            raise MachineGoneError("the connection to the target was lost")
        self._tell_of_order()
        for name in names:
            self._values[thread.num, name] = found.get(name)

    def _value(self, name: str) -> int | None:
        """The value in the thread that GDB looks at."""
        spelled = self._spelling(name)
        if spelled is None:
            return None
        try:
            value = gdb.parse_and_eval(f"${spelled}")
            if self._swapped is None:
                self._swapped = self._is_swapped()
            size = value.type.sizeof
            number = int(value) & ((1 << 8 * size) - 1)
            return _swap(number, size) if self._swapped else number
        except gdb.error:
            return None  # Known to the stub, and yet not to be read: on a core that is powered off, say.

    def _is_swapped(self) -> bool:
        """Whether GDB takes the stub's registers for big-endian, though they are not.

        QEMU's are little-endian whatever the guest's byte order is. GDB goes by `set endian` and the program.
        """
        integer = self._inferior.architecture().integer_type(32)
        if int(gdb.Value(b"\1\0\0\0", integer)) == 1:
            return False
        spelled = self._spelling("CPSR")
        if spelled is None:
            return False
        state = gdb.parse_and_eval(f"${spelled}")
        size = state.type.sizeof
        return is_processor_state(_swap(int(state) & ((1 << 8 * size) - 1), size))

    def _tell_of_order(self) -> None:
        """Say once that GDB's own commands show registers in the wrong byte order."""
        if self._swapped and self._inferior.num not in _told:
            _told.add(self._inferior.num)
            gdb.write(
                "GDB's byte order is big, and the target's registers come in little-endian order: they are "
                "read as such here; `set endian little` has GDB read them so too\n",
                gdb.STDERR,
            )

    def _spelling(self, name: str) -> str | None:
        if self._known is None:
            # Asked of the list: naming a register that is none would make a convenience variable.
            self._known = frozenset(entry.name for entry in self._inferior.architecture().registers())
        return next((spelled for spelled in spellings(name) if spelled in self._known), None)


def _swap(number: int, size: int) -> int:
    """A number of `size` bytes in the other byte order."""
    return int.from_bytes(number.to_bytes(size, "big"), "little")


_told: set[int] = set()
"""The inferiors of which it was said that GDB's byte order is not that of the registers."""
_pending: list[Callable[[], None]] = []


def run_pending() -> None:
    """Called back through GDB, while it looks at the thread that was named."""
    for action in _pending:
        action()
