"""The timeline as pictures: a row for each task, and the counts as lines, all to the same scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gdbplugin.html.drawing import Scale, bars, picture, steps
from gdbplugin.html.markup import STYLE, Markup, element, join, paragraph
from gdbplugin.html.memory import figure, legend
from gdbplugin.timeline.story import ENTRY_NAMES, FAULT_EVENTS, FAULT_NAMES, STRATEGIES
from gdbplugin.timeline.trace import Counter, Instant, Slice, Trace, Track

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.html.contents import Past

_RING = "the kernel's event ring, which has of the turns only the last"
_TICKS = 10
_ROW_HEIGHT = 24
_LINE_HEIGHT = 40
# Faults are above the turns of a task, other entries into the kernel and the events below them.
_FAULTS, _WORK, _ENTRIES, _EVENTS = (0, 8), (9, 7), (17, 3), (21, 3)


def timeline(past: Past) -> Markup:
    """Everything that is known of the past, as far as it was before the stop."""
    trace, span = past.trace, _span(past)
    if span is None:
        return paragraph("Nothing is known of the past: the kernel has recorded no event.")
    scale, now = Scale(*span), span[1]
    # The time of a stop is known to a tick of the scheduler only.
    latest = now + trace.frequency // _TICKS
    left_out = sum(time > latest for time in _times(trace))
    source = (
        "the recording"
        if past.is_recorded
        else "the kernel's event ring, which has of the turns only the last"
    )
    said = f"From {source}: the last {STYLE.duration((now - span[0]) / trace.frequency)} before the stop."
    if left_out:
        said += f" Left out, as they are after the stop: {STYLE.counted(left_out, 'time')}."
    keys = legend(
        (
            ("k-fault", "uppermost: faults"),
            ("k-work", "below: the task runs, or the strategy"),
            ("k-entry", "below: interrupts and system calls"),
            ("k-event", "lowest: events"),
        )
    )
    rows = [_row(track, trace, scale, latest) for track in trace.tracks]
    lines = [_line(counter, known, scale, latest) for counter, known in trace.counts.items()]
    heading = [element("h3", "Counts")] if lines else []
    return join([paragraph(said), keys, _axis(span, trace), *rows, *heading, *lines, _axis(span, trace)])


def _span(past: Past) -> tuple[int, int] | None:
    """From the first time to that of the stop; a corrupt event may have a later one."""
    span = past.trace.span()
    if span is None or past.now is None:
        return span
    return (min(span[0], past.now), past.now)


def _times(trace: Trace) -> Iterable[int]:
    for slices in trace.slices.values():
        yield from (one.begin for one in slices)
    for instants in trace.instants.values():
        yield from (one.time for one in instants)
    for known in trace.counts.values():
        yield from (time for time, _ in known)


def _axis(span: tuple[int, int], trace: Trace) -> Markup:
    seconds = (span[1] - span[0]) / trace.frequency
    said = (f"-{STYLE.duration(seconds)}", f"-{STYLE.duration(seconds / 2)}", "the stop")
    return element("div", *(element("span", one) for one in said), class_="axis")


def _row(track: Track, trace: Trace, scale: Scale, latest: int) -> Markup:
    slices = [one for one in trace.slices.get(track, ()) if one.begin <= latest]
    instants = [one for one in trace.instants.get(track, ()) if one.time <= latest]
    faults = [one for one in slices if one.name in FAULT_NAMES]
    entries = [one for one in slices if one.name in ENTRY_NAMES]
    work = [one for one in slices if one.name not in FAULT_NAMES and one.name not in ENTRY_NAMES]
    title = f"{track.group}: {track.name}"
    said = _counted(track, faults, entries, work, instants, trace.frequency)
    drawn = picture(
        _ROW_HEIGHT,
        f"{title}: {said}",
        bars("k-fault", [*_spans(faults, scale), *_fault_events(instants, scale)], *_FAULTS),
        bars("k-work", _spans(work, scale), *_WORK),
        bars("k-entry", _spans(entries, scale), *_ENTRIES),
        bars("k-event", ((scale(one.time), scale(one.time)) for one in instants), *_EVENTS),
    )
    return figure((title, said), drawn)


def _counted(
    track: Track,
    faults: Sequence[Slice],
    entries: Sequence[Slice],
    work: Sequence[Slice],
    instants: Sequence[Instant],
    frequency: int,
) -> str:
    """The figures of a row; faults by their slices, or in a timeline without those by their events."""
    fault_count = len(faults) or sum(one.name in FAULT_EVENTS for one in instants)
    ran = STYLE.duration(sum(max(0, one.end - one.begin) for one in work) / frequency)
    parts = [
        (
            len(work),
            f"{STYLE.counted(len(work), 'run' if track.name == STRATEGIES else 'turn')}, {ran} in all",
        ),
        (fault_count, STYLE.counted(fault_count, "fault")),
        (len(entries), f"interrupts and system calls: {len(entries):,}"),
        (len(instants), STYLE.counted(len(instants), "event")),
    ]
    return ", ".join(said for count, said in parts if count) or "nothing before the stop"


def _spans(slices: Iterable[Slice], scale: Scale) -> Iterable[tuple[int, int]]:
    return ((scale(one.begin), scale(one.end)) for one in slices)


def _fault_events(instants: Iterable[Instant], scale: Scale) -> Iterable[tuple[int, int]]:
    return ((scale(one.time), scale(one.time)) for one in instants if one.name in FAULT_EVENTS)


def _line(counter: Counter, known: Sequence[tuple[int, int]], scale: Scale, latest: int) -> Markup:
    points = [(time, value) for time, value in known if time <= latest]
    values = [value for _, value in points]
    if not values:
        return figure((counter.name.capitalize(), "not known"))
    said = f"{counter.unit}: {values[-1]:,} at the stop, {min(values):,} to {max(values):,}"
    drawn = steps("k-line", ((scale(time), value) for time, value in points), _LINE_HEIGHT)
    return figure((counter.name.capitalize(), said), picture(_LINE_HEIGHT, f"{counter.name}: {said}", drawn))
