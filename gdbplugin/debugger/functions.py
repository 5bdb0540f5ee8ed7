"""What TinyOS and the MMU are doing, as values: for the conditions of breakpoints.

Loaded while GDB starts; what the functions do is imported when one is first called.
"""

from __future__ import annotations

import importlib

import gdb

from gdbplugin.debugger.text import failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class _Function(gdb.Function):
    """A convenience function; the first line of its docstring begins with how it is called."""

    word: ClassVar[str] = ""
    least: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__(f"tinyos_{self.word}")

    def invoke(self, *arguments: gdb.Value) -> Any:
        """GDB's call."""
        if not self.least <= len(arguments) <= self.most:
            usage = (self.__doc__ or "").partition(":")[0]
            raise failure(f"$tinyos_{self.word} is not called with {len(arguments)} values, but as {usage}")
        conditions = importlib.import_module("gdbplugin.debugger.function_values")
        return getattr(conditions, self.word)(*arguments)


class Asid(_Function):
    """$tinyos_asid(): the ASID that the selected core translates by.

    It is that of TTBR0_EL1, or of TTBR1_EL1 where TCR_EL1.A1 says so; -1 where the core has neither.
    Works on any AArch64 kernel. In a condition: break *0x80001000 if $tinyos_asid() == 3
    """

    word = "asid"


class Stack(_Function):
    """$tinyos_stack(ID): a dynamic stack of TinyOS, whose fields may be named.

    They are those of the kernel's DynamicStack; is_active is false, and the rest 0, where there never was
    a stack of that ID. In a condition: if $tinyos_stack(3).current_size > 65536
    """

    word = "stack"
    least = most = 1


class Lazy(_Function):
    """$tinyos_lazy(ADDRESS), $tinyos_lazy(ADDRESS, TASK): the state of a lazy page of TinyOS as a number.

    0 pending, 1 on the zero page, 2 allocated; -1 where TASK has reserved no lazy page at that address.
    Without TASK it is the one whose address space is in TTBR0. In a condition: if $tinyos_lazy($x0) == 0
    """

    word = "lazy"
    least = 1
    most = 2


class Translate(_Function):
    """$tinyos_translate(ADDRESS): the physical address that the selected core translates an address to.

    By its tables and at its exception level as it stands, permissions aside; -1 where the address is not
    mapped. Works on any AArch64 kernel. In a condition: if $tinyos_translate($x0) == -1
    """

    word = "translate"
    least = most = 1


class Level(_Function):
    """$tinyos_level(): TinyOS's level of memory pressure as a number.

    0 low, 1 medium, 2 high, 3 critical; -1 where it has a value that is none of these.
    In a condition: if $tinyos_level() >= 2
    """

    word = "level"


def register() -> None:
    """Register every function."""
    for kind in _Function.__subclasses__():
        kind()
