"""`tinyos lazy`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.interface import Clock
    from gdbplugin.kernel.lazy import LazyPages, LazyRange
    from gdbplugin.kernel.lazy_list import LazyList, LazyPageDetail
    from gdbplugin.kernel.target import Target
    from gdbplugin.kernel.tasks import Names
    from gdbplugin.render import Style

_RANGES_SHOWN = 12
_RUNS_SHOWN = 40


def read(
    target: Target,
    address: Address | None = None,
    *,
    state: str | None = None,
    asid: int | None = None,
    limit: int | None = None,
) -> LazyList:
    """The lazy pages of a state (pending, zero, allocated) or an ASID; or the one at an address."""
    from gdbplugin.kernel.lazy_list import read_lazy_list

    return read_lazy_list(
        target.required_kernel(),
        address=None if address is None else target.address(address),
        state=state,
        asid=asid,
        limit=limit,
    )


def show(shown: LazyList, style: Style) -> str:
    """Totals, ranges and runs; or one page and its descriptor."""
    from gdbplugin.kernel.tasks import task_names

    names = task_names(shown.scheduler)
    if shown.page is not None:
        return style.sections([_detail(shown.page, names, shown.clock, style)], shown)
    parts = [section(shown.lazy, shown.ranges, names, style), _runs(shown, names, style)]
    return style.sections(parts, shown)


def section(lazy: LazyPages, ranges: Sequence[LazyRange], names: Names, style: Style) -> str:
    """Totals by state of all pages, and some of the ranges."""
    from gdbplugin.kernel.lazy_table import STATES

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
    """What the allocator counts; in a kernel whose allocator counts nothing, its policy and index."""
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
    from gdbplugin.kernel.lazy_table import PAGE_BYTES

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
    from itertools import islice

    limit = min(_RUNS_SHOWN if shown.limit is None else shown.limit, shown.matching)
    # No more than are shown: there may be thousands.
    runs = list(islice(shown.lazy.runs, limit + 1))
    title = style.title(f"Runs of neighbours (of {shown.matching:,} pages)")
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
    """How long ago; the timer's count if the time now is not known."""
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


def offered_asids(target: Target) -> list[int]:
    """The ASIDs of address spaces that have lazy pages."""
    from gdbplugin.kernel import lazy_list

    return lazy_list.offered_asids(target)


ARGUMENTS = (
    Argument("ADDRESS", "show only the page that holds this address, with its descriptor", "address"),
)
LIMIT = Option("--limit", "show this many runs; with --json, this many pages", "number", "N")
OPTIONS = (
    Option("--state", "only pages of this state", "text", choices=("pending", "zero", "allocated")),
    Option(
        "--asid",
        "only pages of the address space with this ASID",
        "number",
        "N",
        complete=offered_asids,
    ),
    LIMIT,
)
HELP = """Show the lazy pages by state and range, or one of them and its descriptor.

Pages are pending (only reserved), zero (the shared zero page is mapped there, read-only) or allocated
(they have a frame of their own). Neighbours of one state and task are summed up.
With an ADDRESS, which can be a GDB expression: that page's record, and the walk to its descriptor.
"""
COMMAND = Command(
    "lazy",
    Form(
        "tinyos.lazy/1",
        read,
        show,
        rows=lambda found: found.pages,
        count=lambda found: found.matching,
        first=LIMIT,
    ),
    help=HELP,
    letter="l",
    arguments=ARGUMENTS,
    options=OPTIONS,
)
