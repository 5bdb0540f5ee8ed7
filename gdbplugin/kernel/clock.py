"""The kernel's time: the generic timer, as far as a stopped machine tells it.

Its count (CNTVCT_EL0) is not among the registers of every debug stub. What is known then is when the timer
that ticks will fire next (CNTV_CVAL_EL0), and when the newest event was recorded: the time now is not
before the later of the tick before that one and this event, and at most a tick after it. Where no register
is known, the kernel's own words for the timer's frequency and its last tick say the same.
"""

from __future__ import annotations

from gdbplugin.kernel.interface import exported_number, ticks_per_second, timer_frequency
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel
from gdbplugin.layout.decode import value
from gdbplugin.layout.types import Array, unwrap
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Clock:
    """`frequency` in counts a second; `now` in counts since the timer started, good to a tick."""

    frequency: int | None
    """Counts a second of the generic timer (CNTFRQ_EL0)."""
    now: int | None
    """Its count at the stop, good to a tick."""

    def seconds(self, counts: int | None) -> float | None:
        """Counts as seconds; None where either is not known."""
        return None if counts is None or not self.frequency else counts / self.frequency

    def ago(self, time: int | None) -> float | None:
        """How many seconds ago a time was; None for a time of 0, which is none, and where it is not known."""
        if not time or self.now is None:
            return None
        return self.seconds(max(0, self.now - time))


class Timed:
    """An object of one stop, with the time of it."""

    clock: Clock

    @property
    def time(self) -> Clock:
        """The kernel's own timer; all times are counts of it."""
        return self.clock


def read_clock(kernel: Kernel) -> Clock:
    """The clock by core 0's registers, else by the kernel's records and the newest event."""
    machine = kernel.machine
    core = machine.cores[0] if machine.cores else 0
    frequency = machine.register("CNTFRQ_EL0", core) or timer_frequency(kernel)
    count = machine.register("CNTVCT_EL0", core)
    if count is not None:
        return Clock(frequency, count)
    known = [_newest_event(kernel)]
    deadline = machine.register("CNTV_CVAL_EL0", core)
    rate = ticks_per_second(kernel) if deadline and frequency else None
    if deadline and frequency and rate:
        known.append(max(0, deadline - frequency // rate))
    else:
        known.append(exported_number(kernel, SCHEDULER, "tick_time"))
    times = [time for time in known if time is not None]
    return Clock(frequency, max(times) if times else None)


def _newest_event(kernel: Kernel) -> int | None:
    """When the newest event was recorded; small reads."""
    if not kernel.has(MANAGER, "events.recorded") and not kernel.keeps_promises:
        return None
    recorded = kernel.part(MANAGER, "events.recorded")
    place = kernel.place(MANAGER, "events.entries")
    array = unwrap(place.type) if place else None
    if recorded is None or place is None or not isinstance(array, Array) or not recorded.value:
        return None
    size = array.element.size
    slot = (recorded.value - 1) % array.count
    entry: dict[str, Any] = value(array.element, kernel.memory.read(place.address + slot * size, size))
    time = entry.get("timestamp")
    return time if isinstance(time, int) else None
