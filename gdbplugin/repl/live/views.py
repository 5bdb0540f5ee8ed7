"""The views of statistics, stacks, lazy pages and events. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from gdbplugin.commands.events import meaning
from gdbplugin.kernel.events import Event
from gdbplugin.kernel.lazy import LazyPages, LazyRange
from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.stacks import DynamicStack
from gdbplugin.kernel.tasks import Names, task_names
from gdbplugin.render import Style
from gdbplugin.repl.live.drawing import (
    BAD,
    GOOD,
    PLAIN,
    TITLE,
    WARNING,
    Cell,
    Column,
    Line,
    Rows,
    ViewContent,
    Viewport,
    first_fitting,
    gauge,
    meter,
    shades,
    share,
    sparkline,
    table,
    words,
)
from gdbplugin.repl.live.scene import CHANGE_SECONDS, Scene, figures

_CHANGE = f"in {CHANGE_SECONDS:.0f} s"

_OVER_TIME = "each second"
_STATISTICS_COLUMNS = (
    Column("counter"),
    Column("value", right=True, least=9),
    Column("per second", right=True),
    Column(_OVER_TIME, least=len(_OVER_TIME), most=120),
)
# Amounts, not numbers of occurrences: their rate says little.
_AMOUNTS = frozenset({"active_dynamic_stacks", "total_lazy_pages", "allocated_lazy_pages"})

_STACK_COLUMNS = (
    Column("id", right=True, least=2),
    Column("task", least=8),
    Column("policy", least=12, spare=2),
    Column("", least=8, most=64),
    Column("mapped", right=True, least=6),
    Column("most", right=True, least=5, spare=1),
    Column("of", right=True, least=5),
    Column("+/-", right=True, least=7),
    Column(_CHANGE, right=True, least=6),
)

_FAULT_COUNTERS = (
    ("lazy_zero_faults", "mapped the zero page"),
    ("lazy_allocate_faults", "allocated a frame"),
    ("lazy_upgrade_faults", "replaced the zero page"),
    ("lazy_pages_folded", "folded back"),
    ("lazy_access_flag_hits", "access flag hits"),
)
_RANGE_COLUMNS = (
    Column("range", least=14),
    Column("size", right=True, least=5, spare=2),
    Column("pending", right=True),
    Column("zero", right=True, least=6, spare=1),
    Column("", least=8, most=64),
    Column("allocated", right=True),
    Column(_CHANGE, right=True, least=7),
    Column("task", least=8),
)

_EVENT_STYLES = {
    "PressureChange": WARNING,
    "StackOverflow": BAD,
    "WildAccess": BAD,
    "OutOfMemory": BAD,
    "VictimChosen": BAD,
    "FrameQuota": BAD,
    "RangeQuota": BAD,
    "LazyPageQuota": BAD,
}
_WITH_ASID, _WITH_CORE = 72, 100
"""Widths from which events show their ASID, and their core, which is the same for most events."""


def draw_statistics(scene: Scene, viewport: Viewport) -> ViewContent:
    """A row for each counter: its value, its rate, and its change in each of the last seconds."""
    rows = [
        _counter_row(name, value, scene, viewport.style) for name, value in figures(scene.snapshot).items()
    ]
    header, *lines = table(_STATISTICS_COLUMNS, rows, viewport.width)
    return ViewContent([header], lines)


def _counter_row(name: str, value: int | None, scene: Scene, style: Style) -> dict[str, Cell]:
    timeline = scene.timeline
    rate = None if name in _AMOUNTS else timeline.rate(name)
    shown = "" if not rate else f"{rate:,.1f}" if abs(rate) < 1000 else f"{rate:,.0f}"

    def over_time(width: int) -> Line:
        return words("" if name in _AMOUNTS else sparkline(timeline.rates(name, width), width, style))

    cells = {"counter": words(name), "value": words(style.count(value)), "per second": words(shown)}
    return {**cells, _OVER_TIME: over_time}


def draw_stacks(scene: Scene, viewport: Viewport) -> ViewContent:
    """A row for each active stack, in the order of slots, and the latest events of stacks below."""
    stacks, style = scene.snapshot.stacks, viewport.style
    names = task_names(scene.snapshot.tasks)
    header, *lines = table(
        _STACK_COLUMNS, [_stack_row(stack, names, scene, style) for stack in stacks.active], viewport.width
    )
    mapped = sum(stack.current_size or 0 for stack in stacks.active)
    reserved = sum(stack.max_size or 0 for stack in stacks.active)
    ended = len(stacks.stacks) - len(stacks.active)
    sizes = f"{style.size(mapped)} mapped of {style.size(reserved)}"
    total: Line = [(TITLE, " Stacks: "), (PLAIN, f"{len(stacks.active)} active, {ended} ended; {sizes}")]
    recent = [event for event in scene.timeline.events if event.stack is not None]
    title = words(" Latest events of stacks, the newest at the bottom", TITLE)
    head = [total, _stack_legend(viewport.width, style), [], header]
    return ViewContent(head, lines, below=(title, stream(recent, scene, viewport)))


def _stack_legend(width: int, style: Style) -> Line:
    full, between, empty = shades(style)
    legend: Line = [(PLAIN, " "), (GOOD, full * 2), (PLAIN, " mapped  "), (WARNING, between * 2)]
    legend.append((PLAIN, f" highest so far  {empty * 2} may grow"))
    return first_fitting(width, [*legend, (PLAIN, "   +/- times grown, times shrunk")], legend)


def _stack_row(stack: DynamicStack, names: Names, scene: Scene, style: Style) -> dict[str, Cell]:
    change = 0 if stack.id is None else scene.timeline.size_change(stack.id)
    signed = ("+" if change > 0 else "-") + style.short_size(abs(change))
    return {
        "id": words(style.text(stack.id)),
        "task": words(style.owner(stack.owner, names)),
        "policy": words(style.text(stack.policy)),
        "": lambda width: meter(stack.current_size, stack.high_water_mark, stack.max_size, width, style),
        "mapped": words(style.short_size(stack.current_size)),
        "most": words(style.short_size(stack.high_water_mark)),
        "of": words(style.short_size(stack.max_size)),
        "+/-": words(f"{style.count(stack.growth_count)}/{style.count(stack.shrink_count)}"),
        _CHANGE: words(signed if change else "", BAD if change > 0 else GOOD),
    }


@dataclass(frozen=True)
class PageStates:
    """Lazy pages by state; None for a number that is not known."""

    pages: int | None
    allocated: int | None
    zero: int | None

    @property
    def pending(self) -> int | None:
        """Pages without a mapping; None also if the other numbers contradict each other."""
        if self.pages is None or self.allocated is None or self.zero is None:
            return None
        left = self.pages - self.allocated - self.zero
        return left if left >= 0 else None


def draw_lazy(scene: Scene, viewport: Viewport) -> ViewContent:
    """All lazy pages by state, the faults with their rates, a row for each range, and the latest events."""
    lazy, style = scene.snapshot.lazy, viewport.style
    ranges = lazy.ranges or ()
    names = task_names(scene.snapshot.tasks)
    header, *lines = table(
        _RANGE_COLUMNS, [_range_row(entry, names, scene, style) for entry in ranges], viewport.width
    )
    total = PageStates(lazy.reserved_pages, lazy.allocated_pages, lazy.zero_pages)
    head = [_state_totals(total, len(ranges), viewport), _state_legend(total, viewport)]
    head += [*_fault_counters(scene, viewport), []]
    head.append(header if lines else words(" No range is reserved."))
    recent = [event for event in scene.timeline.events if (event.kind or "").startswith("Lazy")]
    title = words(" Latest events of lazy pages, the newest at the bottom", TITLE)
    return ViewContent(head, lines, below=(title, stream(recent, scene, viewport)))


def _state_totals(total: PageStates, ranges: int, viewport: Viewport) -> Line:
    count = viewport.style.count
    name: Line = [(TITLE, " Lazy pages: ")]
    states = f"{count(total.pending)} pending, {count(total.zero)} zero, {count(total.allocated)} allocated"
    within = f"{count(total.pages)} in {viewport.style.counted(ranges, 'range')}: "
    return first_fitting(viewport.width, [*name, (PLAIN, within + states)], [*name, (PLAIN, states)])


def _state_legend(total: PageStates, viewport: Viewport) -> Line:
    """A gauge of all pages, and what its shades mean."""
    full, between, empty = shades(viewport.style)
    label = f"  {full * 2} allocated  {between * 2} zero page  {empty * 2} pending"
    bar = _state_gauge(total, viewport.width - 2 - len(label), viewport.style)
    return [(PLAIN, " "), *bar, (PLAIN, label)]


def _state_gauge(states: PageStates, width: int, style: Style) -> Line:
    if not states.pages or states.allocated is None or width < 1:
        return words(style.missing.ljust(max(0, width)))
    allocated = share(states.allocated, states.pages, width)
    zero = min(width - allocated, share(states.zero or 0, states.pages, width))
    return gauge(allocated, zero, width, style)


def _fault_counters(scene: Scene, viewport: Viewport) -> list[Line]:
    """The counters of lazy page faults with their rates, two on a line."""
    counters, half = scene.snapshot.counters.counters, (viewport.width - 2) // 2
    cells = []
    for name, label in _FAULT_COUNTERS:
        rate, cell = scene.timeline.rate(name), f"{viewport.style.count(counters.get(name)):>6} {label}"
        moving = f", {rate:,.0f}/s" if rate else ""
        cells.append((cell + moving if len(cell + moving) < half else cell)[: half - 1])
    return [
        words(" " + "".join(cell.ljust(half) for cell in cells[at : at + 2]).rstrip())
        for at in range(0, len(cells), 2)
    ]


def _range_row(entry: LazyRange, names: Names, scene: Scene, style: Style) -> dict[str, Cell]:
    states = _states_of(entry, scene)
    change = 0 if entry.first is None else scene.timeline.range_change(entry.first)
    return {
        "range": words(style.address(_start(entry, scene.snapshot.lazy))),
        "size": words(style.short_size(None if entry.pages is None else entry.pages * PAGE_BYTES)),
        "pending": words(style.count(states.pending)),
        "zero": words(style.count(states.zero)),
        "": lambda width: _state_gauge(states, width, style),
        "allocated": words(style.count(states.allocated)),
        _CHANGE: words(f"{change:+,}" if change else "", BAD if change > 0 else GOOD),
        "task": words(style.owner(entry.owner, names)),
    }


def _states_of(entry: LazyRange, scene: Scene) -> PageStates:
    """The pages of a range by state, counted from their records.

    A snapshot taken for another view has no records; then the frames of the range come from the reverse map.
    """
    pages = scene.snapshot.lazy.pages_of(entry)
    if pages:
        counted = pages.count_states()
        return PageStates(len(pages), counted["allocated"], counted["zero"])
    newest = scene.timeline.newest
    framed = None if newest is None or entry.first is None else newest.ranges.get(entry.first)
    return PageStates(entry.pages, framed, None)


def _start(entry: LazyRange, lazy: LazyPages) -> int | None:
    pages = lazy.pages_of(entry)
    return pages[0].virtual_address if pages else None


def draw_events(scene: Scene, viewport: Viewport) -> ViewContent:
    """A line for each event of the chosen kind, with kernel time, the newest at the bottom."""
    timeline, chosen = scene.timeline, scene.choices.kind
    until = scene.choices.until
    shown = [
        event
        for event in timeline.events
        if (chosen is None or event.kind == chosen) and (until is None or (event.sequence or 0) <= until)
    ]
    style = viewport.style
    recorded, rate = style.count(scene.snapshot.events.recorded), timeline.rate("events_recorded")
    filtered = "all kinds" if chosen is None else f"only {chosen} ({known_kinds(scene)[chosen]:,})"
    since_boot = f"{recorded} since boot, {style.missing if rate is None else f'{rate:,.0f}'}/s; "
    title = first_fitting(
        viewport.width,
        [(TITLE, " Events: "), (PLAIN, f"{since_boot}{len(timeline.events):,} here; {filtered} (k K a)")],
        [(TITLE, " Events: "), (PLAIN, f"{since_boot}{filtered} (k K a)")],
        [(TITLE, " Events: "), (PLAIN, f"{filtered} (k K a)")],
    )
    where = _core_and_asid("core", "ASID", viewport.width)
    header = words(f" {'number':>9}  {'seconds':>10}{where}  kind", TITLE)
    return ViewContent([title, header], stream(shown, scene, viewport, gaps=chosen is None), from_end=True)


def stream(shown: Iterable[Event], scene: Scene, viewport: Viewport, *, gaps: bool = False) -> Rows:
    """A line for each event; with `gaps`, also one for each run of events that was lost."""
    missed = scene.timeline.missed if gaps else {}
    rows: list[Event | int] = []
    for event in shown:
        if missed and (gap := missed.get(event.sequence or 0)):
            rows.append(gap)
        rows.append(event)
    return Rows(len(rows), lambda place: _event_line(rows[place], scene, viewport))


def known_kinds(scene: Scene) -> Counter[str]:
    """Kind -> the number of its events here; the chosen kind is included even if there are none."""
    counted = Counter(event.kind for event in scene.timeline.events if event.kind is not None)
    if scene.choices.kind is not None:
        counted[scene.choices.kind] += 0
    return counted


def other_kind(scene: Scene, step: int) -> str | None:
    """The kind `step` places after the chosen one in alphabetical order; None stands for all kinds."""
    kinds: list[str | None] = [None, *sorted(known_kinds(scene))]
    return kinds[(kinds.index(scene.choices.kind) + step) % len(kinds)]


def _event_line(event: Event | int, scene: Scene, viewport: Viewport) -> Line:
    if isinstance(event, int):
        return words(f" {'':9}  {event:,} events were overwritten before they were seen", WARNING)
    style = viewport.style
    seconds = scene.snapshot.clock.seconds(event.timestamp)
    when = style.missing if seconds is None else f"{seconds:,.4f}"
    asid = style.text(event.asid) if event.asid else ""
    where = _core_and_asid(style.text(event.core), asid, viewport.width)
    line = words(f" {style.count(event.sequence):>9}  {when:>10}{where}  ")
    kind = words(f"{style.text(event.kind):<14}", _EVENT_STYLES.get(event.kind or "", PLAIN))
    return [*line, *kind, *words(f"  {meaning(event, scene.event_names)}")]


def _core_and_asid(core: str, asid: str, width: int) -> str:
    """The columns of core and ASID, if `width` has room for them."""
    return (f"  {core:>4}" if width >= _WITH_CORE else "") + (f"  {asid:>4}" if width >= _WITH_ASID else "")
