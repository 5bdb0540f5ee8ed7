"""The scheduler and its tasks, and those of them that an exception ended."""

from __future__ import annotations

from gdbplugin.kernel.kernel import SCHEDULER, Kernel
from gdbplugin.layout.decode import text, value
from gdbplugin.layout.types import Array, Struct, unwrap
from gdbplugin.machine import SelectionError
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.target import Target

# Reasons for an end other than an exception.
_ORDERLY_ENDS = ("None", "Exited", "Killed", "OwnedMost")


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
    ended_for: int | None = None
    """The task that needed a frame, if this one ended because it owned the most; else 0. Null in a kernel
    that does not say."""
    end_frames: int | None = None
    """How many frames it owned then. Null in a kernel that does not say."""
    wake_time: int | None = None
    """When it wakes, if it sleeps; the largest number if not by the time."""
    run_time: int | None = None
    """How long it had run when its latest turn ended, as counts of the timer. Null in a kernel that does not
    say."""

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.state != "Ended"


@dataclass(frozen=True)
class Tasks:
    """The scheduler. `current` is the task whose registers are in the CPU; `tasks` are those ever used."""

    current: int | None
    is_held: bool | None
    tick_count: int | None
    tasks: tuple[Task, ...]
    turn_start: int | None = None

    def run_time(self, task: Task, now: int | None) -> int | None:
        """How long a task has run until `now`, in counts of the timer; None if the kernel does not say."""
        if task.run_time is None or task.id != self.current:
            return task.run_time
        return (
            None if now is None or self.turn_start is None else task.run_time + max(now - self.turn_start, 0)
        )


@dataclass(frozen=True)
class Context:
    """The registers of a task as the kernel saved them at its last exception."""

    x: tuple[int, ...] | None
    """X0 to X30."""
    sp: int | None
    """SP_EL0; for the shell, SP_EL1."""
    pc: int | None
    """ELR_EL1: where it continues."""
    pstate: int | None
    """SPSR_EL1."""
    thread_pointer: int | None
    """TPIDR_EL0."""

    def by_number(self) -> dict[int, int]:
        """The general registers by their DWARF numbers."""
        known = dict(enumerate(self.x or ()))
        return known | {n: value for n, value in ((31, self.sp), (32, self.pc)) if value is not None}


class Scheduled:
    """An object with the scheduler's state at the same stop; None in a kernel without a scheduler."""

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
    """Decode the scheduler; None and a note if this kernel has none."""
    if kernel.layout.static(SCHEDULER) is None:
        # A SCHEDULER of another type counts as none.
        kernel.diagnostics.add_missing("", "SCHEDULER with tasks and current")
        return None
    names = ("current", "is_held", "tick_count")
    values = {
        name: field.value
        for name in (*names, *(["turn_start"] if kernel.has(SCHEDULER, "turn_start") else []))
        if (field := kernel.read_field(SCHEDULER, name))
    }
    field = kernel.read_field(SCHEDULER, "tasks")
    found = []
    for number, entry in enumerate(field.value if field else ()):
        if not isinstance(entry, dict) or entry.get("state") == "Unused":
            continue
        raw = entry.get("name", b"")
        name = text(raw) if isinstance(raw, bytes) else ""
        found.append(kernel.make_record(Task, entry, f"task {number}", name=name))
    return kernel.make_record(Tasks, values, "scheduler", tasks=tuple(found))


@dataclass(frozen=True)
class EndedTask:
    """A task that an exception ended."""

    id: int | None
    """Number of the task."""
    name: str
    """Name of the task."""
    end_reason: str | None
    """Why it ended."""
    end_syndrome: int
    """ESR_EL1 of the exception."""
    end_address: int | None
    """FAR_EL1 of the exception; the instruction's address if the exception does not set it."""
    stack: int | None
    """ID of the stack that it had."""


def read_ended_tasks(kernel: Kernel) -> tuple[EndedTask, ...]:
    """The tasks on record that an exception ended, in the order of their slots."""
    tasks = read_tasks(kernel)
    return tuple(
        EndedTask(task.id, task.name, task.end_reason, task.end_syndrome, task.end_address, task.stack)
        for task in (tasks.tasks if tasks else ())
        if task.state == "Ended" and task.end_reason not in _ORDERLY_ENDS and task.end_syndrome
    )


def current_task(kernel: Kernel) -> int | None:
    """The task whose registers are in the CPU; None in a kernel without a scheduler."""
    if kernel.layout.static(SCHEDULER) is None:
        return None
    return kernel.read_integer(SCHEDULER, "current")


def task_bytes(kernel: Kernel, number: int) -> tuple[str, bytes]:
    """The name of the kernel's type of a task, and the bytes of one. Raises `SelectionError`."""
    field = kernel.locate_field(SCHEDULER, "tasks") if current_task(kernel) is not None else None
    array = unwrap(field.type) if field is not None else None
    if field is None or not isinstance(array, Array) or not isinstance(array.element, Struct):
        raise SelectionError("this kernel has no tasks on record")
    if not 0 <= number < array.count:
        raise SelectionError(f"no task {number} (known: 0 to {array.count - 1})")
    type_ = array.element
    return type_.name, kernel.memory.read(field.address + number * type_.size, type_.size)


def read_contexts(kernel: Kernel) -> dict[int, Context]:
    """The saved registers by the number of their task; 0 is the shell's, while another task runs.

    Those of the task that runs are from its last exception. Empty if the kernel does not keep them.
    """
    field = kernel.read_field(SCHEDULER, "tasks")
    found = {}
    for number, entry in enumerate(field.value if field else ()):
        if number and isinstance(entry, dict) and isinstance(entry.get("context"), dict):
            found[number] = kernel.make_record(Context, entry["context"], f"registers of task {number}")
    shell = _shell_context(kernel)
    return found if shell is None else {0: shell, **found}


def _shell_context(kernel: Kernel) -> Context | None:
    """The shell's registers, which are on its own stack."""
    if not kernel.has(SCHEDULER, "shell_context"):
        return None
    current = kernel.read_integer(SCHEDULER, "current")
    address = kernel.read_integer(SCHEDULER, "shell_context")
    field = kernel.locate_field(SCHEDULER, "tasks")
    array = unwrap(field.type) if field else None
    if not current or not address or not isinstance(array, Array) or not isinstance(array.element, Struct):
        return None
    type_ = next((one.type for one in array.element.fields if one.name == "context"), None)
    if type_ is None:
        return None
    values = value(type_, kernel.memory.read(address, type_.size))
    context = kernel.make_record(Context, values, "registers of the shell")
    return replace(context, sp=address + type_.size)


def find_task(tasks: Tasks, wanted: str | int) -> Task:
    """The task with a number or name. Raises `SelectionError` if there is none, or several of that name."""
    text = str(wanted)
    known = [task for task in tasks.tasks if text in (str(task.id), task.name)]
    exact = [task for task in known if str(task.id) == text] or [task for task in known if task.is_alive]
    if len(exact) == 1 or (known and not exact and len(known) == 1):
        return (exact or known)[0]
    numbers = ", ".join(str(task.id) for task in exact or known)
    if numbers:
        raise SelectionError(f'several tasks are called "{text}": give a number ({numbers})')
    said = ", ".join(str(task.id) for task in tasks.tasks if task.is_alive) or "none"
    raise SelectionError(f"no task {text} (alive: {said})")


Names = dict[int | None, str]
"""The names of tasks by their numbers."""


def task_names(tasks: Tasks | None) -> Names:
    """The names of the tasks by their numbers."""
    return {task.id: task.name for task in tasks.tasks} if tasks else {}


def task_words(number: int | None, name: str | None) -> str:
    """A task by its number and name; empty if there is none."""
    if number is None:
        return ""
    return f"task {number}" + (f" ({name})" if name else "")


def offered(target: Target) -> list[str]:
    """The numbers and names of the tasks that live, for completion."""
    kernel = target.kernel
    tasks = read_tasks(kernel) if kernel is not None else None
    living = [task for task in tasks.tasks if task.is_alive] if tasks is not None else []
    names = [task.name for task in living]
    return [*(str(task.id) for task in living), *(name for name in names if names.count(name) == 1)]
