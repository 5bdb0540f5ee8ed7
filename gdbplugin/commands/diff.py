"""`tinyos diff`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import STRICT, Argument, Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from gdbplugin.kernel.diff_rows import Difference, Row, When
    from gdbplugin.kernel.moment import Moment
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style

_SHOWN = 60
_RANGES_SHOWN = 4
_PAGE_KINDS = ("lazy", "mappings")
_NEVER = (1 << 64) - 1


def read(
    target: Target,
    a: str | os.PathLike[str] | Moment | None = None,
    b: str | os.PathLike[str] | Moment | None = None,
    *,
    kind: Sequence[str] = (),
    limit: int | None = None,
) -> Difference:
    """What changed from moment `a` to moment `b`, by default from the last stop that was kept to now."""
    from gdbplugin.moments import read_difference

    return read_difference(target, a, b, kind, limit)


def show(found: Difference, style: Style) -> str:
    """The changes of states, then of pages, then of counters, and the number of findings last."""
    return style.sections(parts(found, style), found) + f"{style.counted(found.finding_count, 'finding')}\n"


def parts(found: Difference, style: Style) -> list[str]:
    """A title, and the tables of the changes."""
    states, pages, counters = grouped(found)
    return [
        _title(found, style),
        _objects("Objects", states, found, style),
        _pages(pages, found, style),
        _objects("Counters and times", counters, found, style),
    ]


def grouped(found: Difference) -> tuple[list[Row], list[Row], list[Row]]:
    """The rows of objects, those of pages, and those of counters and times."""
    states = [row for row in found.rows if row.is_state and row.kind not in _PAGE_KINDS]
    pages = [row for row in found.rows if row.is_state and row.kind in _PAGE_KINDS]
    counters = [row for row in found.rows if not row.is_state]
    counters.sort(key=lambda row: row.kind in _PAGE_KINDS)
    return states, pages, counters


def between(found: Difference, style: Style) -> str:
    """How far apart the moments are, by time and events."""
    events = style.counted(found.event_count, "event")
    if found.seconds is None:
        return events
    sign = "-" if found.seconds < 0 else ""
    return f"{sign}{style.duration(abs(found.seconds))} by the kernel's timer, {events}"


def _title(found: Difference, style: Style) -> str:
    moments = f"from {found.before.label} to {found.after.label}"
    title = style.title(f"Difference {moments} ({between(found, style)})")
    return title if found.rows else f"{title}\n  Nothing changed."


def _objects(title: str, rows: Sequence[Row], found: Difference, style: Style) -> str:
    """A row for each changed field of an object; pages are named by their first address and their size."""
    table = [object_cells(row, found, style) for row in limited(rows, found.limit)]
    return _table(f"{title} ({style.counted(len(rows), 'change')})", OBJECT_HEADERS, table, len(rows), style)


OBJECT_HEADERS = ("object", "field", "before", "after", "events")


def object_cells(row: Row, found: Difference, style: Style) -> tuple[str, ...]:
    """The cells of a changed field below `OBJECT_HEADERS`."""
    return (
        _name(row, style),
        row.field,
        _value(row.before, row.field, found.before, style),
        _value(row.after, row.field, found.after, style),
        _events(row, found, style),
    )


def _name(row: Row, style: Style) -> str:
    if row.start is None:
        return row.object
    return f"{_owner(row)} {row.start:#x}, {style.short_size(row.size)}"


def _owner(row: Row) -> str:
    """Whose pages they are."""
    return row.object.removeprefix("lazy pages of ")


def _pages(rows: Sequence[Row], found: Difference, style: Style) -> str:
    """A row for adjacent pages that changed in the same way."""
    table = [page_cells(row, found, style) for row in limited(rows, found.limit)]
    return _table(f"Pages ({style.counted(len(rows), 'change')})", PAGE_HEADERS, table, len(rows), style)


PAGE_HEADERS = ("pages of", "start", "size", "field", "before", "after", "events")


def page_cells(row: Row, found: Difference, style: Style) -> tuple[str, ...]:
    """The cells of changed pages below `PAGE_HEADERS`."""
    return (
        _owner(row),
        style.address(row.start),
        style.short_size(row.size),
        row.field,
        _page_value(row.before, row.frames_before, row, found.before, style),
        _page_value(row.after, row.frames_after, row, found.after, style),
        _events(row, found, style),
    )


def limited(rows: Sequence[Row], limit: int | None) -> Sequence[Row]:
    """The rows that are shown: those without an explanation first."""
    return sorted(rows, key=lambda row: row.explained is not False)[: _SHOWN if limit is None else limit]


def _table(
    title: str, headers: Sequence[str], table: Sequence[Sequence[str]], count: int, style: Style
) -> str:
    if not count:
        return ""
    lines = [style.title(title)]
    if table:
        lines.append(style.table(headers, table, ("start", "size"), dispensable=("size",)))
    if count > len(table):
        lines.append(f"  and {count - len(table):,} more: --limit N shows N")
    return "\n".join(lines)


def _value(value: int | str | bool | None, field: str, when: When, style: Style) -> str:
    """A value in its field's unit; a time as how long before its moment it was."""
    from gdbplugin.render import unit_of

    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int):
        return style.text(value)
    if field == "run_time":
        return style.duration(when.time.seconds(value))
    unit = unit_of(field)
    if unit == "address" and "." not in field:
        return style.address(value)
    if unit == "bytes":
        return style.size(value)
    if field.endswith("_time"):
        return _time(value, field == "wake_time", when, style)
    return style.count(value)


def _time(value: int, may_come: bool, when: When, style: Style) -> str:
    """A count of the timer: how long before its moment it was, or how long after it if it may come."""
    now = when.time.now
    if not value or now is None:
        return style.count(value)
    if may_come and value > now:
        return "never" if value >= _NEVER else f"in {style.duration(when.time.seconds(value - now))}"
    return f"{style.duration(when.time.ago(value))} ago"


def _page_value(
    value: int | str | bool | None, frames: tuple[int, ...] | None, row: Row, when: When, style: Style
) -> str:
    """What pages were or are, with their frame, or the number of their frames."""
    said = _value(value, row.field, when, style)
    if frames is None:
        return said
    return f"{said}, {frames[0]:#x}" if len(frames) == 1 else f"{said}, {len(frames):,} frames"


def _events(row: Row, found: Difference, style: Style) -> str:
    """The events that explain a change, by kind: `StackGrowth 41, 43-45`."""
    if row.explained is False:
        return style.bad("not explained")
    kinds: dict[str, list[int]] = {}
    for number in row.events:
        kinds.setdefault(found.kind_of(number), []).append(number)
    return "; ".join(f"{kind} {_ranges(numbers)}" for kind, numbers in kinds.items())


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, those that follow each other as a range: `41, 43-45`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges]
    more = len(texts) - _RANGES_SHOWN
    return ", ".join(texts[:_RANGES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def offered_moments(target: Target) -> list[str]:
    """The words for moments that are known now; any other word is a file."""
    kernel = target.kernel
    kept = kernel.history.earlier_moments if kernel is not None else []
    return ["now", *(f"$tinyos_stop({-number})" for number in range(1, len(kept) + 1))]


ARGUMENTS = (
    Argument(
        "A",
        "the first moment: now, $tinyos_stop(-1), or the file of a dump",
        "file",
        complete=offered_moments,
    ),
    Argument("B", "the second moment; without it, now", "file", complete=offered_moments),
)
KIND = Option(
    "--kind",
    "only this kind; repeatable",
    "text",
    choices=("stacks", "lazy", "mappings", "pressure", "spaces", "tasks", "frames", "counters"),
    repeated=True,
)
LIMIT = Option("--limit", "the most rows of each table", "number", "N")
OPTIONS = (KIND, LIMIT, STRICT)
HELP = """Show what changed between two moments, each change beside the events that explain it.

A moment is `now`; `$tinyos_stop(-1)`, the last stop before this one that was kept; or the file of a dump of
this kernel. `set tinyos keep-stops N` keeps the last N stops; this command keeps the stop where it is used.
Without A and B: from the last stop that was kept to now. Adjacent pages that changed in the same way are one
row. A change of an object's state or of a mapping that no event explains is a finding, as long as the event
ring has all events in between. Counters and times need no event.
"""
COMMAND = Command(
    "diff",
    Form(
        "tinyos.diff/1",
        read,
        show,
        rows=lambda found: found.rows,
        count=lambda found: found.row_count,
        first=LIMIT,
    ),
    help=HELP,
    arguments=ARGUMENTS,
    options=OPTIONS,
)
