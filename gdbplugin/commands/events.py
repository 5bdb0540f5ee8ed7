"""`tinyos events`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form, Option
from gdbplugin.commands.lazy import offered_asids
from gdbplugin.commands.selection import offered_cores
from gdbplugin.commands.stacks import offered_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.events import EventList
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style


def read(
    target: Target,
    n: int | None = None,
    *,
    kind: str | None = None,
    stack: int | None = None,
    asid: int | None = None,
    core: int | None = None,
    since_stop: bool = False,
) -> EventList:
    """The newest `n` events (32) that pass the filters, oldest first."""
    from gdbplugin.kernel.events import read_event_list

    return read_event_list(
        target.required_kernel(), n, kind=kind, stack=stack, asid=asid, core=core, since_stop=since_stop
    )


def show(shown: EventList, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import events

    return events.text(shown, style)


def content(shown: EventList) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import events

    return events.content(shown)


def offered_kinds(target: Target) -> list[str]:
    """The kinds of events that this kernel records."""
    from gdbplugin.kernel import events

    return events.offered_kinds(target)


ARGUMENTS = (Argument("N", "how many events", "number"),)
OPTIONS = (
    Option("--kind", "only events of this kind", "text", complete=offered_kinds),
    Option("--stack", "only events about the stack of this id", "number", "ID", complete=offered_ids),
    Option(
        "--asid",
        "only events of the address space with this ASID",
        "number",
        "N",
        complete=offered_asids,
    ),
    Option("--core", "only events that this core recorded", "number", "N", complete=offered_cores),
    Option("--since-stop", "only events since the last look at an earlier stop"),
)
HELP = """Show what the memory management did last, the newest event at the end.

Without N the newest 32 that pass the filters. --since-stop leaves out what was there already when a
command last looked at the events or counters, at an earlier stop.
"""
COMMAND = Command(
    "events",
    Form("tinyos.events/1", read, show, content),
    help=HELP,
    letter="e",
    arguments=ARGUMENTS,
    options=OPTIONS,
)
