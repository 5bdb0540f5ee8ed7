"""The kernel's counters: `DynamicMemoryStats` and those of the manager's parts, and their rates."""

from __future__ import annotations

from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.interface import CONSOLE_INPUT, Clock, Timed, read_clock
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel
from gdbplugin.records import asdict, dataclass

# The name that is shown, and the path within the manager.
_COUNTERS = {
    "lazy_zero_faults": "lazy_allocator.zero_fault_count",
    "lazy_allocate_faults": "lazy_allocator.allocate_fault_count",
    "lazy_upgrade_faults": "lazy_allocator.upgrade_fault_count",
    "lazy_access_flag_hits": "lazy_allocator.access_flag_count",
    "lazy_pages_folded": "lazy_allocator.fold_count",
    "frame_allocations": "frames.allocation_count",
    "frame_releases": "frames.release_count",
    "frame_failures": "frames.failure_count",
    "fast_switches": "context_switcher.fast_switch_count",
    "invalidations_by_address": "context_switcher.invalidations.by_address",
    "invalidations_by_asid": "context_switcher.invalidations.by_asid",
    "invalidations_of_everything": "context_switcher.invalidations.everything",
    "asid_allocations": "context_switcher.asids.allocation_count",
    "asid_rollovers": "context_switcher.asids.rollover_count",
    "events_recorded": "events.recorded",
}
_CONSOLE_COUNTERS = {"console_overruns": "overrun_count", "console_line_errors": "line_error_count"}
_HISTORY = "counters"


@dataclass(frozen=True)
class DynamicMemoryStats:
    """The ten counters, as the kernel keeps them."""

    total_dynamic_stacks: int | None
    """Stacks created since boot."""
    active_dynamic_stacks: int | None
    """Stacks that exist now."""
    total_stack_growth_events: int | None
    """Times that a stack was grown."""
    total_stack_shrink_events: int | None
    """Times that a stack was shrunk."""
    total_lazy_pages: int | None
    """Lazy pages reserved now."""
    allocated_lazy_pages: int | None
    """Those of them with a frame of their own."""
    total_lazy_page_faults: int | None
    """Faults that lazy pages resolved."""
    memory_pressure_events: int | None
    """Changes of the pressure level."""
    optimization_events: int | None
    """Runs of strategies against pressure."""
    context_switch_count: int | None
    """Switches of address spaces."""


@dataclass(frozen=True)
class Changes:
    """How the counters changed over some seconds of the kernel's own timer."""

    json_fields = ("seconds", "changes", "per_second")

    seconds: float
    """Seconds between the two looks, by the kernel's own timer."""
    changes: dict[str, int]
    """The change of every counter, by name."""

    @property
    def per_second(self) -> dict[str, float]:
        """The changes as rates."""
        return {name: change / self.seconds for name, change in self.changes.items()}


@dataclass(frozen=True)
class Counters(Diagnosed, Timed):
    """All counters that this kernel has.

    `enabled` is for other kernels of the design, whose memory management can be switched off.
    """

    json_fields = ("changing", "enabled", "stats", "counters", "time", "since")

    stats: DynamicMemoryStats
    """DynamicMemoryStats, by the kernel's field names."""
    counters: dict[str, int | None]
    """More counters since boot, by name: lazy page faults by what they did, frames, switches, invalidations,
    ASIDs, events, ticks, lost input of the console."""
    clock: Clock
    since: Changes | None
    """What changed since the last look at an earlier stop; null if there was none."""
    changing: bool
    """Whether the kernel was stopped in the middle of a change: figures may not agree."""
    enabled: bool | None = None
    """Whether the memory management is on; null in a kernel that has no such setting."""


def read_statistics(kernel: Kernel) -> DynamicMemoryStats:
    """Decode the statistics."""
    field = kernel.read_field(MANAGER, "stats")
    return kernel.make_record(DynamicMemoryStats, field.fields if field else None, "statistics")


def read_other_counters(kernel: Kernel) -> dict[str, int | None]:
    """Decode the counters of the manager's parts, the scheduler's ticks, and the console's lost input."""
    counters = {name: kernel.read_integer(MANAGER, path) for name, path in _COUNTERS.items()}
    if kernel.layout.static(SCHEDULER) is not None:
        counters["ticks"] = kernel.read_integer(SCHEDULER, "tick_count")
    if kernel.layout.static(CONSOLE_INPUT) is not None:
        for name, path in _CONSOLE_COUNTERS.items():
            counters[name] = kernel.read_integer(CONSOLE_INPUT, path)
    return counters


def read_counters(kernel: Kernel) -> Counters:
    """Decode every counter, and compare it with its last value from an earlier stop."""
    changing = kernel.note_change()
    stats, clock = read_statistics(kernel), read_clock(kernel)
    counters = read_other_counters(kernel)
    values = {**asdict(stats), **counters}
    since = _compare(kernel.history.earlier(_HISTORY), values, clock)
    kernel.history.keep(_HISTORY, (values, clock))
    kernel.history.keep("events", counters["events_recorded"])
    return Counters(
        stats, counters, clock, since, changing, _read_enabled(kernel), diagnostics=kernel.diagnostics
    )


def _read_enabled(kernel: Kernel) -> bool | None:
    field = kernel.read_field(MANAGER, "enabled") if kernel.has(MANAGER, "enabled") else None
    found = None if field is None else kernel.valid_or_none(field.value, "enabled")
    if field is None and not kernel.has_debugger_interface:
        kernel.note_missing("enabled")
    # The type of an atomic flag is a number.
    return bool(found) if found in (0, 1) else None


def _compare(
    earlier: tuple[dict[str, int | None], Clock] | None, values: dict[str, int | None], clock: Clock
) -> Changes | None:
    """The changes since then; None if no time has passed, or the machine has started anew."""
    if earlier is None:
        return None
    before, then = earlier
    if then.now is None or clock.now is None:
        return None
    seconds = clock.seconds(clock.now - then.now)
    if seconds is None or seconds <= 0:
        return None
    changes = {}
    for name, value in values.items():
        old = before.get(name)
        if value is not None and old is not None:
            changes[name] = value - old
    return Changes(seconds, changes)
