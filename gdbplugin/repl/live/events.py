"""The view `e`: the event stream as it comes, the newest at the bottom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gdbplugin.commands.events import meaning
from gdbplugin.kernel.events import Event
from gdbplugin.repl.live.canvas import (
    BAD,
    PLAIN,
    TITLE,
    WARNING,
    Area,
    Drawn,
    Line,
    Rows,
    first_fitting,
    words,
)
from gdbplugin.repl.live.scene import Scene

_STYLES = {
    "PressureChange": WARNING,
    "StackOverflow": BAD,
    "WildAccess": BAD,
    "OutOfMemory": BAD,
}
_WITH_ASID, _WITH_CORE = 72, 100
"""Columns from which on there is room for the ASID, and for the core, which is the same for most events."""


def draw(scene: Scene, area: Area) -> Drawn:
    """A line for each event that was seen and is of the kind chosen; by the kernel's own time."""
    history, chosen = scene.history, scene.choices.kind
    kinds = known_kinds(scene)
    until = scene.choices.until
    shown = [
        event
        for event in history.events
        if (chosen is None or event.kind == chosen) and (until is None or (event.sequence or 0) <= until)
    ]
    style = area.style
    recorded, rate = style.count(scene.snapshot.events.recorded), history.rate("events_recorded")
    filtered = "all kinds" if chosen is None else f"only {chosen} ({kinds[chosen]:,})"
    since_boot = f"{recorded} since boot, {style.missing if rate is None else f'{rate:,.0f}'}/s; "
    title = first_fitting(
        area.width,
        [(TITLE, " Events: "), (PLAIN, f"{since_boot}{len(history.events):,} here; {filtered} (k K a)")],
        [(TITLE, " Events: "), (PLAIN, f"{since_boot}{filtered} (k K a)")],
        [(TITLE, " Events: "), (PLAIN, f"{filtered} (k K a)")],
    )
    where = _where("core", "ASID", area.width)
    header = words(f" {'number':>9}  {'seconds':>10}{where}  kind", TITLE)
    return Drawn([title, header], stream(shown, scene, area, gaps=chosen is None), from_end=True)


def stream(shown: Iterable[Event], scene: Scene, area: Area, *, gaps: bool = False) -> Rows:
    """A line for each event; with `gaps` one also for those that were lost between two of them."""
    missed = scene.history.missed if gaps else {}
    rows: list[Event | int] = []
    for event in shown:
        if missed and (gap := missed.get(event.sequence or 0)):
            rows.append(gap)
        rows.append(event)
    return Rows(len(rows), lambda place: _row(rows[place], scene, area))


def known_kinds(scene: Scene) -> Counter[str]:
    """How many events of each kind are here, the chosen one counted even if there are none."""
    counted = Counter(event.kind for event in scene.history.events if event.kind is not None)
    if scene.choices.kind is not None:
        counted[scene.choices.kind] += 0
    return counted


def other_kind(scene: Scene, step: int) -> str | None:
    """The kind that many places after the chosen one, in the order of the alphabet; None is all."""
    kinds: list[str | None] = [None, *sorted(known_kinds(scene))]
    return kinds[(kinds.index(scene.choices.kind) + step) % len(kinds)]


def _row(event: Event | int, scene: Scene, area: Area) -> Line:
    if isinstance(event, int):
        return words(f" {'':9}  {event:,} events were overwritten before they were seen", WARNING)
    style = area.style
    seconds = scene.snapshot.clock.seconds(event.timestamp)
    when = style.missing if seconds is None else f"{seconds:,.4f}"
    where = _where(style.text(event.core), style.text(event.asid) if event.asid else "", area.width)
    line = words(f" {style.count(event.sequence):>9}  {when:>10}{where}  ")
    kind = words(f"{style.text(event.kind):<14}", _STYLES.get(event.kind or "", PLAIN))
    return [*line, *kind, *words(f"  {meaning(event, scene.event_names)}")]


def _where(core: str, asid: str, width: int) -> str:
    """The columns of core and ASID, as far as there is room for them."""
    return (f"  {core:>4}" if width >= _WITH_CORE else "") + (f"  {asid:>4}" if width >= _WITH_ASID else "")
