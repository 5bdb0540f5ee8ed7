"""The tests that the kernel runs on request of a debugger, and what each run changed."""

from __future__ import annotations

from collections.abc import Callable

from gdbplugin.kernel.check_state import Accounting, read_accounting
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.interface import (
    CONTEXT_TEST,
    NAMES,
    NO_ROOM,
    OUT_OF_TIME,
    RESULTS,
    STRESS_TEST,
    Clock,
    Interface,
    read_clock,
)
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.pressure import LEVELS, Pressure, read_pressure
from gdbplugin.kernel.spaces import AddressSpaces, read_spaces
from gdbplugin.kernel.statistics import DynamicMemoryStats, read_other_counters, read_statistics
from gdbplugin.kernel.tasks import Task, Tasks, read_tasks
from gdbplugin.records import asdict, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.pressure import Level

_NOT_FINDINGS = ("passed", "cancelled")
_OUT_OF_TIME_REASON = (
    "not all of its tasks finished, as other tasks used the CPU; `kill TASK` at the kernel's console ends one"
)


@dataclass(frozen=True)
class KernelTest:
    """A test: the number of its request, and the command that runs it.

    `read` reads the state before the test. `compare` takes that state after the test, and returns the run.
    """

    number: int
    command: str
    read: Callable[[Kernel], Any]
    compare: Callable[[Kernel, Any, Interface], Any]
    can_cancel: bool = False

    @property
    def name(self) -> str:
        """The name of the test for people."""
        return NAMES[self.number]


@dataclass(frozen=True)
class ContextTestRun(Diagnosed):
    """A run of the context switching test, and what it changed."""

    json_fields = ("result", "seconds", "changes", "tasks")

    result: str
    """The kernel's result: passed, failed, no room if not all of its tasks could be started, or out of time
    if not all of them finished."""
    seconds: float | None
    """How long it took, by the kernel's own timer."""
    before: ContextState
    after: ContextState
    tasks: tuple[TaskChange, ...]
    """The tasks that were switched to during the test."""

    @property
    def changes(self) -> dict[str, int | None]:
        """The change of each counter of the context switcher; null if it is not known."""
        before, after = _switch_counters(self.before.spaces), _switch_counters(self.after.spaces)
        return {name: _difference(after[name], before[name]) for name in after}


@dataclass(frozen=True)
class ContextState:
    """What the context switching test changes, at one stop."""

    spaces: AddressSpaces
    tasks: Tasks | None
    clock: Clock


@dataclass(frozen=True)
class TaskChange:
    """A task that ran during the test."""

    id: int | None
    """Its number."""
    name: str
    """The name of its program."""
    state: str | None
    """Its state after the test."""
    end_reason: str | None
    """Why it ended; null if it has not ended."""
    is_new: bool
    """Whether it was started during the test."""
    switches: int | None
    """Number of switches to it during the test."""


def read_context_state(kernel: Kernel) -> ContextState:
    """Read the state."""
    return ContextState(read_spaces(kernel), read_tasks(kernel), read_clock(kernel))


def compare_context(kernel: Kernel, before: ContextState, interface: Interface) -> ContextTestRun:
    """The run that has just ended; a failure becomes a finding."""
    after = read_context_state(kernel)
    seconds = _seconds_between(before.clock, after.clock)
    result = _result(kernel, CONTEXT_TEST, interface)
    return ContextTestRun(
        result, seconds, before, after, _tasks(before.tasks, after.tasks), diagnostics=kernel.diagnostics
    )


def _tasks(before: Tasks | None, after: Tasks | None) -> tuple[TaskChange, ...]:
    """The tasks that were switched to during the test; a new task in an old slot has another start time."""
    known = {(task.id, task.start_time): task for task in before.tasks} if before else {}
    found = []
    for task in after.tasks if after else ():
        old = known.get((task.id, task.start_time))
        change = _change(task, old)
        if change.switches or change.is_new:
            found.append(change)
    return tuple(found)


def _change(task: Task, old: Task | None) -> TaskChange:
    switches = task.switch_count if old is None else _difference(task.switch_count, old.switch_count)
    return TaskChange(task.id, task.name, task.state, task.end_reason, old is None, switches)


def _switch_counters(spaces: AddressSpaces) -> dict[str, int | None]:
    asids, dropped = spaces.asids, spaces.invalidations
    return {
        "switch_count": spaces.switch_count,
        "fast_switch_count": spaces.fast_switch_count,
        "invalidations_by_address": None if dropped is None else dropped.by_address,
        "invalidations_by_asid": None if dropped is None else dropped.by_asid,
        "invalidations_of_everything": None if dropped is None else dropped.everything,
        "asid_allocations": None if asids is None else asids.allocation_count,
        "asid_rollovers": None if asids is None else asids.rollover_count,
        "asid_generations": spaces.generation,
    }


CONTEXT = KernelTest(CONTEXT_TEST, "tinyos context --test", read_context_state, compare_context)


@dataclass(frozen=True)
class StressRun(Diagnosed):
    """A run of the kernel's stress test, and what it changed."""

    json_fields = (
        *("result", "progress", "progress_total", "seconds"),
        *("stats", "stats_before", "counters", "counters_before", "changes"),
        *("level", "levels_entered", "strategies"),
        *("frames_before", "frames_after", "frames_lost"),
    )

    result: str
    """The kernel's result: passed, failed, cancelled, no room if not all of its tasks could be started, or
    out of time if not all of them finished."""
    progress: int | None
    """Number of steps that were done when it ended or was cancelled."""
    progress_total: int | None
    """Number of steps of the whole test."""
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
        """The change of each counter of `stats` and `counters`; null if it is not known."""
        before, after = self.before.values, self.after.values
        return {name: _difference(after[name], before[name]) for name in after}

    @property
    def levels_entered(self) -> dict[str, int]:
        """Number of times that each level of memory pressure was entered during the test."""
        before, after = self.before.pressure.level_events, self.after.pressure.level_events
        pairs = zip(LEVELS, before or (), after or (), strict=False)
        return {level: new - old for level, old, new in pairs}

    @property
    def strategies(self) -> tuple[StrategyChange, ...]:
        """The runs of each strategy during the test."""
        before = {entry.strategy: entry for entry in self.before.pressure.strategies or ()}
        found: dict[str, StrategyChange] = {}
        for entry in self.after.pressure.strategies or ():
            old = before.get(entry.strategy)
            if entry.strategy is not None and old is not None:
                runs = _difference(entry.run_count, old.run_count)
                won = _difference(entry.total_won, old.total_won)
                found[entry.strategy] = StrategyChange(entry.strategy, runs, won)
        return tuple(found.values())

    @property
    def frames_lost(self) -> int | None:
        """Frames that lost their owner during the test; null if they were not counted."""
        if self.after.frames is None:
            return None
        earlier = self.before.frames.lost if self.before.frames is not None else 0
        return max(0, self.after.frames.lost - earlier)


@dataclass(frozen=True)
class StressState:
    """What the stress test changes, at one stop; `frames` is None if the kernel was changing its records."""

    stats: DynamicMemoryStats
    counters: dict[str, int | None]
    pressure: Pressure
    frames: Accounting | None
    clock: Clock

    @property
    def values(self) -> dict[str, int | None]:
        """All counters: those of DynamicMemoryStats, then the others."""
        return {**asdict(self.stats), **self.counters}


@dataclass(frozen=True)
class StrategyChange:
    """The runs of a strategy during the test."""

    strategy: str
    """Its name."""
    run_count: int | None
    """Number of runs."""
    total_won: int | None
    """Total gain of these runs, in the strategy's unit."""


def read_stress_state(kernel: Kernel) -> StressState:
    """Read the state; what was already read at this stop is not read again."""
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
    seconds = _seconds_between(before.clock, after.clock)
    result = _result(kernel, STRESS_TEST, interface)
    run = StressRun(
        result,
        interface.progress,
        interface.progress_total,
        seconds,
        before,
        after,
        diagnostics=kernel.diagnostics,
    )
    if run.frames_lost:
        kernel.diagnostics.add_finding("frames lost by the stress test", "0", f"{run.frames_lost:,}")
    if before.frames is None:
        kernel.diagnostics.add_note(
            "the kernel was in the middle of a change before the test: frames lost earlier also count"
        )
    return run


STRESS = KernelTest(STRESS_TEST, "tinyos stress", read_stress_state, compare_stress, can_cancel=True)


def _result(kernel: Kernel, number: int, interface: Interface) -> str:
    """The result of a test in words; a failure becomes a finding."""
    test = NAMES[number]
    code = -1 if interface.result is None else interface.result
    result = RESULTS.get(code, f"result {interface.result}")
    if code == NO_ROOM:
        kernel.diagnostics.add_finding(test, "passed", f"{result}: {_no_room_reason(kernel)}")
    elif code == OUT_OF_TIME:
        kernel.diagnostics.add_finding(test, "passed", f"{result}: {_OUT_OF_TIME_REASON}")
    elif result not in _NOT_FINDINGS:
        kernel.diagnostics.add_finding(test, "passed", f"{result}; the kernel's console says more")
    return result


def _no_room_reason(kernel: Kernel) -> str:
    pressure = read_pressure(kernel)
    return (
        "not all of its tasks could be started, with "
        f"{pressure.free_frames} of {pressure.limit_frames} frames free; "
        "`pool all` or `kill TASK` at the kernel's console makes room"
    )


def _seconds_between(before: Clock, after: Clock) -> float | None:
    """Seconds by the kernel's timer; None if they are not known."""
    if before.now is None or after.now is None:
        return None
    return after.seconds(after.now - before.now)


def _difference(after: int | None, before: int | None) -> int | None:
    """The change of a counter; None if one value is not known."""
    return None if after is None or before is None else after - before
