"""The view `s`: every counter, how fast it moves, and how it moved in the last seconds."""

from __future__ import annotations

from gdbplugin.records import asdict
from gdbplugin.render.style import Style
from gdbplugin.repl.live.canvas import Area, Cell, Column, Drawn, Line, sparkline, table, words
from gdbplugin.repl.live.scene import Scene

_OVER_TIME = "each second"
_COLUMNS = (
    Column("counter"),
    Column("value", right=True, least=9),
    Column("per second", right=True),
    Column(_OVER_TIME, least=len(_OVER_TIME), most=120),
)
# What is counted, and not how often something happened: a rate of it says little.
_AMOUNTS = frozenset({"active_dynamic_stacks", "total_lazy_pages", "allocated_lazy_pages"})


def draw(scene: Scene, area: Area) -> Drawn:
    """A row for each counter: the ten of `DynamicMemoryStats`, then those of the kernel's parts."""
    figures = {**asdict(scene.snapshot.stats), **scene.snapshot.counters.counters}
    rows = [_row(name, value, scene, area.style) for name, value in figures.items()]
    header, *lines = table(_COLUMNS, rows, area.width)
    return Drawn([header], lines)


def _row(name: str, value: int | None, scene: Scene, style: Style) -> dict[str, Cell]:
    history = scene.history
    rate = None if name in _AMOUNTS else history.rate(name)
    shown = "" if not rate else f"{rate:,.1f}" if abs(rate) < 1000 else f"{rate:,.0f}"

    def over_time(width: int) -> Line:
        return words("" if name in _AMOUNTS else sparkline(history.rates(name, width), width, style))

    cells = {"counter": words(name), "value": words(style.count(value)), "per second": words(shown)}
    return {**cells, _OVER_TIME: over_time}
