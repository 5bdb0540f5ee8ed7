"""The view of `tinyos report`."""

from __future__ import annotations

from gdbplugin.commands import pressure, stats
from gdbplugin.commands.encoding import members
from gdbplugin.kernel.report import Report
from gdbplugin.kernel.tasks import task_names
from gdbplugin.records import asdict
from gdbplugin.render import context, events, lazy, stacks
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def content(report: Report) -> dict[str, Any]:
    """The report's part of its JSON object: those of all the other views, one beside the other."""
    return {
        "changing": report.changing,
        **members(report.counters),
        "stacks": [asdict(stack) for stack in report.stacks.stacks],
        "stack_manager": stacks.manager_content(report.stacks),
        "running": [asdict(running) for running in report.running],
        "lazy": lazy.allocator_object(report.lazy, report.lazy.pages),
        "pages": lazy.PageObjects(report.lazy.pages),
        **members(report.pressure),
        **context.content(report.context),
        "recorded": None if report.events is None else report.events.recorded,
        "events": None if report.events is None else events.event_objects(report.events.events),
    }


def text(report: Report, style: Style) -> str:
    """The report as a screen or two of text."""
    names = task_names(report.context.tasks)
    return style.sections(
        [
            _summary(report, style),
            stacks.section(report.stacks, report.running, names, report.context.clock, style),
            lazy.section(report.lazy, report.lazy.ranges or (), names, style),
            pressure.section(report.pressure, style),
            context.summary(report.context, style),
            context.cores(report.context, style),
            "" if report.events is None else events.section(report.events, style),
        ],
        report,
    )


def _summary(report: Report, style: Style) -> str:
    summary = stats.summary(
        report.counters,
        style,
        strategies=report.pressure.pressure.strategies is not None,
        spaces=report.context.spaces.spaces is not None,
    )
    lines = [line for name, value in summary for line in style.entry(name, value, 11)]
    return "\n".join([style.title("TinyOS dynamic memory"), *lines])
