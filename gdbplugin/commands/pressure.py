"""`tinyos pressure`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.pressure import PressureState
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(target: Target) -> PressureState:
    """The level of memory pressure, the frames, and the strategies against it."""
    from gdbplugin.kernel.pressure import read_pressure_state

    return read_pressure_state(target.required_kernel())


_BAR_WIDTHS = 10, 60
_BESIDE = 40
"""What is said beside the bar takes no more than that."""


def show(state: PressureState, style: Style) -> str:
    """The level, the frames, the thresholds on a bar, the strategies, and who owns the frames."""
    return style.sections([section(state, style), _quotas(state, style)], state)


def section(state: PressureState, style: Style) -> str:
    """All of it."""
    from gdbplugin.kernel.pressure import LEVELS

    pressure, frames, count = state.pressure, state.frames, style.count
    changed = state.clock.ago(pressure.last_change_time)
    since = "" if changed is None else f", for {style.duration(changed)}"
    lines = [
        *style.wrapped(style.title("Pressure:") + " " + style.level(pressure.level) + since),
    ]
    if frames is not None:
        lines += style.wrapped(
            f"  {count(frames.free_frames)} free, {count(frames.cached_frames)} cached, "
            f"{count(frames.used_frames)} used, {count(frames.retired_frames)} retired of "
            f"{count(frames.total_frames)} frames of 4 KiB at {style.address(frames.base)}"
        )
        lines += _bar(state, style)
    lines += _of_design(state, style)
    if pressure.level_events is not None:
        entered = zip(LEVELS, pressure.level_events, strict=False)
        lines += style.wrapped("  entered: " + ", ".join(f"{level} {number:,}" for level, number in entered))
    strategies = _strategies(state, style)
    return "\n".join([*lines, strategies] if strategies else lines)


def _of_design(state: PressureState, style: Style) -> list[str]:
    """What other kernels of this design keep: borders in a unit of their own, and counts."""
    from gdbplugin.kernel.pressure import LEVELS

    pressure = state.pressure
    lines: list[str] = []
    if pressure.pressure_thresholds is not None:
        borders = zip(LEVELS, pressure.pressure_thresholds, strict=False)
        said = ", ".join(f"{level} {border:,}" for level, border in borders)
        lines += style.wrapped(f"  thresholds, in the kernel's own unit: {said}")
    if pressure.pressure_events is not None:
        lines += style.wrapped(f"  level changes: {pressure.pressure_events:,}")
    if pressure.last_pressure_check:
        lines += style.wrapped(f"  last looked at the timer's count {pressure.last_pressure_check:,}")
    return lines


def _bar(state: PressureState, style: Style) -> list[str]:
    """Free frames against the limit, and below it where each level begins."""
    from gdbplugin.kernel.pressure import LEVELS

    pressure, count = state.pressure, style.count
    limit = pressure.limit_frames
    borders = list(zip(LEVELS[1:], pressure.thresholds or (), strict=False))
    width = style.left(_BESIDE, *_BAR_WIDTHS)
    lines = style.wrapped(
        f"  {style.gauge(state.free, limit, width)}  {count(state.free)} of {count(limit)} frames available",
        "  ",
    )
    above = lines.pop(0)
    marks = [" "] * width
    for level, border in borders:
        if limit and border.enter_below is not None:
            marks[min(width - 1, max(0, width * border.enter_below // limit))] = level[0]
    if any(mark != " " for mark in marks):
        lines.insert(0, ("  " + "".join(marks)).rstrip())
    levels = ", ".join(
        f"{level} below {count(border.enter_below)} until {count(border.leave_at)}"
        for level, border in borders
    )
    return [above, *lines, *style.wrapped(f"  {levels or style.missing}")]


def _strategies(state: PressureState, style: Style) -> str:
    rows = [
        (
            style.text(entry.strategy),
            style.count(entry.run_count),
            style.count(entry.skip_count),
            style.count(entry.last_won),
            style.count(None if entry.average_won is None else entry.average_won // 16),
            style.count(entry.total_won),
            state.units.get(entry.strategy or "", ""),
            style.count(entry.pages_moved),
            style.duration(state.clock.ago(entry.last_run_time)),
        )
        for entry in state.pressure.strategies or ()
    ]
    headers = ("strategy", "runs", "skipped", "last gain", "average", "total gain", "", "moved", "last run")
    if not rows:
        return ""
    right = ("runs", "skipped", "last gain", "average", "total gain", "moved", "last run")
    least = ("last run", "last gain", "skipped", "moved", "average")
    return style.table(headers, rows, right, dispensable=least)


def _quotas(state: PressureState, style: Style) -> str:
    """The tasks by the frames that they own. The first one ends when there is none left for another."""
    rows = [
        (
            str(one.task),
            style.count(one.frames.used),
            style.count(one.frames.max),
            style.count(one.ranges.used),
            style.count(one.ranges.max),
            style.count(one.pages.used),
            style.count(one.pages.max),
        )
        for one in state.quotas or ()
    ]
    headers = ("task", "frames", "quota", "ranges", "quota of ranges", "lazy pages", "quota of pages")
    if not rows:
        return ""
    return (
        style.title("Frames by task") + "\n" + style.table(headers, rows, headers, dispensable=headers[:1:-1])
    )


HELP = """Show memory pressure: its level, the frames, and the strategies against it.

Under the bar of free frames M, H and C mark where Medium, High and Critical begin. Each strategy is
listed with its runs and its gain, in frames or in frames of the longest free run: how many the last one
brought, how many are expected, and all; and with the pages that it moved. Then come the tasks by the
frames that they own, with their quotas: if no frame is left for a task, the one that owns the most ends.
"""
COMMAND = Command(
    "pressure",
    Form("tinyos.pressure/1", read, show, rows=lambda found: found.pressure.strategies),
    help=HELP,
    letter="p",
)
