"""Tasks."""

from __future__ import annotations

from gdbplugin.kernel.kernel import SCHEDULER, Kernel
from gdbplugin.layout.decode import text
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class Task:
    """A task. Times are counts of the generic timer."""

    id: int | None
    """Its number."""
    name: str
    """Its name."""
    state: str | None
    """Its TaskState, by name."""
    end_reason: str | None
    """Why it ended: its EndReason, by name; `None` while it lives."""
    stack: int | None
    """ID of its dynamic stack; 0 if it has none."""
    switch_count: int | None
    """How often it was switched to."""
    start_time: int | None
    """When it was started."""
    end_time: int | None
    """When it ended; 0 while it lives."""
    end_syndrome: int | None
    """ESR_EL1 of the exception that ended it."""
    end_address: int | None
    """FAR_EL1 of that exception."""


@dataclass(frozen=True)
class Tasks:
    """The scheduler. `current` is the task whose registers are in the CPU; `tasks` those ever used."""

    current: int | None
    is_held: bool | None
    tick_count: int | None
    tasks: tuple[Task, ...]


class Scheduled:
    """An object with what the scheduler knew at the same stop; None in a kernel without a scheduler."""

    scheduler: Tasks | None

    @property
    def tasks(self) -> tuple[Task, ...] | None:
        """The tasks ever used, in the order of their numbers; null in a kernel without a scheduler."""
        return None if self.scheduler is None else self.scheduler.tasks

    @property
    def current_task(self) -> int | None:
        """The task whose registers are in the CPU."""
        return None if self.scheduler is None else self.scheduler.current


def read_tasks(kernel: Kernel) -> Tasks | None:
    """Decode the scheduler, one read; None, and a note, if this kernel has none."""
    if kernel.layout.static(SCHEDULER) is None:
        # There may be one that is something else.
        kernel.journal.lack("", "SCHEDULER with tasks and current")
        return None
    values = {
        name: part.value
        for name in ("current", "is_held", "tick_count")
        if (part := kernel.part(SCHEDULER, name))
    }
    part = kernel.part(SCHEDULER, "tasks")
    found = []
    for number, entry in enumerate(part.value if part else ()):
        if not isinstance(entry, dict) or entry.get("state") == "Unused":
            continue
        raw = entry.get("name", b"")
        name = text(raw) if isinstance(raw, bytes) else ""
        found.append(kernel.record(Task, entry, f"task {number}", name=name))
    return kernel.record(Tasks, values, "scheduler", tasks=tuple(found))


Names = dict[int | None, str]
"""The names of tasks by their numbers."""


def task_names(tasks: Tasks | None) -> Names:
    """The names of the tasks by their numbers."""
    return {task.id: task.name for task in tasks.tasks} if tasks else {}
