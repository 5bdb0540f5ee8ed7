"""What changed between two moments of a kernel, and which events explain it.

A change of an object's state that no event explains is a finding: the extent of a stack, the state of a lazy
page, the level of pressure, a mapping, a task's life. Counters and times need no event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.diff_objects import (
    Rows,
    counter_rows,
    frame_rows,
    pressure_rows,
    space_rows,
    stack_rows,
    task_rows,
)
from gdbplugin.kernel.diff_pages import lazy_changes, mapping_changes
from gdbplugin.kernel.diff_rows import KINDS, Difference, Explanation, Row, When, in_words, joined
from gdbplugin.kernel.kernel import CHANGING, LOCKED
from gdbplugin.kernel.moment import Moment
from gdbplugin.kernel.replay import Replay
from gdbplugin.records import replace


def compare(before: Moment, after: Moment, kinds: Collection[str] = KINDS) -> Difference:
    """What changed from one moment to another, in the objects of these kinds.

    If the second was earlier, the changes are explained in the order in which they happened.
    """
    if _is_later(before, after):
        found = _compare(after, before, kinds)
        found.diagnostics.add_note(f"{after.label} is earlier than {before.label}: the changes run backwards")
        rows = tuple(_turned(row) for row in found.rows)
        seconds = None if found.seconds is None else -found.seconds
        return replace(
            found,
            before=found.after,
            after=found.before,
            rows=rows,
            seconds=seconds,
            diagnostics=found.diagnostics,
        )
    return _compare(before, after, kinds)


def _is_later(one: Moment, other: Moment) -> bool:
    """Whether a moment is later than another: by the number of events, then by the kernel's timer."""
    return (one.recorded, one.clock.now or 0) > (other.recorded, other.clock.now or 0)


def _turned(row: Row) -> Row:
    return replace(
        row,
        before=row.after,
        after=row.before,
        frames_before=row.frames_after,
        frames_after=row.frames_before,
    )


def _compare(before: Moment, after: Moment, kinds: Collection[str]) -> Difference:
    diagnostics = Diagnostics()
    for moment in (before, after):
        for finding in moment.findings:
            diagnostics.add_finding(finding.object, finding.expected, finding.found)
    events = [event for event in after.events.events if (event.sequence or 0) > before.recorded]
    count = max(0, after.recorded - before.recorded)
    lost = count - len(events)
    reason = _why_unexplained(before, after, lost, count)
    if reason:
        diagnostics.add_note(reason)
    replay = Replay(before, after, events)
    rows = [
        _judged(row, explanation, None if reason else diagnostics)
        for kind in KINDS
        if kind in kinds
        for row, explanation in _KINDS[kind](before, after, replay)
    ]
    _note(before, after, replay, diagnostics)
    used = {number for row in rows for number in row.events}
    return Difference(
        _when(before),
        _when(after),
        _seconds(before, after),
        count,
        max(0, lost),
        tuple(rows),
        tuple(event for event in events if event.sequence in used),
        after.names,
        diagnostics=diagnostics,
    )


def _why_unexplained(before: Moment, after: Moment, lost: int, count: int) -> str:
    """Why a change without an event is not a finding; empty if it is one."""
    if not (before.has_events and after.has_events):
        return "this kernel records no events: a change without an event is not a finding"
    if not _are_of_one_run(before, after):
        return "the two moments are of different runs of the kernel: events cannot explain the changes"
    if before.changing or after.changing:
        return "the kernel was stopped in the middle of a change: a change without an event is not a finding"
    if lost:
        return (
            f"the event ring has lost {lost:,} of the {count:,} events in between: a change without an event "
            "is not a finding"
        )
    return ""


def _are_of_one_run(before: Moment, after: Moment) -> bool:
    """Whether the events that both moments have are the same."""
    known = {event.sequence: event for event in after.events.events}
    return all(known.get(event.sequence, event) == event for event in before.events.events)


def _judged(row: Row, explanation: Explanation, diagnostics: Diagnostics | None) -> Row:
    """The row with what explains it; what is not explained becomes a finding, if there are `diagnostics`."""
    row = replace(row, events=explanation.events, needs_event=explanation.needed)
    if not explanation.needed or diagnostics is None:
        return row
    if explanation.expected is not None:
        place = f" {row.start:#x}..{row.end:#x}" if row.start is not None and row.end is not None else ""
        found, was = in_words(row.after, row.field), in_words(row.before, row.field)
        if row.frames_after and row.frames_before != row.frames_after:
            found += f" (frame {row.frames_after[0]:#x})"
            was += f" (frame {row.frames_before[0]:#x})" if row.frames_before else ""
        diagnostics.add_finding(
            f"{row.object}{place}: {row.field}", explanation.expected, f"{found}, before {was}"
        )
    return replace(row, explained=explanation.expected is None)


def _note(before: Moment, after: Moment, replay: Replay, diagnostics: Diagnostics) -> None:
    for start in sorted(replay.discarded):
        diagnostics.add_note(
            f"the lazy range at {start:#x} was discarded, as all of its pages show: the kernel records no "
            "event for that"
        )
    for moment in (before, after):
        for space in moment.maps.values():
            if not space.is_known:
                diagnostics.add_note(
                    f"the tables of space {space.number} have no end: its mappings were not compared"
                )
        for note in moment.notes:
            if note not in (CHANGING, LOCKED):  # It is said already, with what it means here.
                diagnostics.add_note(note)


def _when(moment: Moment) -> When:
    return When(moment.label, moment.clock, moment.events.recorded, moment.changing)


def _seconds(before: Moment, after: Moment) -> float | None:
    if before.clock.now is None or after.clock.now is None:
        return None
    return after.clock.seconds(after.clock.now - before.clock.now)


_KINDS: dict[str, Callable[[Moment, Moment, Replay], Rows]] = {
    "stacks": stack_rows,
    "lazy": lambda *moments: joined(lazy_changes(*moments)),
    "mappings": lambda *moments: joined(mapping_changes(*moments)),
    "pressure": pressure_rows,
    "spaces": space_rows,
    "tasks": task_rows,
    "frames": frame_rows,
    "counters": counter_rows,
}
