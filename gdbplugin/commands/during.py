"""`tinyos during`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form
from gdbplugin.commands.diff import KIND, LIMIT
from gdbplugin.records import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.kernel.diff_maps import MapChange
    from gdbplugin.kernel.during import During
    from gdbplugin.kernel.events import EventList
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style

_SHOWN = 60


def read(target: Target, command: str, *, kind: Sequence[str] = (), limit: int | None = None) -> During:
    """Carry out a command of GDB. Returns what changed during it, and the events."""
    from gdbplugin.moments import read_during

    return read_during(target, command, kind, limit)


def show(shown: During, style: Style) -> str:
    """The command's error, if it failed, what changed, and the events."""
    from gdbplugin.commands import diff

    parts = []
    if shown.output:
        parts.append(shown.output.rstrip("\n"))
    if shown.error is not None:
        parts.append("\n".join(style.wrapped(style.bad(f"`{shown.command}` failed: {shown.error}"))))
    if shown.difference is not None:
        parts += diff.parts(shown.difference, style)
    if shown.events is not None:
        parts.append(_events(shown, shown.events, style))
    if shown.mappings is not None:
        parts.append(_mappings(shown, shown.mappings, style))
    return style.sections(parts, shown)


def _events(shown: During, events: EventList, style: Style) -> str:
    """The events during the command, the newest last."""
    from gdbplugin.commands.events import event_table

    count = len(events)
    if not count:
        return ""
    newest = replace(events, events=events.events[-(shown.limit or _SHOWN) :])
    which = f"{count:,}" if len(newest) == count else f"the newest {len(newest):,} of {count:,}"
    return f"{style.title(f'Events during it ({which})')}\n{event_table(newest, style)}"


def _mappings(shown: During, changes: Sequence[MapChange], style: Style) -> str:
    """The ranges of addresses whose mapping changed."""
    limit = shown.limit or _SHOWN
    title = style.title(f"Mappings that changed during `{shown.command}` ({len(changes):,})")
    if not changes:
        return f"{title}\n  Nothing changed."
    rows = [_row(change, style) for change in changes[:limit]]
    lines = [title, style.table(("start", "size", "before", "after"), rows, ("start", "size"))]
    if len(changes) > limit:
        lines.append(f"  and {len(changes) - limit:,} more: --limit N shows N")
    return "\n".join(lines)


def _row(change: MapChange, style: Style) -> tuple[str, ...]:
    size = style.short_size(change.end - change.start)
    return style.address(change.start), size, change.before or "not mapped", change.after or "not mapped"


HELP = """Carry out a command of GDB, and show what changed during it, with the events.

COMMAND is any command of GDB, with its words: `tinyos during next`, `tinyos during finish`, `tinyos during
continue`. After it come the objects of TinyOS and the mappings that changed, each beside the events that
explain it, as `tinyos diff` shows them, and then all events. For another kernel they are the mapped ranges
that changed. Ctrl-C stops a target that runs, and the changes are shown. Options stand before COMMAND.
"""
COMMAND = Command(
    "during",
    Form("tinyos.during/1", read, show, runs_target=True),
    help=HELP,
    arguments=(Argument("COMMAND", "the command of GDB", "command", required=True),),
    options=(KIND, LIMIT),
)
