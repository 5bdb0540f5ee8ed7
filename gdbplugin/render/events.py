"""The view of `tinyos events`."""

from __future__ import annotations

from collections.abc import Iterable

from gdbplugin.kernel.events import Event, EventList
from gdbplugin.records import asdict
from gdbplugin.render.parts import clock_content
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What an event's two numbers are, by its kind, as the kernel's `events.rs` has it: `x` stands for an address,
# a name in capitals for an enum, anything else for a plain number.
_MEANING = {
    "TaskStarted": ("task {}", "stack {}"),
    "TaskEnded": ("task {}", "{EndReason}"),
    "StackGrowth": ("stack {}", "{} pages more"),
    "StackShrink": ("stack {}", "{} pages back"),
    "StackOverflow": ("stack {}", "at {:#x}"),
    "LazyReserve": ("{:#x}", "{} pages"),
    "LazyRelease": ("{:#x}", "{} pages"),
    "LazyZero": ("{:#x}", "zero page {:#x}"),
    "LazyAllocate": ("{:#x}", "frame {:#x}"),
    "LazyFold": ("{:#x}", "frame {:#x} given up"),
    "PressureChange": ("from {PressureLevel}", "to {PressureLevel}"),
    "StrategyRun": ("{Strategy}", "won {}"),
    "PageMoved": ("from {:#x}", "to {:#x}"),
    "AsidRollover": ("generation {}", "{} bits"),
    "PoolLimit": ("from {} frames", "to {} frames"),
    "WildAccess": ("task {}", "at {:#x}"),
    "OutOfMemory": ("at {:#x}", "{} frames free"),
}
_UNKNOWN = ("{:#x}", "{:#x}")


def event_objects(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Events in a JSON object, by the kernel's field names."""
    return [asdict(event) for event in events]


def content(shown: EventList) -> dict[str, Any]:
    """The events' part of their JSON object."""
    return {
        "recorded": shown.recorded,
        "kept": shown.kept,
        "matching": shown.matching,
        "since_stop": shown.since_stop,
        "events": event_objects(shown.events),
        "time": clock_content(shown.clock),
    }


def text(shown: EventList, style: Style) -> str:
    """The events, the newest last."""
    return style.sections([section(shown, style)], shown)


def section(shown: EventList, style: Style) -> str:
    """The events under a title that counts them."""
    matching = f" of {shown.matching:,} that match" if shown.matching != shown.kept else ""
    which = f"newest {len(shown.events):,}{matching}" if shown.matching else "none that match"
    title = f"Events ({which}; {style.count(shown.recorded)} since boot, {shown.kept:,} of them kept)"
    return style.title(title) + ("\n" + event_table(shown, style) if shown.events else "")


def event_table(shown: EventList, style: Style) -> str:
    """The events as a table; how long ago by the kernel's own timer."""
    rows = [
        (
            style.text(event.sequence),
            style.duration(shown.clock.ago(event.timestamp)),
            style.text(event.core),
            style.text(event.asid) if event.asid else "",
            style.text(event.kind),
            meaning(event, shown.names),
        )
        for event in shown.events
    ]
    right = ("number", "ago", "core", "ASID")
    headers, least = (*right, "kind", ""), ("core", "ASID", "ago")
    return style.table(headers, rows, right, dispensable=least)


def meaning(event: Event, names: dict[str, dict[int, str]]) -> str:
    """What the event's two numbers say."""
    first, second = _MEANING.get(event.kind or "", _UNKNOWN)
    return f"{_worded(first, event.first, names)}, {_worded(second, event.second, names)}"


def _worded(pattern: str, number: int | None, names: dict[str, dict[int, str]]) -> str:
    if number is None:
        return "?"
    named = {name: known.get(number, number) for name, known in names.items()}
    if number == 1:
        pattern = pattern.replace("pages", "page").replace("frames", "frame")
    return pattern.format(number, **named)
