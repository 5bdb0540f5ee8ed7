"""What each task does: its state, its stack, and where in its program it is."""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.kernel.backtrace import Backtrace, BacktraceReader, Frame
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.interface import Clock, Timed, read_clock
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.stacks import DynamicStack, read_stacks
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import Context, Task
from gdbplugin.machine import SelectionError
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Wait = Literal["time", "input", "go", "turn"]

_NEVER = (1 << 64) - 1
_WAITING = {"time": "sleeping", "input": "waits for input", "go": "stopped", "turn": "ready"}


@dataclass(frozen=True)
class TaskEntry:
    """A task, and where it is."""

    json_fields = (
        *("task", "asid", "core", "waits_for", "ran", "stack_size", "stack_max_size"),
        *("pc", "function", "offset", "file", "line"),
    )
    json_merged = ("task",)

    task: Task
    asid: int | None
    """The ASID of its address space; null if it has none of the current generation."""
    core: int | None
    """The core that runs it; null if none does."""
    waits_for: Wait | None
    """What it waits for: a time, input on the console, the shell's command `go`, or its turn; null if it runs
    or has ended."""
    ran: int | None
    """How long it has run, as counts of the timer; null in a kernel that does not say."""
    stack_size: int | None
    """Bytes of its stack that are mapped; null if it has no dynamic stack."""
    stack_max_size: int | None
    """Bytes that its stack may grow to."""
    backtrace: Backtrace

    @property
    def innermost(self) -> Frame | None:
        """The frame that it continues in; None if that is not known."""
        return self.backtrace.frames[0] if self.backtrace.frames else None

    @property
    def pc(self) -> int | None:
        """Where it continues; null if that is not known."""
        return None if self.innermost is None else self.innermost.pc

    @property
    def function(self) -> str | None:
        """The function there; null if it is not known."""
        return None if self.innermost is None else self.innermost.function

    @property
    def offset(self) -> int | None:
        """Bytes from the function's first instruction; null for an inlined function."""
        return None if self.innermost is None else self.innermost.offset

    @property
    def file(self) -> str | None:
        """The source file; null if it is not known."""
        return None if self.innermost is None else self.innermost.file

    @property
    def line(self) -> int | None:
        """The line in it; null if it is not known."""
        return None if self.innermost is None else self.innermost.line


@dataclass(frozen=True)
class TaskList(Diagnosed, Timed):
    """Every task, or one (`chosen`) with its saved registers and its backtrace."""

    json_fields = ("current", "is_held", "tasks", "registers", "backtrace", "time")

    current: int | None
    """The task whose registers are in the CPU; 0 is the shell."""
    is_held: bool | None
    """Whether the shell's command `hold` has stopped all tasks."""
    tasks: tuple[TaskEntry, ...]
    """The tasks ever used, in the order of their numbers."""
    clock: Clock
    registers: Context | None = None
    """With ID: its registers, as the kernel saved them at its last exception; null without ID."""
    chosen: TaskEntry | None = None

    @property
    def backtrace(self) -> Backtrace | None:
        """With ID: its backtrace; null without ID."""
        return None if self.chosen is None else self.chosen.backtrace

    def __iter__(self) -> Iterator[TaskEntry]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)


def read_task_list(target: Target, wanted: str | int | None = None) -> TaskList:
    """Every task, or the one with a number or name. Raises `SelectionError` if there is none."""
    kernel = target.required_kernel()
    kernel.note_change()
    # Only the innermost frame, unless one task is shown.
    reader = BacktraceReader(target) if wanted is not None else BacktraceReader(target, 1)
    if reader.tasks is None:
        raise SelectionError("this kernel has no tasks on record")
    chosen = None if wanted is None else reader.task(wanted)
    spaces = read_spaces(kernel)
    by_task = {space.number: asid for asid, space in spaces.by_asid.items()}
    # The slot of an ended task's stack may be another task's by now.
    stacks = {stack.id: stack for stack in read_stacks(kernel).active}
    clock = read_clock(kernel)
    entries = [
        _entry(
            task,
            reader.of_task(task),
            by_task.get(task.id or -1),
            reader.tasks.run_time(task, clock.now),
            stacks.get(task.stack),
        )
        for task in ([chosen] if chosen is not None else reader.tasks.tasks)
    ]
    reader.note_problems()
    return TaskList(
        reader.tasks.current,
        reader.tasks.is_held,
        tuple(entries),
        clock,
        None if chosen is None else reader.contexts.get(chosen.id or 0),
        None if chosen is None else entries[0],
        diagnostics=target.diagnostics,
    )


def _entry(
    task: Task, backtrace: Backtrace, asid: int | None, ran: int | None, stack: DynamicStack | None
) -> TaskEntry:
    size = most = None
    if stack is not None and task.is_alive:
        size, most = stack.current_size, stack.max_size
    wait = waits_for(task) if backtrace.core is None else None
    return TaskEntry(task, asid, backtrace.core, wait, ran, size, most, backtrace)


def waits_for(task: Task) -> Wait | None:
    """What a task waits for that does not run; None if it has ended."""
    if task.state == "Sleeping":
        return "input" if task.wake_time == _NEVER else "time"
    return {"Ready": "turn", "Stopped": "go"}.get(task.state or "")  # type: ignore[return-value]


def state_in_words(task: Task, *, is_running: bool) -> str:
    """What a task does or waits for, in a few words; empty if its state is not known."""
    return "running" if is_running else _WAITING.get(waits_for(task) or "", (task.state or "").lower())
