"""The whole of what the kernel's memory management is doing, on one page."""

from __future__ import annotations

from gdbplugin.kernel.context import Context, read_context
from gdbplugin.kernel.events import Event, EventList, has_events, read_event_list
from gdbplugin.kernel.failure import note_failure
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.lazy import LazyPages, read_lazy_pages
from gdbplugin.kernel.lazy_table import LazyTable
from gdbplugin.kernel.pressure import PressureState, read_pressure_state
from gdbplugin.kernel.stacks import RunningStack, Stacks, read_running, read_stacks
from gdbplugin.kernel.statistics import Counters, read_counters
from gdbplugin.records import dataclass

_EVENTS = 6


@dataclass(frozen=True)
class Report(Noticed):
    """Every object, as of one stop. Only the findings and notes of the report itself are in its JSON."""

    json_fields = (
        "counters",
        "stacks",
        "running",
        "lazy",
        "pages",
        "pressure",
        "context",
        "recorded",
        "events",
    )
    json_merged = ("counters", "stacks", "pressure", "context")

    counters: Counters
    stacks: Stacks
    running: tuple[RunningStack, ...]
    """Those of the stacks whose tasks the cores run, with their stack pointers at this moment."""
    lazy: LazyPages
    """The lazy page allocator."""
    pressure: PressureState
    context: Context
    recent: EventList | None

    @property
    def pages(self) -> LazyTable:
        """Every lazy page; ascending."""
        return self.lazy.pages

    @property
    def recorded(self) -> int | None:
        """How many events there were since boot."""
        return None if self.recent is None else self.recent.recorded

    @property
    def events(self) -> tuple[Event, ...] | None:
        """The newest events, oldest first; null in a kernel that records none."""
        return None if self.recent is None else self.recent.events

    @property
    def changing(self) -> bool:
        """Whether the kernel was stopped in the middle of a change: figures may not agree."""
        return self.counters.changing


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
        recent=read_event_list(kernel, _EVENTS) if has_events(kernel) else None,
        journal=kernel.journal,
    )
