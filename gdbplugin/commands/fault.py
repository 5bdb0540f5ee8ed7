"""`tinyos fault`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form
from gdbplugin.commands.selection import CORE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.fault import Fault
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style


def read(target: Target, *, core: int | None = None) -> Fault:
    """The last exceptions of a core, explained; what stopped the kernel, and which tasks ended by one."""
    from gdbplugin.kernel.fault import read_fault

    return read_fault(target, target.symbols, target.disassemble, core=core)


def show(shown: Fault, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import fault

    return fault.text(shown, style)


def content(shown: Fault) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import fault

    return fault.content(shown)


HELP = """Explain the last exception of a core.

Its class, status and address, the instruction and what it does, what lies at the address, and which
exception level took it. Where the syndrome, the instruction, its registers and the tables as they are
now contradict each other, that is said. ESR_ELx keeps an exception after it is over: what is known of
that is said too. On TinyOS also what stopped the kernel, if something did, and the tasks that exceptions
ended. Works on any AArch64 kernel.
"""
COMMAND = Command(
    "fault",
    Form("tinyos.fault/1", read, show, content),
    help=HELP,
    options=(CORE,),
)
