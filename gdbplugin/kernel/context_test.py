"""A run of the kernel's context switching test: what was before it, and what has changed."""

from __future__ import annotations

from gdbplugin.kernel.clock import Clock, read_clock
from gdbplugin.kernel.interface import CONTEXT_TEST, NAMES, Interface
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.kernel_test import KernelTest, difference, judged, seconds_between
from gdbplugin.kernel.spaces import AddressSpaces, read_spaces
from gdbplugin.kernel.tasks import Task, Tasks, read_tasks
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class ContextState:
    """What the test changes, at one stop."""

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
    """Its state now."""
    end_reason: str | None
    """Why it ended; `None` while it lives."""
    is_new: bool
    """Whether it was started during the test."""
    switches: int | None
    """How often it was switched to during the test."""


@dataclass(frozen=True)
class ContextTestRun(Noticed):
    """A run of the context switching test, and what it changed."""

    json_fields = ("result", "seconds", "changes", "tasks")

    result: str
    """What the kernel says: passed, failed, or no room if not all of its tasks could start."""
    seconds: float | None
    """How long it took, by the kernel's own timer."""
    before: ContextState
    after: ContextState
    tasks: tuple[TaskChange, ...]
    """The tasks that were switched to during the test."""

    @property
    def changes(self) -> dict[str, int | None]:
        """The change of every counter of the context switcher."""
        before, after = _counters(self.before.spaces), _counters(self.after.spaces)
        return {name: difference(after[name], before[name]) for name in after}


def _counters(spaces: AddressSpaces) -> dict[str, int | None]:
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


def read_context_state(kernel: Kernel) -> ContextState:
    """Read it."""
    return ContextState(read_spaces(kernel), read_tasks(kernel), read_clock(kernel))


def compare_context(kernel: Kernel, before: ContextState, interface: Interface) -> ContextTestRun:
    """The run that has just ended; a failure becomes a finding."""
    after = read_context_state(kernel)
    seconds = seconds_between(before.clock, after.clock)
    result = judged(kernel, NAMES[CONTEXT_TEST], interface)
    return ContextTestRun(
        result, seconds, before, after, _tasks(before.tasks, after.tasks), journal=kernel.journal
    )


def _tasks(before: Tasks | None, after: Tasks | None) -> tuple[TaskChange, ...]:
    """The tasks that were switched to during the test. A slot that is used again has another start time."""
    known = {(task.id, task.start_time): task for task in before.tasks} if before else {}
    found = []
    for task in after.tasks if after else ():
        old = known.get((task.id, task.start_time))
        change = _change(task, old)
        if change.switches or change.is_new:
            found.append(change)
    return tuple(found)


def _change(task: Task, old: Task | None) -> TaskChange:
    switches = task.switch_count if old is None else difference(task.switch_count, old.switch_count)
    return TaskChange(task.id, task.name, task.state, task.end_reason, old is None, switches)


CONTEXT = KernelTest(CONTEXT_TEST, "tinyos context --test", read_context_state, compare_context)
