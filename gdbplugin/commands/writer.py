"""`tinyos writer`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form
from gdbplugin.commands.history import ADDRESS, SUBJECTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.target import Target
    from gdbplugin.recording.writer import Writer
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
) -> Writer:
    """The last write to the word at an address, a page, a stack, a frame, or a task."""
    from gdbplugin.recording.writer import read_writer

    where = None if address is None else target.address(address)
    return read_writer(target, address=where, page=page, asid=asid, stack=stack, frame=physical, task=task)


def show(shown: Writer, style: Style) -> str:
    """The write and its backtrace."""
    from gdbplugin.commands import history

    title = style.title(f"Last write to {shown.history.subject}")
    lines = [title, *history.change_lines(shown.history.changes, shown.history, style)]
    for frame in shown.backtrace:
        function = frame.function or "??"
        offset = f" + {frame.offset}" if frame.offset else ""
        text = f"{style.address(frame.pc)} {function}{offset}{style.source(frame.file, frame.line)}"
        lines += style.entry(f"#{frame.number}", text, 4)
    return style.sections(["\n".join(lines)], shown)


HELP = """Show the last write to the word at an address, with the functions that led to it.

Or to the descriptors and records of a page, a stack, a frame or a task, as `tinyos history` shows them. The
session must record, which `scripts/run --record` begins. The functions are from the link register and the
frame records of that moment. They are not known for every word that is no descriptor: not if the core wrote
to others in the 256 instructions before, in other functions.
"""
COMMAND = Command(
    "writer",
    Form("tinyos.writer/1", read, show, rows=lambda found: found.backtrace),
    help=HELP,
    arguments=(ADDRESS,),
    options=SUBJECTS,
)
