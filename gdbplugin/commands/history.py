"""`tinyos history`, and what it shares with `tinyos writer`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form, Option
from gdbplugin.commands.lazy import offered_asids
from gdbplugin.commands.stacks import offered_ids
from gdbplugin.commands.tasks import offered_tasks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.target import Target
    from gdbplugin.recording.history import Change, ChangeHistory
    from gdbplugin.render import Style


def read(
    target: Target,
    address: Address | None = None,
    *,
    page: int | None = None,
    asid: int | None = None,
    stack: int | None = None,
    physical: int | None = None,
    task: str | int | None = None,
    n: int | None = None,
) -> ChangeHistory:
    """The newest `n` changes (64) of the word at an address, a page, a stack, a frame, or a task."""
    from gdbplugin.recording.history import read_history

    where = None if address is None else target.address(address)
    return read_history(
        target, n, address=where, page=page, asid=asid, stack=stack, frame=physical, task=task
    )


def show(shown: ChangeHistory, style: Style) -> str:
    """The changes, the newest last."""
    if not shown.matching:
        title = f"History of {shown.subject}: the recording has no change of it"
        return style.sections([style.title(title)], shown)
    part = f"newest {len(shown.changes):,} of " if len(shown.changes) < shown.matching else ""
    count = style.counted(shown.matching, "change")
    title = style.title(f"History of {shown.subject} ({part}{count})")
    return style.sections(["\n".join([title, *change_lines(shown.changes, shown, style)])], shown)


def change_lines(changes: Sequence[Change], shown: ChangeHistory, style: Style) -> list[str]:
    """Each change: when, by whom and where in one line, what in the next."""
    lines = []
    for one in changes:
        task = "" if one.task is None else f", task {style.owner(one.task, shown.tasks)}"
        function = one.function or f"{one.pc:#x}"
        place = f"{function}{style.source(one.file, one.line)}"
        lines += style.wrapped(f"  {one.instructions:,} core {one.core}{task}: {place}", "      ")
        lines += style.wrapped(f"      {described(one, shown)}", "        ")
    return lines


def described(change: Change, shown: ChangeHistory) -> str:
    """What a change was, in words."""
    if change.event is not None:
        from gdbplugin.commands.events import meaning

        return f"event {change.event.sequence}, {change.event.kind}: {meaning(change.event, shown.names)}"
    if change.before is None:
        return change.what
    return f"{change.what}: {change.before} -> {change.after}"


ADDRESS = Argument("ADDRESS", "a virtual address, or a GDB expression that gives one", "address")
SUBJECTS = (
    Option(
        "--page", "the page at a virtual address: its descriptors and its lazy page's record", "number", "VA"
    ),
    Option(
        "--asid", "of the page in the address space with this ASID", "number", "N", complete=offered_asids
    ),
    Option(
        "--stack", "the stack with this ID: its record and descriptors", "number", "ID", complete=offered_ids
    ),
    Option("--physical", "the frame at a physical address: its record and what maps it", "number", "PA"),
    Option("--task", "a task, by number or name", "text", "ID", complete=offered_tasks),
)
N = Option("--n", "how many changes", "number", "N")
OPTIONS = (*SUBJECTS, N)
HELP = """Show what happened to an object: who wrote it, from where, and what changed, the newest last.

The session must record, which `scripts/run --record` begins. What is recorded are the translation tables of
every address space, also of those that have ended, and the records of the memory manager and the scheduler.
Each change has the number of instructions that the core had executed. Between the changes come the kernel's
events about the object, and the TLB invalidations of its addresses. Give one of ADDRESS, --page, --stack,
--physical and --task.
"""
COMMAND = Command(
    "history",
    Form(
        "tinyos.history/1",
        read,
        show,
        rows=lambda found: found.changes,
        count=lambda found: found.matching,
        last=N,
    ),
    help=HELP,
    arguments=(ADDRESS,),
    options=OPTIONS,
)
