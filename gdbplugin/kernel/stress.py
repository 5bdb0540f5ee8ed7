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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.pressure import Level


@dataclass(frozen=True)
class StressState:
    """What the test is judged by, at one stop. `frames` is None if the kernel was changing its records."""

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
class StrategyChange:
    """What a strategy did during the test."""

    strategy: str
    """Its name."""
    run_count: int | None
    """How often it ran."""
    total_won: int | None
    """What these runs gained, in the strategy's unit."""


@dataclass(frozen=True)
class StressRun(Noticed):
    """A run of the kernel's stress test, and what it changed."""

    json_fields = (
        *("result", "progress", "progress_total", "seconds"),
        *("stats", "stats_before", "counters", "counters_before", "changes"),
        *("level", "levels_entered", "strategies"),
        *("frames_before", "frames_after", "frames_lost"),
    )

    result: str
    """What the kernel says: passed, failed, cancelled, or no room if not all of its tasks could start."""
    progress: int | None
    """Steps that were done when it ended or was cancelled."""
    progress_total: int | None
    """Steps of the whole test."""
    seconds: float | None
    """How long it took, by the kernel's own timer."""
    before: StressState
    after: StressState

    @property
    def stats(self) -> DynamicMemoryStats:
        """DynamicMemoryStats after the test."""
        return self.after.stats

    @property
    def stats_before(self) -> DynamicMemoryStats:
        """DynamicMemoryStats before the test."""
        return self.before.stats

    @property
    def counters(self) -> dict[str, int | None]:
        """More counters since boot after the test, by name."""
        return self.after.counters

    @property
    def counters_before(self) -> dict[str, int | None]:
        """The same counters before the test."""
        return self.before.counters

    @property
    def level(self) -> Level | None:
        """The level of memory pressure after the test."""
        return self.after.pressure.level

    @property
    def frames_before(self) -> Accounting | None:
        """Frames by their use before the test; null if they were not counted."""
        return self.before.frames

    @property
    def frames_after(self) -> Accounting | None:
        """Frames by their use after the test; null if they were not counted."""
        return self.after.frames

    @property
    def changes(self) -> dict[str, int | None]:
        """The change of every counter of `stats` and `counters`; null if it is not known."""
        before, after = self.before.values, self.after.values
        return {name: difference(after[name], before[name]) for name in after}

    @property
    def levels_entered(self) -> dict[str, int]:
        """How often each level of memory pressure was entered during the test."""
        before, after = self.before.pressure.level_events, self.after.pressure.level_events
        pairs = zip(LEVELS, before or (), after or (), strict=False)
        return {level: new - old for level, old, new in pairs}

    @property
    def strategies(self) -> tuple[StrategyChange, ...]:
        """What each strategy did during the test."""
        before = {entry.strategy: entry for entry in self.before.pressure.strategies or ()}
        found: dict[str, StrategyChange] = {}
        for entry in self.after.pressure.strategies or ():
            old = before.get(entry.strategy)
            if entry.strategy is not None and old is not None:
                runs = difference(entry.run_count, old.run_count)
                won = difference(entry.total_won, old.total_won)
                found[entry.strategy] = StrategyChange(entry.strategy, runs, won)
        return tuple(found.values())

    @property
    def frames_lost(self) -> int | None:
        """Frames that nothing owns any more since the test; null if they were not counted."""
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
            "the kernel was in the middle of a change before the test: frames lost earlier count as well"
        )
    return run


STRESS = KernelTest(STRESS_TEST, "tinyos stress", read_stress_state, compare_stress, can_cancel=True)
