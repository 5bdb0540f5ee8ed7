"""`tinyos threads`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.dump.task_cores import TaskThreads
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(target: Target, state: str | None = None) -> TaskThreads:
    """Show each task as a thread from now on (`on`), or no longer (`off`). Returns what is shown."""
    found: TaskThreads = target.show_task_threads(None if state is None else state == "on")
    return found


def show(shown: TaskThreads, style: Style) -> str:
    """The inferior of each task."""
    if not shown.is_on:
        return style.sections(["Tasks are not shown as threads: `tinyos threads on` does so"], shown)
    rows = [[str(one.inferior), f"{one.task} {one.name}"] for one in shown.threads]
    table = style.table(["inferior", "task"], rows, right=("inferior",))
    first = "Tasks are shown as threads, at each stop: `info threads` lists them"
    return style.sections([first, table], shown)


HELP = """Show every task as a thread of GDB: in `info threads`, and in the call stacks of other front ends.

Each task becomes an inferior with one thread, its own pages and the kernel's image, made anew from memory at
each stop. So `thread 3.1`, `bt full`, `frame 2`, `info locals` and `list` work for tasks that do not run. The
live target stays as it is: `inferior 1` goes back to it, and only it can be resumed. While the target runs,
the tasks are shown as they were at the last stop.
"""
COMMAND = Command(
    "threads",
    Form("tinyos.threads/1", read, show, runs_target=True, rows=lambda found: found.threads),
    help=HELP,
    arguments=(Argument("STATE", "whether tasks are shown", "text", choices=("on", "off")),),
)
