"""What several objects share in JSON: the tasks and the clock."""

from __future__ import annotations

from gdbplugin.kernel.clock import Clock
from gdbplugin.kernel.tasks import Tasks
from gdbplugin.records import asdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def tasks_content(tasks: Tasks | None) -> dict[str, Any]:
    """The tasks in a JSON object."""
    return {
        "tasks": asdict(tasks)["tasks"] if tasks else None,
        "current_task": tasks.current if tasks else None,
    }


def clock_content(clock: Clock) -> dict[str, int | None]:
    """The clock in a JSON object."""
    return asdict(clock)
