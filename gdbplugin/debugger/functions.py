"""Convenience functions: facts of TinyOS and the MMU as values, for example in breakpoint conditions.

Imported while GDB starts; their implementation is imported at the first call.
"""

from __future__ import annotations

import gdb

from gdbplugin.debugger.text import failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class _Function(gdb.Function):
    """A convenience function. Its docstring is its help, and begins with its usage."""

    word: ClassVar[str] = ""
    least: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__(f"tinyos_{self.word}")

    def invoke(self, *arguments: gdb.Value) -> Any:
        """Called by GDB: evaluate the function."""
        if not self.least <= len(arguments) <= self.most:
            usage = (self.__doc__ or "").partition(":")[0]
            raise failure(
                f"$tinyos_{self.word}: wrong number of arguments ({len(arguments)}). Usage: {usage}"
            )
        from gdbplugin.debugger import function_values

        return getattr(function_values, self.word)(*arguments)


class Asid(_Function):
    """$tinyos_asid(): the ASID that the selected core uses.

    It is in TTBR0_EL1, or in TTBR1_EL1 if TCR_EL1.A1 is set; -1 if the core has no such register.
    Works on any AArch64 kernel. In a condition: break *0x80001000 if $tinyos_asid() == 3
    """

    word = "asid"


class Stack(_Function):
    """$tinyos_stack(ID): a dynamic stack of TinyOS, a struct with the fields of the kernel's DynamicStack.

    If there was never a stack with that ID, is_active is false and everything else 0.
    In a condition: if $tinyos_stack(3).current_size > 65536
    """

    word = "stack"
    least = most = 1


class Lazy(_Function):
    """$tinyos_lazy(ADDRESS), $tinyos_lazy(ADDRESS, TASK): the state of a lazy page of TinyOS as a number.

    0 pending, 1 on the zero page, 2 allocated; -1 if TASK has no lazy page at that address.
    Without TASK: the task whose address space is in TTBR0. In a condition: if $tinyos_lazy($x0) == 0
    """

    word = "lazy"
    least = 1
    most = 2


class Translate(_Function):
    """$tinyos_translate(ADDRESS): the physical address to which the selected core translates ADDRESS.

    It uses the core's tables at its current exception level and ignores permissions; -1 if ADDRESS is not
    mapped. Works on any AArch64 kernel. In a condition: if $tinyos_translate($x0) == -1
    """

    word = "translate"
    least = most = 1


class Level(_Function):
    """$tinyos_level(): TinyOS's level of memory pressure as a number.

    0 low, 1 medium, 2 high, 3 critical; -1 for any other value.
    In a condition: if $tinyos_level() >= 2
    """

    word = "level"


def register() -> None:
    """Register every function."""
    for kind in _Function.__subclasses__():
        kind()
