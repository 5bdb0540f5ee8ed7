"""What several views share: the names of tasks, the clock, and what stands behind an object."""

from __future__ import annotations

from gdbplugin.kernel.clock import Clock
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.tasks import Tasks
from gdbplugin.records import asdict
from gdbplugin.render.journal import journal_text
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Names = dict[int | None, str]
_NAME_LENGTH = 9


def task_names(tasks: Tasks | None) -> Names:
    """The names of the tasks by their numbers."""
    return {task.id: task.name for task in tasks.tasks} if tasks else {}


def owner(number: int | None, names: Names, style: Style) -> str:
    """A task by its number and the beginning of its name."""
    name = names.get(number)
    if not name:
        return style.text(number)
    short = name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + style.ellipsis
    return f"{style.text(number)} {short}"


def tasks_content(tasks: Tasks | None) -> dict[str, Any]:
    """The tasks in a JSON object."""
    return {
        "tasks": asdict(tasks)["tasks"] if tasks else None,
        "current_task": tasks.current if tasks else None,
    }


def sections(parts: list[str], journal: Journal, style: Style) -> str:
    """Sections with an empty line between each two, and the findings and notes behind them."""
    behind = journal_text(journal, style).rstrip("\n")
    return "\n\n".join(part for part in [*parts, behind] if part) + "\n"


def clock_content(clock: Clock) -> dict[str, int | None]:
    """The clock in a JSON object."""
    return asdict(clock)
