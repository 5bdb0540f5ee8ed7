"""What the convenience functions do.

A breakpoint's condition is evaluated at a stop that GDB makes for itself: the target stands still, while for
GDB's users it runs. GDB tells nobody when it goes on from there, so that nothing read there may be kept.
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
    """See `$tinyos_asid`."""
    with _standing_still() as (machine, core):
        control = machine.register("TCR_EL1", core)
        if control is None:
            return _NONE
        table = machine.register("TTBR1_EL1" if control & _ASID_OF_TTBR1 else "TTBR0_EL1", core)
        return _NONE if table is None else table_register(table, asid_bits(machine, core)).asid


def translate(address: gdb.Value) -> int:
    """See `$tinyos_translate`."""
    with _standing_still() as (machine, core):
        level = exception_level(machine, core)
        if level is None:
            raise RegimeUnknownError(f"the exception level of core {core} is not known")
        found = walk.translate(machine, regime_at(machine, core, level), int(address) & _MASK)
        if found.fault is not None and found.fault.kind == walk.UNKNOWN:
            raise UntranslatedAddressError(found.input, found.fault)
        return _NONE if found.output is None else found.output


def stack(number: gdb.Value) -> gdb.Value:
    """See `$tinyos_stack`."""
    with _standing_still() as (machine, _):
        # First the kernel: without one, that is the reason, not a missing type.
        kernel = _kernel(machine)
        raw, known = lookups.stack_bytes(kernel, int(number)), lookups.stack_type(kernel)
        try:
            type_ = gdb.lookup_type(_STACK if known is None else known.type.name)
        except gdb.error as error:
            raise gdb.GdbError(
                f"GDB has not read the kernel's types, though they are in its file: {how_to_read_all()}"
            ) from error
        return gdb.Value(bytes(type_.sizeof) if raw is None else raw, type_)


def lazy(address: gdb.Value, task: gdb.Value | None = None) -> int:
    """See `$tinyos_lazy`."""
    with _standing_still() as (machine, _):
        kernel = _kernel(machine)
        if task is not None or not kernel.keeps_promises:
            owner = None if task is None else int(task)
        else:
            owner = lookups.current_space(kernel)
        page = lookups.find_lazy_page(kernel, int(address) & _MASK, owner)
        return _NONE if page is None else lookups.lazy_state_number(kernel, page)


def level() -> int:
    """See `$tinyos_level`."""
    with _standing_still() as (machine, _):
        found = lookups.pressure_level(_kernel(machine))
        return _NONE if found is None else found


def _kernel(machine: Machine) -> Kernel:
    return Kernel(machine, current.layout(machine))


@contextlib.contextmanager
def _standing_still() -> Iterator[tuple[Machine, int]]:
    """The machine and the selected core, at a stop of whichever kind; errors become a `gdb.GdbError`."""
    try:
        if _is_stopped_for_gdb_alone():
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
        raise failure(f"GDB could not do it: {error}") from error


def _is_stopped_for_gdb_alone() -> bool:
    thread = gdb.selected_thread()
    if thread is None or not thread.is_valid() or not thread.is_running():
        return False
    try:
        gdb.selected_frame()
    except gdb.error:
        return False  # It really runs.
    return True
