"""The view `l`: lazy pages by their state, and the ranges, with what changed of late.

The states of a range's pages are counted from their records. A snapshot that was taken for another view has
not read those; then how many pages have a frame of their own is what the reverse map of frames says.
"""

from __future__ import annotations

from dataclasses import dataclass

from gdbplugin.kernel.lazy import PAGE_BYTES, LazyPages, LazyRange
from gdbplugin.kernel.tasks import Names, task_names
from gdbplugin.render.style import Style
from gdbplugin.repl.live.canvas import (
    BAD,
    GOOD,
    PLAIN,
    TITLE,
    WARNING,
    Area,
    Cell,
    Column,
    Drawn,
    Line,
    first_fitting,
    share,
    table,
    words,
)
from gdbplugin.repl.live.events import stream
from gdbplugin.repl.live.history import CHANGE_SECONDS
from gdbplugin.repl.live.scene import Scene

_COUNTERS = (
    ("lazy_zero_faults", "mapped the zero page"),
    ("lazy_allocate_faults", "allocated a frame"),
    ("lazy_upgrade_faults", "replaced the zero page"),
    ("lazy_pages_folded", "folded back"),
    ("lazy_access_flag_hits", "access flag hits"),
)
_CHANGE = f"in {CHANGE_SECONDS:.0f} s"
_COLUMNS = (
    Column("range", least=14),
    Column("size", right=True, least=5, spare=2),
    Column("pending", right=True),
    Column("zero", right=True, least=6, spare=1),
    Column("", least=8, most=64),
    Column("allocated", right=True),
    Column(_CHANGE, right=True, least=7),
    Column("task", least=8),
)


@dataclass(frozen=True)
class States:
    """Pages by their state; None for what is not known."""

    pages: int | None
    allocated: int | None
    zero: int | None

    @property
    def pending(self) -> int | None:
        """Pages that nothing is mapped for; None also where the other figures contradict each other."""
        if self.pages is None or self.allocated is None or self.zero is None:
            return None
        left = self.pages - self.allocated - self.zero
        return left if left >= 0 else None


def draw(scene: Scene, area: Area) -> Drawn:
    """The totals by state on a bar, the faults with their rates, each range, and what happened last."""
    lazy, style = scene.snapshot.lazy, area.style
    names = task_names(scene.snapshot.tasks)
    header, *lines = table(
        _COLUMNS, [_row(entry, names, scene, style) for entry in lazy.ranges or ()], area.width
    )
    total = States(lazy.reserved_pages, lazy.allocated_pages, lazy.zero_pages)
    head = [_totals(total, len(lazy.ranges or ()), area), _legend(total, area), *_faults(scene, area), []]
    head.append(header if lines else words(" No range is reserved."))
    recent = [event for event in scene.history.events if (event.kind or "").startswith("Lazy")]
    below = words(" What lazy pages did, the newest at the bottom", TITLE), stream(recent, scene, area)
    return Drawn(head, lines, below=below)


def _totals(total: States, ranges: int, area: Area) -> Line:
    count = area.style.count
    name: Line = [(TITLE, " Lazy pages: ")]
    states = f"{count(total.pending)} pending, {count(total.zero)} zero, {count(total.allocated)} allocated"
    within = f"{count(total.pages)} in {ranges} {'range' if ranges == 1 else 'ranges'}: "
    return first_fitting(area.width, [*name, (PLAIN, within + states)], [*name, (PLAIN, states)])


def _legend(total: States, area: Area) -> Line:
    """All pages on one bar, and what its shades mean."""
    full, was, empty = "#=." if area.plain else "█▒░"
    label = f"  {full * 2} allocated  {was * 2} zero page  {empty * 2} pending"
    return [(PLAIN, " "), *_bar(total, area.width - 2 - len(label), area.style), (PLAIN, label)]


def _bar(shown: States, width: int, style: Style) -> Line:
    full, was, empty = "#=." if style.plain else "█▒░"
    if not shown.pages or shown.allocated is None or width < 1:
        return words(style.missing.ljust(max(0, width)))
    allocated = share(shown.allocated, shown.pages, width)
    zero = min(width - allocated, share(shown.zero or 0, shown.pages, width))
    return [(GOOD, full * allocated), (WARNING, was * zero), (PLAIN, empty * (width - allocated - zero))]


def _faults(scene: Scene, area: Area) -> list[Line]:
    """The counters of what faults did, with rates, two on a line."""
    counters, half = scene.snapshot.counters.counters, (area.width - 2) // 2
    cells = []
    for name, meaning in _COUNTERS:
        rate, cell = scene.history.rate(name), f"{area.style.count(counters.get(name)):>6} {meaning}"
        moving = f", {rate:,.0f}/s" if rate else ""
        cells.append((cell + moving if len(cell + moving) < half else cell)[: half - 1])
    return [
        words(" " + "".join(cell.ljust(half) for cell in cells[at : at + 2]).rstrip())
        for at in range(0, len(cells), 2)
    ]


def _row(entry: LazyRange, names: Names, scene: Scene, style: Style) -> dict[str, Cell]:
    shown = _states(entry, scene)
    change = 0 if entry.first is None else scene.history.range_change(entry.first)
    return {
        "range": words(style.address(_start(entry, scene.snapshot.lazy))),
        "size": words(style.short_size(None if entry.pages is None else entry.pages * PAGE_BYTES)),
        "pending": words(style.count(shown.pending)),
        "zero": words(style.count(shown.zero)),
        "": lambda width: _bar(shown, width, style),
        "allocated": words(style.count(shown.allocated)),
        _CHANGE: words(f"{change:+,}" if change else "", BAD if change > 0 else GOOD),
        "task": words(style.owner(entry.owner, names)),
    }


def _states(entry: LazyRange, scene: Scene) -> States:
    """The pages of a range by their state."""
    pages = scene.snapshot.lazy.pages_of(entry)
    if pages:
        counted = pages.count_states()
        return States(len(pages), counted["allocated"], counted["zero"])
    newest = scene.history.newest
    framed = None if newest is None or entry.first is None else newest.ranges.get(entry.first)
    return States(entry.pages, framed, None)


def _start(entry: LazyRange, lazy: LazyPages) -> int | None:
    pages = lazy.pages_of(entry)
    return pages[0].virtual_address if pages else None
