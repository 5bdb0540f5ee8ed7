"""Convenience functions: facts of TinyOS and the MMU as values, for example in breakpoint conditions.

Imported while GDB starts: what a function uses is imported when it is called.

GDB evaluates the condition of a breakpoint at an internal stop: the target is stopped, but GDB reports it as
running. There is no event when it resumes from there, so nothing that was read may be kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import gdb

from gdbplugin.debugger.guards import errors_in_one_line, failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from gdbplugin.kernel.kernel import Kernel
    from gdbplugin.machine import Machine

_NONE = -1
_MASK = (1 << 64) - 1
_ASID_OF_TTBR1 = 1 << 22  # TCR_EL1.A1
_STACK = "tinyos::memory::stacks::DynamicStack"


class _Function(gdb.Function):
    """A convenience function. Its docstring is its help, and begins with its usage."""

    word: ClassVar[str] = ""
    least: ClassVar[int] = 0
    most: ClassVar[int] = 0
    value: ClassVar[Callable[..., Any]]
    """The value for the stopped machine, the number of the selected core, and the arguments."""

    def __init__(self) -> None:
        super().__init__(f"tinyos_{self.word}")

    def invoke(self, *arguments: gdb.Value) -> Any:
        """Called by GDB: evaluate the function."""
        if not self.least <= len(arguments) <= self.most:
            usage = (self.__doc__ or "").partition(":")[0]
            raise failure(
                f"$tinyos_{self.word}: wrong number of arguments ({len(arguments)}). Usage: {usage}"
            )
        for argument in arguments:
            argument.fetch_lazy()  # It may be of a task's thread, which is not selected then.
        with _stopped() as (machine, core):
            return self.value(machine, core, *arguments)


class Asid(_Function):
    """$tinyos_asid(): the ASID that the selected core uses.

    It is in TTBR0_EL1, or in TTBR1_EL1 if TCR_EL1.A1 is set; -1 if the core has no such register.
    Works on any AArch64 kernel. In a condition: break *0x80001000 if $tinyos_asid() == 3
    """

    word = "asid"

    def value(self, machine: Machine, core: int) -> int:
        """The ASID."""
        from gdbplugin.aarch64.registers import asid_bits, table_register

        control = machine.register("TCR_EL1", core)
        if control is None:
            return _NONE
        table = machine.register("TTBR1_EL1" if control & _ASID_OF_TTBR1 else "TTBR0_EL1", core)
        return _NONE if table is None else table_register(table, asid_bits(machine, core)).asid


class Stack(_Function):
    """$tinyos_stack(ID): a dynamic stack of TinyOS, a struct with the fields of the kernel's DynamicStack.

    If there was never a stack with that ID, is_active is false and everything else 0.
    In a condition: if $tinyos_stack(3).current_size > 65536
    """

    word = "stack"
    least = most = 1

    def value(self, machine: Machine, _core: int, number: gdb.Value) -> gdb.Value:
        """The struct."""
        from gdbplugin.kernel.stacks import stack_bytes, stack_type

        # The kernel first: if there is none, the error is about that, not about a missing type.
        kernel = _kernel(machine)
        raw, known = stack_bytes(kernel, int(number)), stack_type(kernel)
        type_ = _type(_STACK if known is None else known.type.name)
        return gdb.Value(bytes(type_.sizeof) if raw is None else raw, type_)


class Task(_Function):
    """$tinyos_task(), $tinyos_task(ID): the number of the task that runs; or a task, as the kernel's struct.

    The shell is 0; -1 in a kernel without a scheduler. With ID a struct with the fields of the kernel's Task.
    In a condition: if $tinyos_task() == 3. A field: $tinyos_task(3).context.pc
    """

    word = "task"
    most = 1

    def value(self, machine: Machine, _core: int, number: gdb.Value | None = None) -> int | gdb.Value:
        """The number, or the struct."""
        from gdbplugin.kernel.tasks import current_task, task_bytes

        kernel = _kernel(machine)
        if number is None:
            found = current_task(kernel)
            return _NONE if found is None else found
        name, raw = task_bytes(kernel, int(number))
        return gdb.Value(raw, _type(name))


class Lazy(_Function):
    """$tinyos_lazy(ADDRESS), $tinyos_lazy(ADDRESS, TASK): the state of a lazy page of TinyOS as a number.

    0 pending, 1 on the zero page, 2 allocated; -1 if TASK has no lazy page at that address.
    Without TASK: the task whose address space is in TTBR0. In a condition: if $tinyos_lazy($x0) == 0
    """

    word = "lazy"
    least = 1
    most = 2

    def value(self, machine: Machine, _core: int, address: gdb.Value, task: gdb.Value | None = None) -> int:
        """The number of the state."""
        from gdbplugin.kernel.lazy import find_lazy_page, lazy_state_number
        from gdbplugin.kernel.spaces import current_space

        kernel = _kernel(machine)
        if task is not None or not kernel.has_debugger_interface:
            owner = None if task is None else int(task)
        else:
            owner = current_space(kernel)
        page = find_lazy_page(kernel, int(address) & _MASK, owner)
        return _NONE if page is None else lazy_state_number(kernel, page)


class Translate(_Function):
    """$tinyos_translate(ADDRESS): the physical address to which the selected core translates ADDRESS.

    It uses the core's tables at its current exception level and ignores permissions; -1 if ADDRESS is not
    mapped. Works on any AArch64 kernel. In a condition: if $tinyos_translate($x0) == -1
    """

    word = "translate"
    least = most = 1

    def value(self, machine: Machine, core: int, address: gdb.Value) -> int:
        """The physical address."""
        from gdbplugin.aarch64 import walk
        from gdbplugin.aarch64.regime import RegimeUnknownError, regime_at
        from gdbplugin.aarch64.registers import exception_level

        level = exception_level(machine, core)
        if level is None:
            raise RegimeUnknownError(f"the exception level of core {core} is not known")
        found = walk.translate(machine, regime_at(machine, core, level), int(address) & _MASK)
        if found.fault is not None and found.fault.kind == walk.UNKNOWN:
            raise walk.UntranslatedAddressError(found.input, found.fault)
        return _NONE if found.output is None else found.output


class Level(_Function):
    """$tinyos_level(): TinyOS's level of memory pressure as a number.

    0 low, 1 medium, 2 high, 3 critical; -1 for any other value.
    In a condition: if $tinyos_level() >= 2
    """

    word = "level"

    def value(self, machine: Machine, _core: int) -> int:
        """The number of the level."""
        from gdbplugin.kernel.pressure import read_level_number

        found = read_level_number(_kernel(machine))
        return _NONE if found is None else found


def register() -> None:
    """Register every function."""
    for kind in _Function.__subclasses__():
        kind()


def _type(name: str) -> gdb.Type:
    """A type of the kernel's. Raises `gdb.GdbError`."""
    from gdbplugin.debugger.layout import how_to_read_all

    try:
        return gdb.lookup_type(name)
    except gdb.error as error:
        raise gdb.GdbError(
            f"GDB has not read the kernel's types, although they are in its file: {how_to_read_all()}"
        ) from error


def _kernel(machine: Machine) -> Kernel:
    from gdbplugin.debugger import current
    from gdbplugin.kernel.kernel import Kernel

    return Kernel(machine, current.layout(machine))


@contextlib.contextmanager
def _stopped() -> Iterator[tuple[Machine, int]]:
    """The machine and the selected core, at any kind of stop; errors become a `gdb.GdbError`."""
    from gdbplugin.debugger import current
    from gdbplugin.debugger.machine import GdbMachine
    from gdbplugin.machine import CachedMachine

    with errors_in_one_line():
        if _is_internal_stop():
            source = GdbMachine()
            yield CachedMachine(source), source.selected_core
        else:
            with current.live_target_selected():
                machine = current.machine()
                yield machine, current.selected_core()


def _is_internal_stop() -> bool:
    thread = gdb.selected_thread()
    if thread is None or not thread.is_valid() or not thread.is_running():
        return False
    try:
        gdb.selected_frame()
    except gdb.error:
        return False  # It is really running.
    return True
