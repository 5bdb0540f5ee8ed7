"""A run of the kernel's stress test: what was before it, and what has changed."""

from __future__ import annotations

from gdbplugin.kernel.accounting import Accounting, read_accounting
from gdbplugin.kernel.clock import Clock, read_clock
from gdbplugin.kernel.interface import NAMES, STRESS_TEST, Interface
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.kernel_test import KernelTest, difference, judged, seconds_between
from gdbplugin.kernel.pressure import LEVELS, Pressure, read_pressure
from gdbplugin.kernel.statistics import DynamicMemoryStats, read_other_counters, read_statistics
from gdbplugin.records import asdict, dataclass


@dataclass(frozen=True)
class StressState:
    """What the test is judged by, at one stop. `frames` is None where the kernel was amid a change."""

    stats: DynamicMemoryStats
    counters: dict[str, int | None]
    pressure: Pressure
    frames: Accounting | None
    clock: Clock

    @property
    def values(self) -> dict[str, int | None]:
        """Every counter: those of DynamicMemoryStats, then the others."""
        return {**asdict(self.stats), **self.counters}


@dataclass(frozen=True)
class StressRun(Noticed):
    """A run: `result` is passed, failed, cancelled or no room; `strategies` are runs and wins, by name."""

    result: str
    progress: int | None
    progress_total: int | None
    seconds: float | None
    before: StressState
    after: StressState

    @property
    def changes(self) -> dict[str, int | None]:
        """The change of every counter: of DynamicMemoryStats, and of the others."""
        before, after = self.before.values, self.after.values
        return {name: difference(after[name], before[name]) for name in after}

    @property
    def levels_entered(self) -> dict[str, int]:
        """How often each pressure level was entered."""
        before, after = self.before.pressure.level_events, self.after.pressure.level_events
        pairs = zip(LEVELS, before or (), after or (), strict=False)
        return {level: new - old for level, old, new in pairs}

    @property
    def strategies(self) -> dict[str, tuple[int | None, int | None]]:
        """Each strategy's runs, and what they won in its own unit."""
        before = {entry.strategy: entry for entry in self.before.pressure.strategies or ()}
        found = {}
        for entry in self.after.pressure.strategies or ():
            old = before.get(entry.strategy)
            if entry.strategy is not None and old is not None:
                runs = difference(entry.run_count, old.run_count)
                found[entry.strategy] = (runs, difference(entry.total_won, old.total_won))
        return found

    @property
    def frames_lost(self) -> int | None:
        """Frames in use that nothing owns now, beyond those before; None where they were not counted."""
        if self.after.frames is None:
            return None
        earlier = self.before.frames.lost if self.before.frames is not None else 0
        return max(0, self.after.frames.lost - earlier)


def read_stress_state(kernel: Kernel) -> StressState:
    """Read it all; what has already been read at this stop costs nothing."""
    changing = kernel.is_changing(MANAGER)
    return StressState(
        stats=read_statistics(kernel),
        counters=read_other_counters(kernel),
        pressure=read_pressure(kernel),
        frames=None if changing else read_accounting(kernel),
        clock=read_clock(kernel),
    )


def compare_stress(kernel: Kernel, before: StressState, interface: Interface) -> StressRun:
    """The run that has just ended; a failure and lost frames become findings."""
    after = read_stress_state(kernel)
    seconds = seconds_between(before.clock, after.clock)
    result = judged(kernel, NAMES[STRESS_TEST], interface)
    run = StressRun(
        result, interface.progress, interface.progress_total, seconds, before, after, journal=kernel.journal
    )
    if run.frames_lost:
        kernel.journal.find("frames lost by the stress test", "0", f"{run.frames_lost:,}")
    if before.frames is None:
        kernel.journal.note(
            "the kernel was amid a change before the test: frames lost earlier would be counted as well"
        )
    return run


STRESS = KernelTest(STRESS_TEST, "tinyos stress", read_stress_state, compare_stress, can_cancel=True)
