"""The view of `tinyos context --test`."""

from __future__ import annotations

from gdbplugin.kernel.context_test import ContextTestRun, TaskChange
from gdbplugin.records import asdict
from gdbplugin.render.stress import signed
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MEANINGS = {
    "switch_count": "switches of address spaces",
    "fast_switch_count": "  without any invalidation",
    "invalidations_by_address": "TLB invalidations by address",
    "invalidations_by_asid": "  by ASID",
    "invalidations_of_everything": "  of everything",
    "asid_allocations": "ASIDs handed out",
    "asid_rollovers": "ASID rollovers",
    "asid_generations": "ASID generations",
}


def content(run: ContextTestRun) -> dict[str, Any]:
    """The run's part of its JSON object. `seconds` are the kernel's own."""
    return {
        "result": run.result,
        "seconds": run.seconds,
        "changes": run.changes,
        "tasks": [asdict(task) for task in run.tasks],
    }


def text(run: ContextTestRun, style: Style) -> str:
    """The run as text."""
    paint = style.good if run.result == "passed" else style.bad
    headline = f"Context switching test: {paint(run.result)}"
    if run.seconds is not None:
        headline += f", {run.seconds:.2f} s of the kernel's time"
    lines = style.wrapped(headline)
    for name, change in run.changes.items():
        lines.append(f"  {_MEANINGS[name]:<30}{signed(change, style) or '0':>8}")
    rows = [
        (
            style.text(task.id),
            task.name,
            "started meanwhile" if task.is_new else "",
            signed(task.switches, style) or "0",
            _end(task, style),
        )
        for task in run.tasks
    ]
    if rows:
        headers = ("task", "name", "", "switches", "now")
        lines.append(style.table(headers, rows, ("task", "switches")))
    return "\n".join(lines) + "\n" + style.noticed(run)


def _end(task: TaskChange, style: Style) -> str:
    if task.state == "Ended" and task.end_reason is not None:
        return f"Ended: {task.end_reason}"
    return style.text(task.state)
