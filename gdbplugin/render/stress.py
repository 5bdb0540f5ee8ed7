"""The view of `tinyos stress`."""

from __future__ import annotations

from gdbplugin.kernel.accounting import Accounting
from gdbplugin.kernel.stress import StressRun
from gdbplugin.records import asdict
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def content(run: StressRun) -> dict[str, Any]:
    """The run's part of its JSON object. `stats` are the counters after it, `seconds` the kernel's own."""
    return {
        "result": run.result,
        "progress": run.progress,
        "progress_total": run.progress_total,
        "seconds": run.seconds,
        "stats": asdict(run.after.stats),
        "stats_before": asdict(run.before.stats),
        "counters": run.after.counters,
        "counters_before": run.before.counters,
        "changes": run.changes,
        "level": run.after.pressure.level,
        "levels_entered": run.levels_entered,
        "strategies": [
            {"strategy": name, "run_count": runs, "total_won": won}
            for name, (runs, won) in run.strategies.items()
        ],
        "frames_before": _frames(run.before.frames),
        "frames_after": _frames(run.after.frames),
        "frames_lost": run.frames_lost,
    }


def _frames(frames: Accounting | None) -> dict[str, int] | None:
    if frames is None:
        return None
    return {**asdict(frames), "owned": frames.owned, "lost": frames.lost}


def text(run: StressRun, style: Style) -> str:
    """The run as text."""
    parts = [_headline(run, style), _counters(run, style), _pressure(run, style), _frame_lines(run, style)]
    return "\n".join(parts) + "\n" + style.noticed(run)


def _headline(run: StressRun, style: Style) -> str:
    paint = {"passed": style.good, "cancelled": style.warning}.get(run.result, style.bad)
    how = f"Stress test: {paint(run.result)}"
    if run.result == "cancelled":
        how += f" at {run.progress} of {run.progress_total} steps"
    if run.seconds is not None:
        how += f", {run.seconds:.2f} s of the kernel's time"
    return "\n".join(style.wrapped(how))


def _counters(run: StressRun, style: Style) -> str:
    stats, before, after = vars(run.before.stats), run.before.values, run.after.values
    rows = [
        (name, style.count(before[name]), style.count(after[name]), signed(change, style))
        for name, change in run.changes.items()
        if name in stats or change != 0
    ]
    headers = ("counter", "before", "after", "change")
    return style.table(headers, rows, headers[1:], dispensable=("before",))


def signed(change: int | None, style: Style) -> str:
    """A change with its sign; nothing for none, as that is easier to overlook."""
    if change is None:
        return style.missing
    return f"{change:+,}" if change else ""


def _pressure(run: StressRun, style: Style) -> str:
    entered = ", ".join(f"{level} {count:,}" for level, count in run.levels_entered.items())
    strategies = "; ".join(
        f"{name} {style.counted(runs, 'run')}, won {style.count(won)}"
        for name, (runs, won) in run.strategies.items()
    )
    level = style.text(run.after.pressure.level)
    lines = style.wrapped(f"  Pressure: {level} again; levels entered: {entered or style.missing}")
    lines += style.wrapped(f"  Strategies: {strategies or style.missing}")
    return "\n".join(lines)


def _frame_lines(run: StressRun, style: Style) -> str:
    before, after = run.before.frames, run.after.frames
    if after is None:
        return "\n".join(style.wrapped(f"  Frames: {style.missing}, the kernel was amid a change"))
    lost = run.frames_lost or 0
    said = style.good("none lost") if not lost else style.bad(f"{lost:,} LOST")
    used = style.count(before.used if before is not None else None)
    owned = [
        style.counted(after.tables, "table"),
        style.counted(after.lazy_pages, "lazy page"),
        style.counted(after.stack_pages, "stack page"),
        style.counted(after.task_pages, "task page"),
        style.counted(after.zero_pages, "zero page"),
    ]
    line = f"  Frames: {said}; {used} used before, {after.used:,} after, all owned by {', '.join(owned)}"
    return "\n".join(style.wrapped(line, "    "))
