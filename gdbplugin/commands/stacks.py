"""`tinyos stacks`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.stack_list import StackList
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style


def read(target: Target, id: int | None = None) -> StackList:  # noqa: A002 (the command's word)
    """Every dynamic stack, those of ended tasks too; or one, with its events and mapped pages."""
    from gdbplugin.kernel.stack_list import read_stack_list

    return read_stack_list(target.required_kernel(), id)


def show(shown: StackList, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import stacks

    return stacks.text(shown, style)


def content(shown: StackList) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import stacks

    return stacks.content(shown)


def offered_ids(target: Target) -> list[int]:
    """The IDs of the active stacks."""
    from gdbplugin.kernel import stack_list

    return stack_list.offered_ids(target)


ARGUMENTS = (Argument("ID", "the stack to tell all about", "number", complete=offered_ids),)
HELP = """Show every dynamic stack, or all about one.

Its task and policy; the range that is mapped, up to its base; how much that is, of the most it may have;
its stack pointer, as last noted by the kernel, or with a * as the core has it that runs its task; the
most that ever was mapped; growths and shrinks (+/-); and how long ago it was last seen in use. Of the
base and the stack pointer only the last digits are given where the others are the range's.
With an ID: its addresses, its events, and the pages that the hardware's tables map there.
"""
COMMAND = Command(
    "stacks",
    Form("tinyos.stacks/1", read, show, content),
    help=HELP,
    letter="d",
    arguments=ARGUMENTS,
)
