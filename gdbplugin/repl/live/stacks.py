"""The view `d`: every active stack as a gauge of what is mapped, with how much it ever was."""

from __future__ import annotations

from gdbplugin.kernel.stacks import DynamicStack
from gdbplugin.kernel.tasks import Names, task_names
from gdbplugin.render.style import Style
from gdbplugin.repl.live.canvas import (
    BAD,
    GOOD,
    PLAIN,
    TITLE,
    WARNING,
    Area,
    Cell,
    Column,
    Drawn,
    Line,
    first_fitting,
    meter,
    table,
    words,
)
from gdbplugin.repl.live.events import stream
from gdbplugin.repl.live.history import CHANGE_SECONDS
from gdbplugin.repl.live.scene import Scene

_CHANGE = f"in {CHANGE_SECONDS:.0f} s"
_COLUMNS = (
    Column("id", right=True, least=2),
    Column("task", least=8),
    Column("policy", least=12, spare=2),
    Column("", least=8, most=64),
    Column("mapped", right=True, least=6),
    Column("most", right=True, least=5, spare=1),
    Column("of", right=True, least=5),
    Column("+/-", right=True, least=7),
    Column(_CHANGE, right=True, least=6),
)


def draw(scene: Scene, area: Area) -> Drawn:
    """A row for each stack that exists, in the order of their slots; what stacks last did below them."""
    stacks, style = scene.snapshot.stacks, area.style
    names = task_names(scene.snapshot.tasks)
    header, *lines = table(
        _COLUMNS, [_row(stack, names, scene, style) for stack in stacks.active], area.width
    )
    mapped = sum(stack.current_size or 0 for stack in stacks.active)
    reserved = sum(stack.max_size or 0 for stack in stacks.active)
    ended = len(stacks.stacks) - len(stacks.active)
    sizes = f"{style.size(mapped)} mapped of {style.size(reserved)}"
    total: Line = [(TITLE, " Stacks: "), (PLAIN, f"{len(stacks.active)} active, {ended} ended; {sizes}")]
    recent = [event for event in scene.history.events if event.stack is not None]
    below = words(" What stacks did, the newest at the bottom", TITLE), stream(recent, scene, area)
    return Drawn([total, _legend(area.width, style), [], header], lines, below=below)


def _legend(width: int, style: Style) -> Line:
    full, was, empty = "#=." if style.plain else "█▒░"
    shades: Line = [(PLAIN, " "), (GOOD, full * 2), (PLAIN, " mapped  "), (WARNING, was * 2)]
    shades.append((PLAIN, f" was, at the most  {empty * 2} may grow"))
    return first_fitting(width, [*shades, (PLAIN, "   +/- times grown, times shrunk")], shades)


def _row(stack: DynamicStack, names: Names, scene: Scene, style: Style) -> dict[str, Cell]:
    change = 0 if stack.id is None else scene.history.size_change(stack.id)
    gained = ("+" if change > 0 else "-") + style.short_size(abs(change))
    return {
        "id": words(style.text(stack.id)),
        "task": words(style.owner(stack.owner, names)),
        "policy": words(style.text(stack.policy)),
        "": lambda width: meter(stack.current_size, stack.high_water_mark, stack.max_size, width, style),
        "mapped": words(style.short_size(stack.current_size)),
        "most": words(style.short_size(stack.high_water_mark)),
        "of": words(style.short_size(stack.max_size)),
        "+/-": words(f"{style.count(stack.growth_count)}/{style.count(stack.shrink_count)}"),
        _CHANGE: words(gained if change else "", BAD if change > 0 else GOOD),
    }
