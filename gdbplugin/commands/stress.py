"""`tinyos stress`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.kernel_test import StressRun
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(target: Target) -> StressRun:
    """Let the target run the stress test. Returns what it changed."""
    from gdbplugin.kernel.kernel_test import STRESS

    run: StressRun = target.run_test(STRESS)
    return run


def read_last(target: Target) -> StressRun:
    """The latest run of the stress test again."""
    from gdbplugin.kernel.kernel_test import STRESS

    run: StressRun = target.last_test(STRESS)
    return run


def show(run: StressRun, style: Style) -> str:
    """The run as text."""
    parts = [_headline(run, style), _counters(run, style), _pressure(run, style), _frame_lines(run, style)]
    return "\n".join(parts) + "\n" + style.diagnostics(run)


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
    """A change with its sign; nothing for 0, so that the others stand out."""
    if change is None:
        return style.missing
    return f"{change:+,}" if change else ""


def _pressure(run: StressRun, style: Style) -> str:
    entered = ", ".join(f"{level} {count:,}" for level, count in run.levels_entered.items())
    strategies = "; ".join(
        f"{entry.strategy} {style.counted(entry.run_count, 'run')}, gain {style.count(entry.total_won)}"
        for entry in run.strategies
    )
    level = style.text(run.level)
    lines = style.wrapped(f"  Pressure: {level} again; levels entered: {entered or style.missing}")
    lines += style.wrapped(f"  Strategies: {strategies or style.missing}")
    return "\n".join(lines)


def _frame_lines(run: StressRun, style: Style) -> str:
    before, after = run.frames_before, run.frames_after
    if after is None:
        return "\n".join(
            style.wrapped(f"  Frames: {style.missing}, the kernel was in the middle of a change")
        )
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


HELP = """Run the kernel's stress test in the target, and show what it did to every counter.

The target runs: tasks fill the memory until the pressure is critical, then they end, and no frame may be
lost. The command asks for the test by writing a word of the kernel's interface for debuggers, so it works
on any connection. The target stops when the test ends. Ctrl-C ends the test early, and the target stops
too. If one of your breakpoints stops the target, give the command again: it waits for the same test to end.
"""
COMMAND = Command(
    "stress",
    Form("tinyos.stress/1", read, show, runs_target=True),
    help=HELP,
    letter="t",
    options=(
        Option(
            "--last",
            "only show the latest run again",
            form=Form("tinyos.stress/1", read_last, show),
        ),
    ),
)
