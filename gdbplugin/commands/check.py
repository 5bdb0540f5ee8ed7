"""`tinyos check`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import STRICT, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.check_outcome import Check
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style


def read(target: Target) -> Check:
    """The kernel's records and its own half held against the tables; `findings` has what is wrong."""
    from gdbplugin.kernel.check import read_check

    return read_check(target.required_kernel(), target.symbols)


def show(shown: Check, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import check

    return check.text(shown, style)


def content(shown: Check) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import check

    return check.content(shown)


HELP = """Hold TinyOS's records against the hardware's translation tables.

Walks every address space and compares it with the stacks, lazy pages and frames that the kernel has
on record, and the kernel's own half with what it maps at boot. Each finding names the object, what was
expected and what is there; the last line counts them. With --strict it then fails if there are any, which
ends a script and makes `scripts/run --batch` exit with status 1.
"""
COMMAND = Command(
    "check",
    Form("tinyos.check/1", read, show, content),
    help=HELP,
    options=(STRICT,),
)
