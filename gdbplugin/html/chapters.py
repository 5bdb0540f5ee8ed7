"""What a page says in words and tables: findings, counters, tasks with their backtraces, the difference."""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.commands import backtrace as backtrace_command
from gdbplugin.commands import diff, events, stats
from gdbplugin.commands import tasks as tasks_command
from gdbplugin.html.markup import (
    EMPTY,
    STYLE,
    Markup,
    and_more,
    element,
    facts,
    folded,
    join,
    listed,
    paragraph,
    table,
)
from gdbplugin.kernel.backtrace import Backtrace, Backtraces, Frame
from gdbplugin.kernel.check_state import Check
from gdbplugin.kernel.diff_rows import Difference, Row
from gdbplugin.kernel.events import EventList
from gdbplugin.kernel.interface import FailureRecord
from gdbplugin.kernel.snapshot import Report
from gdbplugin.kernel.spaces import Context, CoreContext
from gdbplugin.kernel.task_list import TaskList
from gdbplugin.records import asdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.html.contents import Contents

_FINDINGS_SHOWN = 200
_FRAMES_SHOWN = 60
_ROWS_SHOWN = 200


def findings(contents: Contents) -> Markup:
    """What is wrong, and how far all this can be trusted."""
    diagnostics = contents.diagnostics
    shown = [
        join([element("b", one.object), f": expected {one.expected}; found {one.found}"])
        for one in diagnostics.findings[:_FINDINGS_SHOWN]
    ]
    return join(
        [
            EMPTY if contents.failure is None else failure(contents.failure),
            listed(shown, "findings") if shown else paragraph("No findings.", class_="good"),
            and_more(diagnostics.finding_count, len(shown), "finding"),
            EMPTY if contents.check is None else _compared(contents.check),
            listed((f"Note: {note}" for note in diagnostics.notes), "notes") if diagnostics.notes else EMPTY,
        ]
    )


def failure(record: FailureRecord) -> Markup:
    """What stopped the kernel."""
    address = STYLE.address
    pairs = [
        ("kind", record.kind_name),
        ("core", STYLE.text(record.core)),
        ("task", STYLE.text(record.task)),
        ("PC", address(record.link_address)),
        ("ESR_EL1", address(record.syndrome)),
        ("FAR_EL1", address(record.fault_address)),
        ("SP", address(record.stack_pointer)),
    ]
    said = paragraph(element("b", "The kernel has failed: "), record.message or "it gave no message")
    return element("div", said, facts(pairs), class_="failure")


def _compared(check: Check) -> Markup:
    counts = asdict(check.checked).items()
    said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts if count is not None)
    changing = ""
    if check.changing and check.transient_count:
        changing = f" {check.transient_count:,} disagreements during a change are not findings."
    return paragraph(f"Compared with the hardware's tables: {said}.{changing}")


def summary(report: Report) -> Markup:
    """The counters in a few lines."""
    has_spaces = report.context.spaces.spaces is not None
    has_strategies = report.pressure.pressure.strategies is not None
    return facts(stats.summary(report.counters, STYLE, strategies=has_strategies, spaces=has_spaces))


def tasks(shown: TaskList) -> Markup:
    """The tasks that live, as a table; the others counted."""
    living = [entry for entry in shown.tasks if entry.task.is_alive]
    rows = [
        (
            STYLE.text(entry.task.id),
            entry.task.name,
            tasks_command.state_of(entry, shown.clock, STYLE),
            STYLE.text(entry.asid),
            STYLE.text(entry.core),
            STYLE.count(entry.task.switch_count),
            STYLE.duration(shown.clock.seconds(entry.ran)),
            tasks_command.place_of(entry, STYLE),
        )
        for entry in living
    ]
    held = " All tasks are held." if shown.is_held else ""
    said = paragraph(f"{len(living):,} alive, {len(shown.tasks) - len(living):,} ended on record.{held}")
    headers = ("task", "name", "state", "ASID", "core", "switches", "ran", "continues at")
    right = ("task", "ASID", "core", "switches", "ran")
    return join([said, table("Tasks that live", headers, rows, right)])


def backtraces(shown: Backtraces) -> Markup:
    """Every backtrace; those of what runs are unfolded, but for cores that are parked."""
    return join(map(_backtrace, shown.backtraces))


def _backtrace(one: Backtrace) -> Markup:
    items: list[str] = []
    for frame in one.frames[:_FRAMES_SHOWN]:
        if frame.is_interrupted:
            items.append(element("li", "interrupted by an exception", class_="interrupted"))
        items.append(_frame(frame))
    more = and_more(len(one.frames), min(len(one.frames), _FRAMES_SHOWN), "frame")
    end = EMPTY if one.broken is None else paragraph(f"No more frames: {one.broken}", class_="broken")
    frames = element("ol", *items, class_="frames")
    runs = one.core is not None and (one.task is not None or len(one.frames) > 1)
    return folded(backtrace_command.title_of(one), frames, more, end, is_open=runs)


def _frame(frame: Frame) -> Markup:
    function = frame.function or "??"
    if frame.offset:
        function += f" + {frame.offset}"
    place = "inlined" if frame.is_inlined else STYLE.address(frame.pc)
    where = STYLE.source(frame.file, frame.line)
    return element("li", f"#{frame.number} ", element("code", function), f" {place}{where}")


def context(shown: Context) -> Markup:
    """What each core translates by, and the address spaces counted."""
    rows = [_core(core) for core in shown.cores]
    headers = ("core", "level", "MMU", "TTBR0_EL1", "ASID", "TTBR1_EL1", "address space")
    spaces, count = shown.spaces, STYLE.count
    said = f"{count(spaces.switch_count)} switches of address spaces"
    if spaces.spaces is not None:
        said = (
            f"{len(spaces.spaces):,} address spaces, {said}, "
            f"{count(spaces.fast_switch_count)} without any invalidation"
        )
    return join([paragraph(f"{said}."), table("Cores", headers, rows, ("core", "ASID"))])


def _core(core: CoreContext) -> tuple[str, ...]:
    level = STYLE.missing if core.exception_level is None else f"EL{core.exception_level}"
    mmu = {None: STYLE.missing, True: "on", False: "off"}[core.mmu_enabled]
    low, high = core.ttbr0, core.ttbr1
    return (
        str(core.core),
        level,
        mmu,
        STYLE.missing if low is None else f"{low.value:#018x}",
        STYLE.missing if low is None else str(low.asid),
        STYLE.missing if high is None else f"{high.value:#018x}",
        STYLE.text(core.space),
    )


def newest_events(shown: EventList) -> Markup:
    """The newest events, with what they mean."""
    rows = [
        (
            STYLE.text(event.sequence),
            STYLE.duration(shown.clock.ago(event.timestamp)),
            STYLE.text(event.core),
            STYLE.text(event.asid),
            STYLE.text(event.kind),
            events.meaning(event, shown.names),
        )
        for event in shown.events
    ]
    headers = ("number", "ago", "core", "ASID", "kind", "meaning")
    return table(f"Newest of {STYLE.count(shown.recorded)} events since boot", headers, rows, headers[:4])


def difference(found: Difference) -> Markup:
    """What changed, each change beside the events that explain it."""
    moments = f"From {found.before.label} to {found.after.label}, {diff.between(found, STYLE)}."
    if not found.rows:
        return paragraph(f"{moments} Nothing changed.")
    states, pages, counters = diff.grouped(found)
    counted = f"Counters and times ({STYLE.counted(len(counters), 'change')})"
    objects = _changes("Objects", diff.OBJECT_HEADERS, states, found)
    parts = [objects, _changes("Pages", diff.PAGE_HEADERS, pages, found)]
    if counters:
        parts.append(folded(counted, _changes("Counters and times", diff.OBJECT_HEADERS, counters, found)))
    return join([paragraph(moments), *parts])


def _changes(title: str, headers: Sequence[str], rows: Sequence[Row], found: Difference) -> Markup:
    if not rows:
        return EMPTY
    cells = diff.page_cells if headers == diff.PAGE_HEADERS else diff.object_cells
    shown = [cells(row, found, STYLE) for row in diff.limited(rows, _ROWS_SHOWN)]
    caption = f"{title} ({STYLE.counted(len(rows), 'change')})"
    return join([table(caption, headers, shown), and_more(len(rows), len(shown), "change")])
