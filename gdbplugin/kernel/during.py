"""What changed while a command of the debugger was carried out, for `tinyos during`."""

from __future__ import annotations

from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.diff_maps import MapChange
from gdbplugin.kernel.diff_rows import Difference
from gdbplugin.kernel.events import EventList
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class During(Diagnosed):
    """A command of the debugger, and what changed during it."""

    json_fields = ("command", "output", "error", "difference", "events", "mappings")

    command: str
    """The command."""
    output: str
    """What it printed; empty where it was printed at once."""
    error: str | None
    """Why it failed; null if it did not."""
    difference: Difference | None
    """What changed in TinyOS's objects and mappings; null for another kernel."""
    events: EventList | None
    """All events during the command that the event ring still has; null for another kernel."""
    mappings: tuple[MapChange, ...] | None
    """The ranges of addresses whose mapping changed, for another kernel than TinyOS; null for TinyOS."""
    limit: int | None = None
