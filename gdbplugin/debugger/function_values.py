"""What the convenience functions return.

GDB evaluates the condition of a breakpoint at an internal stop: the target is stopped, but GDB reports it as
running. There is no event when it resumes from there, so nothing that was read may be kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import gdb

from gdbplugin.aarch64 import walk
from gdbplugin.aarch64.cores import table_register
from gdbplugin.aarch64.regime import RegimeUnknownError, regime_at
from gdbplugin.aarch64.registers import asid_bits, exception_level
from gdbplugin.aarch64.virtual import UntranslatedAddressError
from gdbplugin.debugger import current
from gdbplugin.debugger.layout import how_to_read_all
from gdbplugin.debugger.machine import GdbMachine
from gdbplugin.debugger.text import failure, not_decoded
from gdbplugin.kernel import lookups
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import CachedMachine, Machine, MachineError

_NONE = -1
_MASK = (1 << 64) - 1
_ASID_OF_TTBR1 = 1 << 22  # TCR_EL1.A1
_STACK = "tinyos::memory::stacks::DynamicStack"


def asid() -> int:
    """The value of `$tinyos_asid()`."""
    with _stopped() as (machine, core):
        control = machine.register("TCR_EL1", core)
        if control is None:
            return _NONE
        table = machine.register("TTBR1_EL1" if control & _ASID_OF_TTBR1 else "TTBR0_EL1", core)
        return _NONE if table is None else table_register(table, asid_bits(machine, core)).asid


def translate(address: gdb.Value) -> int:
    """The value of `$tinyos_translate(ADDRESS)`."""
    with _stopped() as (machine, core):
        level = exception_level(machine, core)
        if level is None:
            raise RegimeUnknownError(f"the exception level of core {core} is not known")
        found = walk.translate(machine, regime_at(machine, core, level), int(address) & _MASK)
        if found.fault is not None and found.fault.kind == walk.UNKNOWN:
            raise UntranslatedAddressError(found.input, found.fault)
        return _NONE if found.output is None else found.output


def stack(number: gdb.Value) -> gdb.Value:
    """The value of `$tinyos_stack(ID)`."""
    with _stopped() as (machine, _):
        # The kernel first: if there is none, the error is about that, not about a missing type.
        kernel = _kernel(machine)
        raw, known = lookups.stack_bytes(kernel, int(number)), lookups.stack_type(kernel)
        try:
            type_ = gdb.lookup_type(_STACK if known is None else known.type.name)
        except gdb.error as error:
            raise gdb.GdbError(
                f"GDB has not read the kernel's types, although they are in its file: {how_to_read_all()}"
            ) from error
        return gdb.Value(bytes(type_.sizeof) if raw is None else raw, type_)


def lazy(address: gdb.Value, task: gdb.Value | None = None) -> int:
    """The value of `$tinyos_lazy(ADDRESS[, TASK])`."""
    with _stopped() as (machine, _):
        kernel = _kernel(machine)
        if task is not None or not kernel.keeps_promises:
            owner = None if task is None else int(task)
        else:
            owner = lookups.current_space(kernel)
        page = lookups.find_lazy_page(kernel, int(address) & _MASK, owner)
        return _NONE if page is None else lookups.lazy_state_number(kernel, page)


def level() -> int:
    """The value of `$tinyos_level()`."""
    with _stopped() as (machine, _):
        found = lookups.pressure_level(_kernel(machine))
        return _NONE if found is None else found


def _kernel(machine: Machine) -> Kernel:
    return Kernel(machine, current.layout(machine))


@contextlib.contextmanager
def _stopped() -> Iterator[tuple[Machine, int]]:
    """The machine and the selected core, at any kind of stop; errors become a `gdb.GdbError`."""
    try:
        if _is_internal_stop():
            source = GdbMachine()
            yield CachedMachine(source), source.selected_core
        else:
            machine = current.machine()
            yield machine, current.selected_core()
    except (MachineError, LayoutError) as error:
        raise failure(str(error)) from error
    except UnicodeDecodeError as error:
        raise not_decoded(error) from error
    except gdb.GdbError:
        raise
    except (gdb.error, gdb.MemoryError, OverflowError) as error:
        raise failure(f"GDB failed: {error}") from error


def _is_internal_stop() -> bool:
    thread = gdb.selected_thread()
    if thread is None or not thread.is_valid() or not thread.is_running():
        return False
    try:
        gdb.selected_frame()
    except gdb.error:
        return False  # It is really running.
    return True
