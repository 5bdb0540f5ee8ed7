"""The view of `tinyos lazy`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from gdbplugin.kernel.clock import Clock
from gdbplugin.kernel.lazy import PAGE_BYTES, STATES, LazyPages, LazyRange, LazyTable
from gdbplugin.kernel.tasks import Names, task_names
from gdbplugin.records import asdict
from gdbplugin.render.encoding import Nested
from gdbplugin.render.parts import clock_content
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.lazy_list import LazyList, LazyPageDetail

_RANGES_SHOWN = 12
_RUNS_SHOWN = 40
_FLAGS: dict[Any, str] = {0: "false", 1: "true"}


def content(shown: LazyList) -> dict[str, Any]:
    """The lazy pages' part of their JSON object."""
    return {
        "lazy": allocator_object(shown.lazy, shown.matching),
        "matching": len(shown.matching),
        "pages": PageObjects(shown.matching[: shown.limit]),
        "page": None if shown.detail is None else _detail_object(shown.detail),
        "time": clock_content(shown.clock),
    }


def allocator_object(lazy: LazyPages, pages: LazyTable) -> Nested:
    """The allocator in a JSON object: counters, ranges, pages by state; the given pages as runs."""
    found = {name: value for name, value in vars(lazy).items() if name != "pages"}
    found["ranges"] = None if lazy.ranges is None else [asdict(reserved) for reserved in lazy.ranges]
    states = lazy.pages.count_states()
    found["states"] = {state: states[state] for state in STATES}
    found["runs"] = RunObjects(pages)
    return Nested(found)


class RunObjects:
    """The runs of lazy pages as a list of objects, in JSON; written out as `PageObjects` are."""

    def __init__(self, pages: LazyTable) -> None:
        self._pages = pages

    def json(self) -> str:
        """The text."""
        texts = [
            f'{{"start": {start}, "end": {end}, "state": "{state}", '
            f'"owner": {"null" if owner is None else owner}, "access_count": {count}, '
            f'"pages": {(end - start) // PAGE_BYTES}}}'
            for start, end, state, owner, count in self._pages.runs()
        ]
        return "[" + ", ".join(texts) + "]"


class PageObjects:
    """Lazy pages as a list of objects of the kernel's field names, in JSON.

    Written out here, as tens of thousands of them take three times as long by way of dicts.
    """

    def __init__(self, pages: LazyTable) -> None:
        self._pages = pages

    def json(self) -> str:
        """The text."""
        rows = self._pages.rows
        if any(None in row for row in rows[:1]):
            # A kernel without one of the fields has it in no row.
            rows = [tuple("null" if value is None else value for value in row) for row in rows]
        flags: dict[Any, str] = {
            number: _FLAGS.get(number, "null") for pair in self._pages.flags for number in pair
        }
        flags["null"] = "null"
        texts = [
            f'{{"virtual_address": {virtual}, "physical_address": {physical}, '
            f'"is_allocated": {flags[allocated]}, "is_zero_page": {flags[zero]}, '
            f'"owner": {owner}, "access_count": {count}, "allocation_time": {time}}}'
            for virtual, physical, allocated, zero, owner, count, time in rows
        ]
        return "[" + ", ".join(texts) + "]"


def _detail_object(detail: LazyPageDetail) -> dict[str, Any]:
    walk = detail.translation
    return {
        **asdict(detail.page),
        "state": detail.state,
        "record": detail.record,
        "range": None if detail.range is None else asdict(detail.range),
        "output": None if walk is None else walk.output,
        "levels": []
        if walk is None
        else [{**vars(level), "address": level.address, "kind": level.kind.value} for level in walk.levels],
        "fault": None if walk is None or walk.fault is None else asdict(walk.fault),
    }


def text(shown: LazyList, style: Style) -> str:
    """Totals, ranges and runs; or one page and its descriptor."""
    names = task_names(shown.tasks)
    if shown.detail is not None:
        return style.sections([_detail(shown.detail, names, shown.clock, style)], shown)
    parts = [section(shown.lazy, shown.ranges, names, style), _runs(shown, names, style)]
    return style.sections(parts, shown)


def section(lazy: LazyPages, ranges: Sequence[LazyRange], names: Names, style: Style) -> str:
    """Totals by state of all pages, and some of the ranges."""
    states = lazy.pages.count_states()
    totals = ", ".join(
        f"{states[state]:,} {state}" for state in STATES if state != "corrupt" or states[state]
    )
    zero = "" if lazy.zero_frame is None else f"; zero page at {style.address(lazy.zero_frame)}"
    lines = [
        style.title(f"Lazy pages ({len(lazy.pages):,}: {totals}{zero})"),
        *_counted(lazy, style),
    ]
    rows = [_range(reserved, lazy, names, style) for reserved in ranges[:_RANGES_SHOWN]]
    if rows:
        headers = ("range", "from", "size", "pages", "pending", "zero", "allocated", "accesses", "task")
        right, least = (headers[0], *headers[2:-1]), ("accesses", "size", "pages")
        lines.append(style.table(headers, rows, right, dispensable=least))
    if len(ranges) > _RANGES_SHOWN:
        lines.append(f"  and {style.counted(len(ranges) - _RANGES_SHOWN, 'more range')}")
    return "\n".join(lines)


def _counted(lazy: LazyPages, style: Style) -> list[str]:
    """What the allocator counts; or, of a kernel that counts nothing there, what it goes by."""
    count = style.count
    if lazy.allocation_policy is not None or lazy.next_page_index is not None:
        policy = [] if lazy.allocation_policy is None else [f"policy {lazy.allocation_policy}"]
        index = [] if lazy.next_page_index is None else [f"next page index {count(lazy.next_page_index)}"]
        return style.wrapped("  " + ", ".join(policy + index))
    if lazy.ranges is None and lazy.zero_fault_count is None:
        return []
    return [
        *style.wrapped(
            f"  faults: {count(lazy.zero_fault_count)} mapped the zero page, "
            f"{count(lazy.allocate_fault_count)} allocated, {count(lazy.upgrade_fault_count)} replaced it"
        ),
        *style.wrapped(
            f"  {count(lazy.access_flag_count)} access flag hits, {count(lazy.fold_count)} folded back"
        ),
    ]


def _range(reserved: LazyRange, lazy: LazyPages, names: Names, style: Style) -> tuple[str, ...]:
    pages = lazy.pages_of(reserved)
    states = pages.count_states()
    return (
        style.text(reserved.number),
        style.address(pages[0].virtual_address if pages else None),
        style.size(None if reserved.pages is None else reserved.pages * PAGE_BYTES),
        style.count(reserved.pages),
        *(style.count(states[state]) for state in ("pending", "zero", "allocated")),
        style.count(pages.count_accesses()),
        style.owner(reserved.owner, names),
    )


def _runs(shown: LazyList, names: Names, style: Style) -> str:
    """Neighbouring pages of one state and owner, summed."""
    limit = min(_RUNS_SHOWN if shown.limit is None else shown.limit, len(shown.matching))
    # No more than are shown: there may be thousands.
    runs = list(islice(shown.matching.runs(), limit + 1))
    title = style.title(f"Runs of neighbours (of {len(shown.matching):,} pages)")
    rows: list[tuple[str, ...]] = [
        (
            f"{style.address(run.start)}-{style.address(run.end)}",
            style.count(run.pages),
            run.state,
            style.count(run.access_count),
            style.owner(run.owner, names),
        )
        for run in runs[:limit]
    ]
    if not rows:
        return title
    headers: tuple[str, ...] = ("addresses (end exclusive)", "pages", "state", "accesses", "task")
    if all(run.owner is None for run in runs):
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    found = style.table(headers, rows, ("pages", "accesses"), dispensable=("accesses",))
    more = "\n  and more; --limit N shows N of them" if len(runs) > limit else ""
    return title + "\n" + found + more


def _detail(detail: LazyPageDetail, names: Names, clock: Clock, style: Style) -> str:
    page, reserved = detail.page, detail.range
    own = [] if page.owner is None else [("owner", f"task {style.owner(page.owner, names)}")]
    lines = [
        ("state", detail.state),
        *own,
        ("frame", style.address(None if detail.state == "pending" else page.physical_address)),
        ("accesses", style.count(page.access_count)),
        (
            "allocated",
            _when(page.allocation_time, clock, style),
        ),
        ("record", f"{detail.record:,}"),
        *([] if reserved is None else [("range", _reserved(reserved, style))]),
    ]
    body = "\n".join(line for name, value in lines for line in style.entry(name, value, 10))
    title = style.title(f"Lazy page {style.address(page.virtual_address)}")
    why = (
        "its owner has no active address space"
        if own
        else "the MMU is off: a virtual address is a physical one"
    )
    return f"{title}\n{body}\n{_walk(detail, why, style)}"


def _when(time: int | None, clock: Clock, style: Style) -> str:
    """How long ago; as the timer's count where the time now is not known."""
    if not time:
        return "never"
    return f"at {time:,}" if clock.now is None else f"{style.duration(clock.ago(time))} ago"


def _reserved(reserved: LazyRange, style: Style) -> str:
    """A range by its number, as other commands name it."""
    first = style.count(reserved.first)
    return f"{style.text(reserved.number)}, {style.counted(reserved.pages, 'page')} from record {first}"


def _walk(detail: LazyPageDetail, why: str, style: Style) -> str:
    walk = detail.translation
    if walk is None:
        return "\n".join(style.entry("walk", why, 10))
    lines = [
        line
        for level in walk.levels
        for line in style.entry(
            f"level {level.level}",
            f"{level.descriptor:#018x} at {level.address:#x}: {level.kind.value}",
            10,
        )
    ]
    if walk.fault is not None:
        said = f"{walk.fault.title} at level {walk.fault.level}: {walk.fault.reason}"
        lines += style.entry("fault", said, 10)
    else:
        said = style.address(walk.output)
        if detail.permissions is not None:
            said += "".join(f", {level} {letters}" for level, letters in detail.permissions.items())
        elif walk.attributes is not None:
            said += f", {walk.attributes.el0} at EL0"
        if detail.other_frame is not None:
            said += f"; the frame on record is {style.address(detail.other_frame)}"
        lines += style.entry("maps to", said, 10)
    return "\n".join(lines)
