"""`tinyos events`."""

from gdbplugin.debugger.command import Argument, Command, Option


class Events(Command):
    """Show what the memory management did last, the newest event at the end.

    Without N the newest 32 that pass the filters. --since-stop leaves out what was there already when a
    command last looked at the events or counters, at an earlier stop.
    """

    word = "events"
    letter = "e"
    reader = "gdbplugin.kernel.events:read_event_list"
    view = "gdbplugin.render.events"
    schema = "tinyos.events/1"
    arguments = (Argument("N", "how many events", "number"),)
    options = (
        Option(
            "--kind",
            "only events of this kind",
            "text",
            complete="gdbplugin.kernel.events:offered_kinds",
        ),
        Option(
            "--stack",
            "only events about the stack of this id",
            "number",
            "ID",
            complete="gdbplugin.kernel.stack_list:offered_ids",
        ),
        Option(
            "--asid",
            "only events of the address space with this ASID",
            "number",
            "N",
            complete="gdbplugin.kernel.lazy_list:offered_asids",
        ),
        Option(
            "--core",
            "only events that this core recorded",
            "number",
            "N",
            complete="gdbplugin.kernel.selection:cores",
        ),
        Option("--since-stop", "only events since the last look at an earlier stop"),
    )
