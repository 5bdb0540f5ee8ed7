"""The view of `tinyos report`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gdbplugin.aarch64.cores import Core, TableRegister
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.lazy import PAGE_BYTES, STATES, LazyPages, LazyRange
from gdbplugin.kernel.report import Report
from gdbplugin.kernel.tasks import Tasks
from gdbplugin.render.journal import journal_text
from gdbplugin.render.style import Style, indented, table

_RANGES_SHOWN = 12


def content(report: Report, journal: Journal) -> dict[str, Any]:
    """The report's part of its JSON object."""
    del journal  # Its findings and notes stand beside, in every command's object.
    lazy = {name: value for name, value in vars(report.lazy).items() if name != "pages"}
    lazy["ranges"] = [asdict(reserved) for reserved in report.lazy.ranges]
    states = report.lazy.pages.count_states()
    lazy["states"] = {state: states[state] for state in STATES}
    lazy["runs"] = [{**vars(run), "pages": run.pages, "end": run.end} for run in report.lazy.pages.runs()]
    return {
        "changing": report.changing,
        "stats": asdict(report.stats),
        "stacks": [asdict(stack) for stack in report.stacks.stacks],
        "lazy": lazy,
        "pages": page_objects(report.lazy),
        "pressure": asdict(report.pressure),
        "frames": {**asdict(report.frames), "used_frames": report.frames.used_frames},
        "context": asdict(report.context),
        "tasks": asdict(report.tasks)["tasks"] if report.tasks else None,
        "current_task": report.tasks.current if report.tasks else None,
        "cores": [asdict(core) for core in report.cores],
    }


def page_objects(lazy: LazyPages) -> list[dict[str, Any]]:
    """Every lazy page as an object of the kernel's field names."""
    flags = {0: False, 1: True}
    return [
        {
            "virtual_address": virtual,
            "physical_address": physical,
            "is_allocated": flags.get(allocated),
            "is_zero_page": flags.get(zero),
            "owner": owner,
            "access_count": count,
            "allocation_time": time,
        }
        for virtual, physical, allocated, zero, owner, count, time in lazy.pages.rows
    ]


def text(report: Report, journal: Journal, style: Style) -> str:
    """The report as a screen or two of text."""
    sections = [
        _summary(report, style),
        _stacks(report, style),
        _lazy(report, style),
        _pressure(report, style),
        _spaces(report, style),
        _cores(report.cores, style),
    ]
    return "\n\n".join(section for section in sections if section) + "\n" + _behind(journal)


def _behind(journal: Journal) -> str:
    found = journal_text(journal)
    return "\n" + found if found else ""


def _summary(report: Report, style: Style) -> str:
    stats, frames = report.stats, report.frames
    count = style.count
    rows = [
        (
            "Stacks",
            f"{count(stats.active_dynamic_stacks)} active of {count(stats.total_dynamic_stacks)} created, "
            f"{count(stats.total_stack_growth_events)} growths, "
            f"{count(stats.total_stack_shrink_events)} shrinks",
        ),
        (
            "Lazy pages",
            f"{count(stats.total_lazy_pages)} reserved, {count(stats.allocated_lazy_pages)} allocated, "
            f"{count(stats.total_lazy_page_faults)} faults",
        ),
        (
            "Pressure",
            f"{style.text(report.pressure.level)}, {count(stats.memory_pressure_events)} level changes, "
            f"{count(stats.optimization_events)} strategy runs",
        ),
        (
            "Frames",
            f"{count(frames.free_frames)} free, {count(frames.cached_frames)} cached, "
            f"{count(frames.used_frames)} used, {count(frames.retired_frames)} retired "
            f"of {count(frames.total_frames)} of 4 KiB at {style.address(frames.base)}",
        ),
        (
            "Switches",
            f"{count(stats.context_switch_count)} of address spaces, "
            f"{count(report.context.fast_switch_count)} of them without any invalidation",
        ),
    ]
    return "TinyOS dynamic memory\n" + "\n".join(f"  {name:<11} {value}" for name, value in rows)


def _task_names(tasks: Tasks | None) -> dict[int | None, str]:
    return {task.id: task.name for task in tasks.tasks} if tasks else {}


def _owner(number: int | None, names: dict[int | None, str], style: Style) -> str:
    name = names.get(number)
    return f"{style.text(number)} {name}" if name else style.text(number)


def _stacks(report: Report, style: Style) -> str:
    names = _task_names(report.tasks)
    rows = [
        (
            style.text(stack.id),
            _owner(stack.owner, names, style),
            style.text(stack.policy),
            style.address(stack.base_address),
            style.size(stack.current_size),
            style.size(stack.max_size),
            style.gauge(stack.current_size, stack.max_size),
            style.size(stack.high_water_mark),
            style.count(stack.growth_count),
            style.count(stack.shrink_count),
            style.address(stack.stack_pointer),
        )
        for stack in report.stacks.active
    ]
    ended = len(report.stacks.stacks) - len(rows)
    title = f"Stacks ({len(rows)} active, {ended} ended on record)"
    if not rows:
        return title
    headers = ("id", "task", "policy", "base", "mapped", "of", "", "highest", "grown", "shrunk", "pointer")
    right = ("id", "mapped", "of", "highest", "grown", "shrunk")
    return title + "\n" + indented(table(headers, rows, right))


def _lazy(report: Report, style: Style) -> str:
    lazy = report.lazy
    states = lazy.pages.count_states()
    shown = ", ".join(f"{states[state]:,} {state}" for state in STATES if state != "corrupt" or states[state])
    faults = (
        f"  faults: {style.count(lazy.zero_fault_count)} mapped the zero page, "
        f"{style.count(lazy.allocate_fault_count)} allocated, {style.count(lazy.upgrade_fault_count)} "
        f"replaced it; {style.count(lazy.access_flag_count)} access flag hits, "
        f"{style.count(lazy.fold_count)} folded back"
    )
    zero_page = style.address(lazy.zero_frame)
    lines = [f"Lazy pages ({len(lazy.pages):,}: {shown}; zero page at {zero_page})", faults]
    names = _task_names(report.tasks)
    rows = [_range(reserved, lazy, names, style) for reserved in lazy.ranges[:_RANGES_SHOWN]]
    if rows:
        headers = ("from", "size", "pages", "pending", "zero", "allocated", "accesses", "task")
        lines.append(indented(table(headers, rows, headers[1:-1])))
    if len(lazy.ranges) > _RANGES_SHOWN:
        lines.append(f"  and {len(lazy.ranges) - _RANGES_SHOWN:,} more ranges")
    return "\n".join(lines)


def _range(
    reserved: LazyRange, lazy: LazyPages, names: dict[int | None, str], style: Style
) -> tuple[str, ...]:
    pages = lazy.pages_of(reserved)
    states = pages.count_states()
    return (
        style.address(pages[0].virtual_address if pages else None),
        style.size(None if reserved.pages is None else reserved.pages * PAGE_BYTES),
        style.count(reserved.pages),
        *(style.count(states[state]) for state in ("pending", "zero", "allocated")),
        style.count(pages.count_accesses()),
        _owner(reserved.owner, names, style),
    )


def _pressure(report: Report, style: Style) -> str:
    pressure, frames = report.pressure, report.frames
    free = None
    if frames.free_frames is not None and frames.cached_frames is not None:
        free = frames.free_frames + frames.cached_frames
    limit = pressure.limit_frames
    borders = ", ".join(
        f"{level} below {style.count(border.enter_below)} until {style.count(border.leave_at)}"
        for level, border in zip(("Medium", "High", "Critical"), pressure.thresholds, strict=False)
    )
    lines = [
        f"Pressure: {style.text(pressure.level)}",
        f"  {style.gauge(free, limit, 30)}  {style.count(free)} of {style.count(limit)} frames to be had",
        f"  {borders or style.missing}",
    ]
    if pressure.level_events is not None:
        levels = ("Low", "Medium", "High", "Critical")
        entered = zip(levels, pressure.level_events, strict=False)
        lines.append("  entered: " + ", ".join(f"{level} {count:,}" for level, count in entered))
    rows = [
        (
            style.text(entry.strategy),
            style.count(entry.run_count),
            style.count(entry.last_won),
            style.count(entry.total_won),
            style.count(entry.skip_count),
        )
        for entry in pressure.strategies
    ]
    if rows:
        headers = ("strategy", "runs", "won last", "won in all", "skipped")
        lines.append(indented(table(headers, rows, headers[1:])))
    return "\n".join(lines)


def _spaces(report: Report, style: Style) -> str:
    context = report.context
    asids, dropped = context.asids, context.invalidations
    count = style.count
    return "\n".join(
        [
            f"Address spaces ({len(context.spaces)}; number {style.text(context.current)} in TTBR0)",
            f"  ASIDs: {style.text(asids.bits)} bits, generation {count(asids.generation)}, "
            f"{count(asids.allocation_count)} handed out, {count(asids.rollover_count)} rollovers",
            f"  TLB invalidations: {count(dropped.by_address)} by address, {count(dropped.by_asid)} by ASID, "
            f"{count(dropped.everything)} of everything",
        ]
    )


def _cores(cores: tuple[Core, ...], style: Style) -> str:
    rows = []
    for core in cores:
        level = style.missing if core.exception_level is None else f"EL{core.exception_level}"
        mmu = {None: style.missing, True: "on", False: "off"}[core.mmu_enabled]
        rows.append(
            (str(core.core), level, mmu, *_register(core.ttbr0, style), *_register(core.ttbr1, style))
        )
    headers = ("core", "level", "MMU", "TTBR0_EL1", "base", "ASID", "TTBR1_EL1", "base", "ASID")
    return "Cores\n" + indented(table(headers, rows))


def _register(register: TableRegister | None, style: Style) -> tuple[str, str, str]:
    if register is None:
        return (style.missing,) * 3
    return f"{register.value:#018x}", style.address(register.base), str(register.asid)
