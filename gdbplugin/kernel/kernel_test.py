"""The tests that the kernel runs when a debugger asks for one, and what their results mean."""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.kernel.clock import Clock
from gdbplugin.kernel.interface import NAMES, NO_ROOM, RESULTS, Interface
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.pressure import read_pressure
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FINE = ("passed", "cancelled")


@dataclass(frozen=True)
class KernelTest:
    """A test: the number of its request, the command that runs it, and how its run is judged.

    `read` reads what the test changes, before it; `compare` makes the run's object of that, afterwards.
    """

    number: int
    command: str
    read: Callable[[Kernel], Any]
    compare: Callable[[Kernel, Any, Interface], Any]
    can_cancel: bool = False

    @property
    def name(self) -> str:
        """What a person calls it."""
        return NAMES[self.number]


def judged(kernel: Kernel, test: str, interface: Interface) -> str:
    """The result of the test called so, in words; one that is not as wanted becomes a finding."""
    number = -1 if interface.result is None else interface.result
    result = RESULTS.get(number, f"result {interface.result}")
    if number == NO_ROOM:
        kernel.journal.find(test, "passed", f"{result}: {_lack(kernel)}")
    elif result not in _FINE:
        kernel.journal.find(test, "passed", f"{result}; the kernel's console says more")
    return result


def _lack(kernel: Kernel) -> str:
    pressure = read_pressure(kernel)
    return (
        "not all of its tasks could be started, with "
        f"{pressure.free_frames} of {pressure.limit_frames} frames free; "
        "`pool all` or `kill TASK` at the kernel's console makes room"
    )


def seconds_between(before: Clock, after: Clock) -> float | None:
    """Seconds of the kernel's own time; None where it is not known."""
    if before.now is None or after.now is None:
        return None
    return after.seconds(after.now - before.now)


def difference(after: int | None, before: int | None) -> int | None:
    """The change; None where one of them is not known."""
    return None if after is None or before is None else after - before
