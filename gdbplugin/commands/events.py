"""`tinyos events`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form, Option, offered_cores
from gdbplugin.commands.lazy import offered_asids
from gdbplugin.commands.stacks import offered_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.events import Event, EventList
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style

# What an event's two numbers mean, by its kind, as in the kernel's `events.rs`: `#x` formats an address, a
# name selects an enum, anything else is a plain number.
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
    "StrategyRun": ("{Strategy}", "gain {}"),
    "PageMoved": ("from {:#x}", "to {:#x}"),
    "TableMoved": ("from {:#x}", "to {:#x}"),
    "AsidRollover": ("generation {}", "{} bits"),
    "PoolLimit": ("from {} frames", "to {} frames"),
    "WildAccess": ("task {}", "at {:#x}"),
    "OutOfMemory": ("at {:#x}", "{} frames free"),
    "VictimChosen": ("task {}", "{} frames, the most"),
    "FrameQuota": ("task {}", "quota of {} frames"),
    "RangeQuota": ("task {}", "quota of {} ranges"),
    "LazyPageQuota": ("{} pages more", "quota of {} pages"),
}
_UNKNOWN = ("{:#x}", "{:#x}")


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
    """The events, the newest last."""
    return style.sections([section(shown, style)], shown)


def section(shown: EventList, style: Style) -> str:
    """The events under a title that counts them."""
    matching = f" of {shown.matching:,} that match" if shown.matching != shown.kept else ""
    which = f"newest {len(shown.events):,}{matching}" if shown.matching else "none that match"
    title = f"Events ({which}; {style.count(shown.recorded)} since boot, {shown.kept:,} of them kept)"
    return style.title(title) + ("\n" + event_table(shown, style) if shown.events else "")


def event_table(shown: EventList, style: Style) -> str:
    """The events as a table, with how long ago they were by the kernel's own timer."""
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
    """What the event's two numbers mean, in words."""
    first, second = _MEANING.get(event.kind or "", _UNKNOWN)
    return f"{_worded(first, event.first, names)}, {_worded(second, event.second, names)}"


def _worded(pattern: str, number: int | None, names: dict[str, dict[int, str]]) -> str:
    if number is None:
        return "?"
    named = {name: known.get(number, number) for name, known in names.items()}
    if number == 1:
        pattern = pattern.replace("pages", "page").replace("frames", "frame")
    return pattern.format(number, **named)


def offered_kinds(target: Target) -> list[str]:
    """The kinds of events that this kernel records."""
    from gdbplugin.kernel import events

    return events.offered_kinds(target)


N = Argument("N", "how many events", "number")
OPTIONS = (
    Option("--kind", "only events of this kind", "text", complete=offered_kinds),
    Option("--stack", "only events about the stack with this ID", "number", "ID", complete=offered_ids),
    Option(
        "--asid",
        "only events of the address space with this ASID",
        "number",
        "N",
        complete=offered_asids,
    ),
    Option("--core", "only events that this core recorded", "number", "N", complete=offered_cores),
    Option("--since-stop", "only events since a command last read the events at an earlier stop"),
)
HELP = """Show what the memory management did last, the newest event at the end.

Without N it shows the newest 32 that pass the filters. --since-stop leaves out the events that were
there when a command last read the events or counters at an earlier stop.
"""
COMMAND = Command(
    "events",
    Form(
        "tinyos.events/1",
        read,
        show,
        rows=lambda found: found.events,
        count=lambda found: found.matching,
        last=N,
    ),
    help=HELP,
    letter="e",
    arguments=(N,),
    options=OPTIONS,
)
