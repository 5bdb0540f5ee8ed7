"""`tinyos report`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.snapshot import Report
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(target: Target) -> Report:
    """Everything the other TinyOS commands show, at one stop."""
    from gdbplugin.kernel.snapshot import read_report

    return read_report(target.required_kernel())


def show(report: Report, style: Style) -> str:
    """The report as a screen or two of text."""
    from gdbplugin.commands import context, events, lazy, pressure, stacks
    from gdbplugin.kernel.tasks import task_names

    names = task_names(report.context.scheduler)
    return style.sections(
        [
            _summary(report, style),
            stacks.section(report.stacks, report.running, names, report.context.clock, style),
            lazy.section(report.lazy, report.lazy.ranges or (), names, style),
            pressure.section(report.pressure, style),
            context.summary(report.context, style),
            context.cores(report.context, style),
            "" if report.recent is None else events.section(report.recent, style),
        ],
        report,
    )


def _summary(report: Report, style: Style) -> str:
    from gdbplugin.commands import stats

    summary = stats.summary(
        report.counters,
        style,
        strategies=report.pressure.pressure.strategies is not None,
        spaces=report.context.spaces.spaces is not None,
    )
    lines = [line for name, value in summary for line in style.entry(name, value, 11)]
    return "\n".join([style.title("TinyOS dynamic memory"), *lines])


HELP = """Show all of TinyOS's dynamic memory management on one page.

Counters, every dynamic stack, lazy pages by state and range, memory pressure and its strategies,
address spaces, and each core's exception level and translation tables.
It works wherever the CPU was stopped, and only reads.
"""
COMMAND = Command(
    "report",
    Form("tinyos.report/1", read, show),
    help=HELP,
    letter="r",
)
