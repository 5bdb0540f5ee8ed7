"""`tinyos backtrace`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import CORE, Argument, Command, Form, Option
from gdbplugin.commands.tasks import offered_tasks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.backtrace import Backtrace, Backtraces, Frame
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style

# GDB/MI takes the option --all for itself.
_EVERY = "all"


def read(
    target: Target,
    task: str | int | None = None,
    all: bool = False,  # noqa: A002 (the option's word)
    core: int | None = None,
) -> Backtraces:
    """The backtrace of a task, by number or name; of a core; or of all. Of the selected core by default."""
    from gdbplugin.kernel.backtrace import read_backtraces

    if task == _EVERY:
        task, all = None, True  # noqa: A001 (the option's word)
    return read_backtraces(target, task, every=all, core=core)


def show(shown: Backtraces, style: Style) -> str:
    """The frames, innermost first."""
    return style.sections([section(one, style) for one in shown.backtraces], shown)


def section(backtrace: Backtrace, style: Style) -> str:
    """One backtrace with its title."""
    lines = [style.title(title_of(backtrace))]
    for frame in backtrace.frames:
        if frame.is_interrupted:
            lines.append("      <interrupted by an exception>")
        lines += _frame(frame, style)
    if backtrace.broken is not None:
        lines += style.wrapped(f"  (no more frames: {backtrace.broken})")
    return "\n".join(lines)


def title_of(backtrace: Backtrace) -> str:
    """Whose frames they are."""
    core = "" if backtrace.core is None else f"core {backtrace.core}"
    if backtrace.task is None:
        return core.capitalize()
    name = f"Task {backtrace.task} ({backtrace.name})"
    return f"{name}, on {core}" if core else f"{name}, {str(backtrace.state).lower()}"


def _frame(frame: Frame, style: Style) -> list[str]:
    function = frame.function or "??"
    if frame.offset:
        function += f" + {frame.offset}"
    where = style.source(frame.file, frame.line)
    # An inlined function has no address of its own.
    text = (
        f"{function} (inlined){where}" if frame.is_inlined else f"{style.address(frame.pc)} {function}{where}"
    )
    return style.entry(f"#{frame.number}", text, 4)


TASK = Argument("TASK", "the number or name of a task, or `all`", "text", complete=offered_tasks)
OPTIONS = (
    Option("--all", "every task, and every core that runs none; in GDB/MI give `all` as TASK", "flag"),
    CORE,
)
HELP = """Show the frames of a task or of a core, innermost first.

Through exceptions: from the kernel's frames to the task's own, read by the task's own translation tables, so
also of a task that does not run. By default of what the selected core executes. A frame has its PC (the
return address, if it called), function, offset, file and line; an inlined function is shown as a frame of its
own. Where call frame information and frame records end too early, the last line says where and why.
"""
COMMAND = Command(
    "backtrace",
    Form("tinyos.backtrace/1", read, show, rows=lambda found: found.backtraces),
    help=HELP,
    arguments=(TASK,),
    options=OPTIONS,
)
