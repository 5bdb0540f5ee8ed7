"""`tinyos tasks`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.interface import Clock
    from gdbplugin.kernel.target import Target
    from gdbplugin.kernel.task_list import TaskEntry, TaskList
    from gdbplugin.kernel.tasks import Context
    from gdbplugin.render import Style


def read(target: Target, task: str | int | None = None) -> TaskList:
    """Every task; or one, by number or name, with its saved registers and its backtrace."""
    from gdbplugin.kernel.task_list import read_task_list

    return read_task_list(target, task)


def show(shown: TaskList, style: Style) -> str:
    """A table of the tasks; of one task everything."""
    if shown.chosen is None:
        return style.sections([section(shown, style)], shown)
    from gdbplugin.commands import backtrace

    parts = [_details(shown.chosen, shown.clock, style)]
    if shown.registers is not None and shown.chosen.core is None:
        parts.append(_registers(shown.registers, style))
    parts.append(backtrace.section(shown.chosen.backtrace, style))
    return style.sections(parts, shown)


def section(shown: TaskList, style: Style) -> str:
    """The tasks that live as a table; the others counted."""
    living = [entry for entry in shown.tasks if entry.task.is_alive]
    held = ", held" if shown.is_held else ""
    ended = len(shown.tasks) - len(living)
    title = style.title(f"Tasks ({len(living)} alive{held}, {ended} ended on record)")
    headers = ("id", "name", "state", "ASID", "core", "stack", "switches", "ran", "at")
    rows = [_row(entry, shown.clock, style) for entry in living]
    right = ("id", "ASID", "core", "stack", "switches", "ran")
    return title + "\n" + style.table(headers, rows, right, dispensable=("switches", "ASID", "stack", "core"))


def _row(entry: TaskEntry, clock: Clock, style: Style) -> tuple[str, ...]:
    task = entry.task
    core = "" if entry.core is None else str(entry.core)
    return (
        style.text(task.id),
        task.name,
        state_of(entry, clock, style),
        "" if entry.asid is None else str(entry.asid),
        core,
        _stack(entry, style),
        style.count(task.switch_count),
        style.duration(clock.seconds(entry.ran)),
        place_of(entry, style),
    )


def state_of(entry: TaskEntry, clock: Clock, style: Style) -> str:
    """What it does or waits for, in a few words."""
    from gdbplugin.kernel.task_list import state_in_words

    said = state_in_words(entry.task, is_running=entry.core is not None) or style.missing
    if entry.waits_for != "time" or clock.now is None or entry.task.wake_time is None:
        return said
    return f"{said} {style.duration(clock.seconds(max(entry.task.wake_time - clock.now, 0)))}"


def _stack(entry: TaskEntry, style: Style) -> str:
    if entry.stack_size is None:
        return ""
    return f"{style.short_size(entry.stack_size)}/{style.short_size(entry.stack_max_size)}".replace(" ", "")


def place_of(entry: TaskEntry, style: Style) -> str:
    """The innermost function, without its modules, and the line."""
    if entry.function is None:
        return style.address(entry.pc)
    name = entry.function.rpartition("::")[2]
    offset = f" + {entry.offset}" if entry.offset else ""
    where = style.source(entry.file, entry.line)
    return f"{name}{offset}{where}"


def _details(entry: TaskEntry, clock: Clock, style: Style) -> str:
    task = entry.task
    lines = [
        ("state", state_of(entry, clock, style)),
        *([("end", style.text(task.end_reason))] if not task.is_alive else []),
        ("ASID", style.text(entry.asid)),
        (
            "stack",
            f"{style.text(task.stack)}, {_stack(entry, style)}" if entry.stack_size is not None else "none",
        ),
        ("started", f"{style.duration(clock.ago(task.start_time))} ago"),
        ("ran", style.duration(clock.seconds(entry.ran))),
        ("switches", style.count(task.switch_count)),
    ]
    body = [line for name, value in lines for line in style.entry(name, value, 10)]
    return "\n".join([style.title(f"Task {style.text(task.id)} ({task.name})"), *body])


def _registers(context: Context, style: Style) -> str:
    """The saved registers, three in a line."""
    named = [(f"x{number}", value) for number, value in enumerate(context.x or ())]
    named += [("sp", context.sp), ("pc", context.pc), ("pstate", context.pstate)]  # type: ignore[list-item]
    cells = [f"{name:<6} {style.address(value):<18}" for name, value in named]
    columns = max(1, (style.width - 2) // 27)
    lines = [
        "  " + "  ".join(cells[place : place + columns]).rstrip() for place in range(0, len(cells), columns)
    ]
    return "\n".join([style.title("Registers (as the kernel saved them)"), *lines])


def offered_tasks(target: Target) -> list[str]:
    """The numbers and names of the tasks that live."""
    from gdbplugin.kernel import tasks

    return tasks.offered(target)


TASK = Argument("TASK", "the number or name of a task", "text", complete=offered_tasks)
HELP = """Show every task, or all about one.

The columns: its state (how long it still sleeps, or what it waits for); the ASID of its address space; the
core that runs it; its stack, mapped and largest; how often it was switched to; how long it has run; and where
it continues, with the source line if that is known.
With TASK: its registers as the kernel saved them, and its backtrace.
"""
COMMAND = Command(
    "tasks",
    Form("tinyos.tasks/1", read, show, rows=lambda found: found.tasks),
    help=HELP,
    arguments=(TASK,),
)
