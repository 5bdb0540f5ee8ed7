"""The whole of what the kernel's memory management is doing, on one page."""

from __future__ import annotations

from gdbplugin.kernel.context import Context, read_context
from gdbplugin.kernel.events import EventList, has_events, read_event_list
from gdbplugin.kernel.failure import note_failure
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.lazy import LazyPages, read_lazy_pages
from gdbplugin.kernel.pressure_state import PressureState, read_pressure_state
from gdbplugin.kernel.stacks import RunningStack, Stacks, read_running, read_stacks
from gdbplugin.kernel.statistics import Counters, read_counters
from gdbplugin.records import dataclass

_EVENTS = 6


@dataclass(frozen=True)
class Report(Noticed):
    """Every object, as of one stop; of the events the newest, or None where the kernel records none."""

    counters: Counters
    stacks: Stacks
    running: tuple[RunningStack, ...]
    lazy: LazyPages
    pressure: PressureState
    context: Context
    events: EventList | None
    changing: bool


def read_report(kernel: Kernel) -> Report:
    """Decode it all; what is noticed goes into the kernel's journal."""
    note_failure(kernel)
    counters = read_counters(kernel)
    stacks, context = read_stacks(kernel), read_context(kernel)
    return Report(
        counters=counters,
        stacks=stacks,
        running=read_running(kernel, stacks, context.spaces),
        lazy=read_lazy_pages(kernel),
        pressure=read_pressure_state(kernel),
        context=context,
        events=read_event_list(kernel, _EVENTS) if has_events(kernel) else None,
        changing=counters.changing,
        journal=kernel.journal,
    )
