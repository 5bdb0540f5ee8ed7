"""Makes the kernel run one of its tests, by the request word of its interface for debuggers.

Nothing else in this package writes to the target, and only that word is written. The write uses its physical
address, because a CPU stopped at EL0 cannot access kernel addresses.
"""

from __future__ import annotations

from collections.abc import Callable

import gdb

from gdbplugin.aarch64.walk import VirtualMemory
from gdbplugin.debugger import current
from gdbplugin.debugger.guards import fitted
from gdbplugin.debugger.machine import GdbMachine
from gdbplugin.debugger.resume import Waiting
from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.interface import (
    CANCEL,
    CHANGED,
    FAILURE_MAGIC,
    FAILURE_RECORD,
    INTERFACE,
    NAMES,
    Interface,
    decode_interface,
    read_failure,
    read_interface,
)
from gdbplugin.kernel.kernel import Kernel, NotTinyOSError
from gdbplugin.kernel.kernel_test import KernelTest
from gdbplugin.kernel.tasks import read_tasks
from gdbplugin.machine import MachineError
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class RequestError(MachineError):
    """The kernel cannot run a test now, or did not finish it."""


@dataclass(frozen=True)
class _UnderWay:
    """A requested test that has not been seen to end, and the state before it."""

    test: KernelTest
    served: int
    before: Any


# By connection number and test number.
_under_way: dict[tuple[int, int], _UnderWay] = {}
_last: dict[tuple[int, int], Any] = {}


def latest(test: KernelTest) -> Any:
    """What the last run of a test on this connection changed; the target is not used."""
    if _key(test) not in _last:
        raise RequestError(f"no {test.name} has run on this connection yet: {test.command} runs one")
    return _last[_key(test)]


def run(test: KernelTest, diagnostics: Diagnostics, quiet: bool) -> Any:
    """Run a test in the target and return what it changed; raises a `MachineError`."""
    kernel = current.kernel(diagnostics)
    if current.is_dump():
        raise MachineError(f"the target is a dump, which does not run: the {test.name} needs a live one")
    interface = read_interface(kernel)
    former = _known(test, interface)
    if former is None:
        _require_able(kernel, interface)
        former = _UnderWay(test, interface.served or 0, test.read(kernel))
    waiting = Waiting(test.name, *_lookers(kernel), interface)
    _under_way[_key(test)] = former
    steps = None
    if not _is_over(interface, former):
        if not quiet:
            _announce(test, bool(interface.active))
        with waiting.prepared(_changed_address(), begun=bool(interface.active)):
            if not interface.active:
                _write_request(test.number)
            steps = _wait(test, waiting, former, quiet)
    return _finish(test, former, steps, diagnostics)


def _finish(test: KernelTest, former: _UnderWay, steps: int | None, diagnostics: Diagnostics) -> Any:
    kernel = current.kernel(diagnostics)
    interface = read_interface(kernel)
    if steps is not None:
        interface = replace(interface, progress=steps)
    run = test.compare(kernel, former.before, interface)
    _under_way.pop(_key(test), None)
    _last[_key(test)] = run
    return run


def _wait(test: KernelTest, waiting: Waiting, former: _UnderWay, quiet: bool) -> int | None:
    """Wait until the test has ended; raises `RequestError` if it does not.

    Returns the number of steps done when it was cancelled; None if it was not cancelled.
    """
    cancelled_at = None
    while True:
        waiting.go_on()
        if waiting.ended:
            return cancelled_at
        interface = _read_interface()
        if _is_over(interface, former):
            return cancelled_at
        if waiting.failed:
            _under_way.pop(_key(test), None)
            raise RequestError(f"the kernel failed during the {test.name}: {_read_failure()}")
        if not interface.active:
            _write_request(0)
            _under_way.pop(_key(test), None)
            raise RequestError(_why_not_begun(test, waiting))
        if waiting.interrupted and not waiting.timed_out and test.can_cancel and cancelled_at is None:
            cancelled_at = interface.progress or 0
            _write_request(CANCEL)
            if not quiet:
                _say(f"Ending the {test.name}: its tasks end first.")
            continue
        raise RequestError(_why_not_ended(test, waiting, interface))


def _why_not_begun(test: KernelTest, waiting: Waiting) -> str:
    if waiting.timed_out:
        return (
            f"the kernel did not start the {test.name}: it is busy with a console command, or its timer does "
            "not tick; the request was withdrawn"
        )
    if not waiting.interrupted:
        return f"the target stopped {waiting.reason} before the {test.name} began; the request was withdrawn"
    return f"interrupted before the {test.name} began; the request was withdrawn"


def _why_not_ended(test: KernelTest, waiting: Waiting, interface: Interface) -> str:
    steps = f"{interface.progress} of {interface.progress_total} steps done"
    later = f"the test continues when the target does, and `{test.command}` then waits for its end"
    if waiting.timed_out:
        return f"the kernel's {test.name} makes no progress ({steps}); {later}"
    if waiting.interrupted:
        return f"interrupted during the {test.name} ({steps}); {later}"
    return f"the target stopped {waiting.reason} during the {test.name} ({steps}); {later}"


def _known(test: KernelTest, interface: Interface) -> _UnderWay | None:
    """An earlier request for the test, no longer waited for, if it still runs or has ended by now."""
    former = _under_way.pop(_key(test), None)
    if former is None:
        return None
    runs = test.number in (interface.active, interface.request) and interface.served == former.served
    return former if runs or _is_over(interface, former) else None


def _is_over(interface: Interface, former: _UnderWay) -> bool:
    return interface.served == (former.served + 1) & 0xFFFF_FFFF


def _require_able(kernel: Kernel, interface: Interface) -> None:
    """Raise `RequestError` if the kernel would not carry out a request."""
    failure = read_failure(kernel)
    if failure is not None:
        raise RequestError(
            f"the kernel has halted after a failure ({failure.message or failure.kind_name}) and runs nothing"
        )
    if interface.is_ready != 1:
        raise RequestError("the kernel's boot workload has not ended: resume the target and stop it later")
    if interface.active:
        name = NAMES.get(interface.active, f"request {interface.active}")
        steps = f"{interface.progress} of {interface.progress_total} steps"
        raise RequestError(
            f"the kernel is already running a {name} ({steps}): resume the target until that has ended"
        )
    if interface.request:
        name = NAMES.get(interface.request, f"request {interface.request}")
        raise RequestError(f"a {name} is requested already, but has not started: resume the target")
    tasks = read_tasks(kernel)
    if tasks is not None and tasks.is_held:
        raise RequestError("the kernel holds its tasks: release them first (`go` at its console)")
    if gdb.parameter("scheduler-locking") == "on":
        raise RequestError("scheduler-locking is on, so only one core would run: turn it off first")


def _lookers(kernel: Kernel) -> tuple[Callable[[], Interface], Callable[[], bool]]:
    """Functions that read the interface, and whether the kernel has failed, while core 0 is in the kernel.

    Only then can GDB itself read the kernel's virtual addresses.
    """
    interface, failure = kernel.static(INTERFACE), kernel.static(FAILURE_RECORD)
    inferior = gdb.selected_inferior()

    def look() -> Interface:
        raw = bytes(inferior.read_memory(interface.address, interface.type.size))
        return decode_interface(interface.type, raw)

    def has_failed() -> bool:
        return bytes(inferior.read_memory(failure.address, len(FAILURE_MAGIC))) == FAILURE_MAGIC

    return look, has_failed


def _changed_address() -> int:
    symbol = gdb.lookup_global_symbol(CHANGED)
    if symbol is None:
        raise NotTinyOSError(f"this kernel has no {CHANGED.rpartition('::')[2]} to wait at")
    return int(symbol.value().address or 0)


def _key(test: KernelTest) -> tuple[int, int]:
    connection = gdb.selected_inferior().connection
    return connection.num if connection is not None else 0, test.number


def _read_interface() -> Interface:
    return read_interface(current.kernel(Diagnostics()))


def _read_failure() -> str:
    failure = read_failure(current.kernel(Diagnostics()))
    return "it left no record" if failure is None else failure.message or failure.kind_name


def _write_request(number: int) -> None:
    machine = current.machine()
    kernel = current.kernel(Diagnostics())
    place = kernel.locate_field(INTERFACE, "request")
    assert place is not None, "read_interface has found it"
    memory = VirtualMemory(machine, kernel.regime)
    ((address, length),) = memory.physical_ranges(place.address, place.type.size)
    GdbMachine().write_physical(address, number.to_bytes(length, "little"))
    current.forget()


def _announce(test: KernelTest, goes_on: bool) -> None:
    how = "continues" if goes_on else "requested by DEBUGGER_INTERFACE.request"
    end = "Ctrl-C ends it early." if test.can_cancel else "Ctrl-C stops the target."
    _say(f"The target runs now: the kernel's {test.name}{' ' if goes_on else ', '}{how}. {end}")


def _say(text: str) -> None:
    """Print at once; the command's own output comes at its end."""
    gdb.write(fitted(text) + "\n", gdb.STDERR)
    gdb.flush(gdb.STDERR)
