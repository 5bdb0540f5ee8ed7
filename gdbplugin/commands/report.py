"""`tinyos report`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.report import Report
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style


def read(target: Target) -> Report:
    """Everything the other TinyOS commands show, at one stop."""
    from gdbplugin.kernel.report import read_report

    return read_report(target.required_kernel())


def show(shown: Report, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import report

    return report.text(shown, style)


def content(shown: Report) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import report

    return report.content(shown)


HELP = """Show all of TinyOS's dynamic memory management on one page.

Counters, every dynamic stack, lazy pages by state and range, memory pressure and its strategies,
address spaces, and each core's exception level and translation tables.
Works wherever the CPU was stopped; reads only.
"""
COMMAND = Command(
    "report",
    Form("tinyos.report/1", read, show, content),
    help=HELP,
    letter="r",
)
