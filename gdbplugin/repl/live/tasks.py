"""The view of the tasks: what each does or waits for, and its share of the CPU. Pure."""

from __future__ import annotations

from gdbplugin.kernel.stacks import DynamicStack
from gdbplugin.kernel.task_list import state_in_words, waits_for
from gdbplugin.kernel.tasks import Task, Tasks
from gdbplugin.render import Style
from gdbplugin.repl.live.drawing import (
    GOOD,
    PLAIN,
    TITLE,
    WARNING,
    Cell,
    Column,
    Line,
    ViewContent,
    Viewport,
    meter,
    table,
    words,
)
from gdbplugin.repl.live.scene import RATE_SECONDS, Scene

_SHARE = f"CPU, {RATE_SECONDS:.0f} s"
_COLUMNS = (
    Column("id", right=True, least=3),
    Column("name", least=10),
    Column("state", least=16),
    Column(_SHARE, right=True, least=len(_SHARE)),
    Column("switches/s", right=True, least=10, spare=1),
    Column("ran", right=True, least=7, spare=2),
    Column("ASID", right=True, least=4, spare=3),
    Column("stack", least=8, most=40, spare=1),
    Column("mapped", right=True, least=6),
    Column("of", right=True, least=5),
)


def draw_tasks(scene: Scene, viewport: Viewport) -> ViewContent:
    """A row for each living task; ended tasks are counted."""
    tasks = scene.snapshot.tasks
    if tasks is None:
        return ViewContent([words(" This kernel has no tasks on record.")], [])
    living = [task for task in tasks.tasks if task.is_alive]
    header, *lines = table(
        _COLUMNS, [_row(task, tasks, scene, viewport.style) for task in living], viewport.width
    )
    counts = f"{len(living)} alive, {len(tasks.tasks) - len(living)} ended"
    held = ", held" if tasks.is_held else ""
    total: Line = [(TITLE, " Tasks: "), (PLAIN, counts + held)]
    return ViewContent([total, [], header], lines)


def _row(task: Task, tasks: Tasks, scene: Scene, style: Style) -> dict[str, Cell]:
    clock, stack = scene.snapshot.clock, _stack(task, scene)
    rates = scene.timeline.task_rates(task.id)
    switches, share = ("", "") if rates is None else (f"{rates[0]:,.0f}", _percent(rates[1], clock.frequency))
    # The shell has none of its own: its ASID, 0, is nobody's.
    spaces = scene.snapshot.spaces.by_asid.items()
    asid = next((asid for asid, space in spaces if space.number == task.id and task.id), None)
    cells: dict[str, Cell] = {
        "id": words(style.text(task.id)),
        "name": words(task.name),
        "state": _state(task, tasks),
        _SHARE: words(share),
        "switches/s": words(switches),
        "ran": words(style.duration(clock.seconds(tasks.run_time(task, clock.now)))),
        "ASID": words("" if asid is None else str(asid)),
    }
    if stack is None:
        return {**cells, "stack": words(""), "mapped": words(""), "of": words("")}
    return {
        **cells,
        "stack": lambda width: meter(stack.current_size, stack.high_water_mark, stack.max_size, width, style),
        "mapped": words(style.short_size(stack.current_size)),
        "of": words(style.short_size(stack.max_size)),
    }


def _stack(task: Task, scene: Scene) -> DynamicStack | None:
    return next((one for one in scene.snapshot.stacks.active if one.id == task.stack and task.stack), None)


def _state(task: Task, tasks: Tasks) -> Line:
    is_running = task.id == tasks.current
    waits = WARNING if waits_for(task) == "turn" else PLAIN
    return words(state_in_words(task, is_running=is_running), GOOD if is_running else waits)


def _percent(counts: float | None, frequency: int | None) -> str:
    """The share of the CPU, by counts of the timer in a second."""
    return "" if counts is None or not frequency else f"{100 * counts / frequency:.0f}%"
