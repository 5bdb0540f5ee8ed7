"""Stacks, the pool of frames, and lazy pages, as pictures and tables."""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.html.drawing import WIDTH, Scale, bars, heights, picture, upright
from gdbplugin.html.markup import EMPTY, STYLE, Markup, and_more, element, join, listed, paragraph, table
from gdbplugin.kernel.pressure import LEVELS, FrameTable, PressureState
from gdbplugin.kernel.snapshot import Report
from gdbplugin.kernel.stacks import DynamicStack
from gdbplugin.kernel.tasks import Names, task_names

_STACK_HEIGHT = 24
_BAND_HEIGHT = 20
_BANDS = 250
"""A band of the pool has at most so many bars, each for some frames that follow each other."""
_RANGES_SHOWN = 40
_USES = {
    "Table": "translation tables",
    "LazyPage": "lazy pages",
    "Stack": "stack pages",
    "TaskPage": "pages of tasks",
    "ZeroPage": "the zero page",
    "Cached": "free, in the cache",
    "Free": "free",
    "Retired": "beyond the limit",
}


def figure(caption: Sequence[str], *drawn: str) -> Markup:
    """A picture below its caption: a title in bold, and the rest."""
    title, *rest = caption
    said = join([element("b", title), *(join([" ", part]) for part in rest if part)])
    return element("figure", element("figcaption", said), *drawn)


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """What the shapes of a picture mean: each shape's class, and words."""
    return listed(
        (join([element("span", "", class_=f"key {kind}"), words]) for kind, words in entries), "keys"
    )


def stacks(report: Report) -> Markup:
    """Each active stack, its base at the right: it grows to the left."""
    names, active = task_names(report.context.scheduler), report.stacks.active
    pointers = {one.stack: one.stack_pointer for one in report.running}
    ended = len(report.stacks.stacks) - len(active)
    said = paragraph(f"{len(active):,} active, {ended:,} ended on record. Addresses grow to the right.")
    if not active:
        return said
    keys = legend(
        (
            ("k-mapped", "inner bar: mapped"),
            ("k-room", "outer bar: may grow to here"),
            ("k-most", "dashed line: the most that was ever mapped"),
            ("k-pointer", "solid line: the stack pointer"),
        )
    )
    return join([said, keys, *(_stack(stack, pointers.get(stack.id or 0), names) for stack in active)])


def _stack(stack: DynamicStack, live: int | None, names: Names) -> Markup:
    pointer = stack.stack_pointer if live is None else live
    owner = "" if stack.owner is None else f", task {stack.owner} ({names.get(stack.owner, '?')})"
    policy = "" if stack.policy is None else f", {stack.policy}"
    base, size, most = stack.base_address, stack.current_size, stack.high_water_mark
    said = [
        f"{STYLE.size(size)} mapped of {STYLE.size(stack.max_size)}",
        f"most {STYLE.size(most)}",
        f"base {STYLE.address(base)}",
        f"SP {STYLE.address(pointer)}{'' if live is None else ' (in the CPU)'}",
        f"{STYLE.counted(stack.growth_count, 'growth')}, {STYLE.counted(stack.shrink_count, 'shrink')}",
    ]
    title = f"Stack {STYLE.text(stack.id)}{owner}{policy}"
    drawn = EMPTY if base is None else _range(stack, base, pointer, f"{title}: {said[0]}, {said[1]}")
    return figure((title, ", ".join(said)), drawn)


def _range(stack: DynamicStack, base: int, pointer: int | None, said: str) -> Markup:
    size, most, largest = stack.current_size or 0, stack.high_water_mark or 0, stack.max_size or 0
    lowest = base - max(largest, size, most)
    scale = Scale(lowest, base)
    shapes = [bars("k-room", [(0, WIDTH)], 0, _STACK_HEIGHT)]
    if size:
        shapes.append(bars("k-mapped", [(scale(base - size), WIDTH)], 4, _STACK_HEIGHT - 8))
    if most:
        shapes.append(upright("k-most", scale(base - most), _STACK_HEIGHT))
    if pointer is not None and lowest <= pointer <= base:
        shapes.append(upright("k-pointer", scale(pointer), _STACK_HEIGHT))
    return picture(_STACK_HEIGHT, said, *shapes)


def pool(state: PressureState, frames: FrameTable | None) -> Markup:
    """The frames by what they are used for: a band for each use, frame 0 at the left."""
    return join([_counters(state), EMPTY if frames is None else _bands(frames), _levels(state)])


def _counters(state: PressureState) -> Markup:
    frames, count = state.frames, STYLE.count
    if frames is None:
        return paragraph("This kernel has no pool of frames on record.")
    return paragraph(
        f"{count(frames.free_frames)} free, {count(frames.cached_frames)} cached, "
        f"{count(frames.used_frames)} used, {count(frames.retired_frames)} retired of "
        f"{count(frames.total_frames)} frames of 4 KiB at {STYLE.address(frames.base)}; "
        f"{count(frames.failure_count)} allocations failed"
    )


def _bands(frames: FrameTable) -> Markup:
    total = len(frames.uses)
    if not total:
        return EMPTY
    parts = min(_BANDS, total)
    counts = frames.count()
    places: dict[str | None, list[int]] = {use: [0] * parts for use in counts}
    for number, use in enumerate(frames.uses):
        places[use][number * parts // total] += 1
    known = [use for use in _USES if use in counts]
    others = sorted((use for use in counts if use not in _USES), key=str)
    each = -(-total // parts)
    explained = paragraph(
        f"Frame 0 is at the left, frame {total - 1:,} at the right. A bar stands for up to {each:,} "
        "frames, and is as high as the share of them with this use."
    )
    return join([explained, *(_band(use, counts[use], places[use], each) for use in (*known, *others))])


def _band(use: str | None, count: int, places: Sequence[int], each: int) -> Markup:
    title = "use not known" if use is None else _USES.get(use, use)
    said = STYLE.counted(count, "frame")
    shares = [min(1.0, one / each) for one in places]
    drawn = picture(_BAND_HEIGHT, f"{title}: {said}", heights("k-band", shares, _BAND_HEIGHT))
    return figure((title.capitalize(), said), drawn)


def _levels(state: PressureState) -> Markup:
    """The pressure level, its borders, and the strategies."""
    pressure, count = state.pressure, STYLE.count
    changed = state.clock.ago(pressure.last_change_time)
    since = "" if changed is None else f", for {STYLE.duration(changed)}"
    borders = ", ".join(
        f"{level} below {count(border.enter_below)} until {count(border.leave_at)}"
        for level, border in zip(LEVELS[1:], pressure.thresholds or (), strict=False)
    )
    said = [
        f"Pressure: {STYLE.text(pressure.level)}{since}",
        f"{count(state.free)} of {count(pressure.limit_frames)} frames are available",
        borders,
    ]
    rows = [
        (
            STYLE.text(one.strategy),
            count(one.run_count),
            count(one.skip_count),
            count(one.last_won),
            count(one.total_won),
            state.units.get(one.strategy or "", ""),
            STYLE.duration(state.clock.ago(one.last_run_time)),
        )
        for one in pressure.strategies or ()
    ]
    headers = ("strategy", "runs", "skipped", "last gain", "total gain", "unit", "last run, ago")
    right = (*headers[1:5], headers[6])
    found = table("Strategies against pressure", headers, rows, right) if rows else EMPTY
    return join([paragraph("; ".join(part for part in said if part)), found])


def lazy_pages(report: Report) -> Markup:
    """Lazy pages by state, and the ranges that are reserved."""
    lazy, count = report.lazy, STYLE.count
    states, names = lazy.states, task_names(report.context.scheduler)
    corrupt = f", {states.corrupt:,} corrupt" if states.corrupt else ""
    said = paragraph(
        f"{len(lazy.pages):,} reserved: {states.pending:,} pending, {states.zero:,} zero, "
        f"{states.allocated:,} allocated{corrupt}. Zero page at {STYLE.address(lazy.zero_frame)}."
    )
    ranges = lazy.ranges or ()
    rows = []
    for reserved in ranges[:_RANGES_SHOWN]:
        pages = lazy.pages_of(reserved)
        of_range = pages.count_states()
        rows.append(
            (
                str(reserved.number),
                STYLE.address(pages[0].virtual_address if pages else None),
                count(reserved.pages),
                *(count(of_range[state]) for state in ("pending", "zero", "allocated")),
                count(pages.count_accesses()),
                STYLE.owner(reserved.owner, names),
            )
        )
    headers = ("range", "from", "pages", "pending", "zero", "allocated", "accesses", "task")
    found = table("Ranges of lazy pages", headers, rows, headers[2:7]) if rows else EMPTY
    return join([said, found, and_more(len(ranges), len(rows), "range")])
