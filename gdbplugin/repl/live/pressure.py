"""The view `p`: the level, its thresholds, free frames over time, the strategies, the pool as a map."""

from __future__ import annotations

from collections import Counter

from gdbplugin.kernel.pressure import LEVELS
from gdbplugin.kernel.pressure_state import PressureState
from gdbplugin.kernel.tasks import task_names
from gdbplugin.render.style import Style
from gdbplugin.repl.live import pool
from gdbplugin.repl.live.canvas import (
    GOOD,
    LEVEL_STYLES,
    PLAIN,
    TITLE,
    Area,
    Cell,
    Column,
    Drawn,
    Line,
    first_fitting,
    graph,
    share,
    table,
    words,
)
from gdbplugin.repl.live.scene import Scene

_MARGIN = 9
"""Columns at the left of the graph, for the frames that its height stands for."""
_COLUMNS = (
    Column("strategy"),
    Column("runs", right=True),
    Column("skipped", right=True, spare=2),
    Column("won last", right=True),
    Column("in all", right=True, least=7),
    Column("", least=11, spare=1),
    Column("last run", right=True),
)
_LEAST_MAP, _LEAST_GRAPH = 4, 2
_HIGH = 28
"""Lines from which on there is room for what the bar says already, in words."""


def draw(scene: Scene, area: Area) -> Drawn:
    """What there is room for: the level and the map always, the strategies in a window high enough."""
    pool_map = _Map(scene, area)
    if scene.choices.map_only:
        return pool_map.draw(area.height)
    state, style = scene.snapshot.pressure, area.style
    head = [_level(state, area), _frames(state, area), *_bar(state, area)]
    strategies = _strategies(state, area.width, style)
    left = area.height - len(head) - len(pool_map.legend) - 1
    graphed = _LEAST_GRAPH + 2
    if left < len(strategies) + graphed + _LEAST_MAP:
        strategies = []
    left -= len(strategies)
    if left >= graphed + _LEAST_MAP:
        head += _over_time(scene, area, _graph_height(pool_map, left - 2))
    head += strategies
    drawn = pool_map.draw(area.height - len(head))
    return Drawn([*head, *drawn.head], drawn.rows)


def _graph_height(pool_map: _Map, room: int) -> int:
    """Of the lines for graph and map those for the graph: at most a third, unless the map needs no more.

    Fewer, where the map then shows finer.
    """

    def cost(height: int) -> tuple[int, int]:
        return pool_map.shape(room - height).per_cell, -height

    height = min(range(_LEAST_GRAPH, max(_LEAST_GRAPH, room // 3) + 1), key=cost)
    return max(height, room - pool_map.shape(room - height).rows)


class _Map:
    """The pool's map, whose legend has to be known before the room for it is."""

    def __init__(self, scene: Scene, area: Area) -> None:
        self._scene = scene
        self._area = area
        frame_table = scene.snapshot.frame_table
        self._keys = pool.keys(frame_table, scene.choices.by_task) if frame_table else ()
        names = task_names(scene.snapshot.tasks)
        self.legend = pool.legend(Counter(self._keys), names, area.style, area.width) if self._keys else []

    def shape(self, height: int) -> pool.Shape:
        """How the map is cut into cells, if it has so many lines."""
        return pool.Shape.of(len(self._keys), self._area.width, height, self._scene.choices.zoom)

    def draw(self, height: int) -> Drawn:
        """The map in so many lines, its title and legend included."""
        choices, style = self._scene.choices, self._area.style
        frames = self._scene.snapshot.pressure.frames
        if not self._keys or frames is None:
            return Drawn([words(" This kernel has no reverse map of its frames, so there is no map.")], [])
        shape = self.shape(max(1, height - 1 - len(self.legend)))
        title = pool.title(shape, choices.by_task, self._area.width, style)
        rows = pool.rows(shape, self._keys, frames, style)
        return Drawn([title, *self.legend], rows)


def _level(state: PressureState, area: Area) -> Line:
    pressure, style = state.pressure, area.style
    for_ = style.duration(state.clock.ago(pressure.last_change_time))
    entered = ""
    if pressure.level_events is not None:
        counts = zip(LEVELS, pressure.level_events, strict=False)
        entered = "; entered: " + ", ".join(f"{level} {number:,}" for level, number in counts)
    level = words(style.text(pressure.level), LEVEL_STYLES.get(pressure.level or "", PLAIN))
    shown: Line = [(TITLE, " Pressure: "), *level, *words(f", for {for_}")]
    return first_fitting(area.width, [*shown, *words(entered)], shown)


def _frames(state: PressureState, area: Area) -> Line:
    frames, count = state.frames, area.style.count
    if frames is None:
        return words(" No frame pool is on record.")
    shown = (
        f" {count(frames.free_frames)} free, {count(frames.cached_frames)} cached, "
        f"{count(frames.used_frames)} used, {count(frames.retired_frames)} retired"
    )
    return first_fitting(area.width, words(f"{shown} of {count(frames.total_frames)} frames"), words(shown))


def _bar(state: PressureState, area: Area) -> list[Line]:
    """The frames to be had of the limit, and below it where each level begins and ends."""
    pressure, style = state.pressure, area.style
    width, limit, free = area.width - 2, pressure.limit_frames, state.free
    if not limit or free is None:
        return [words(" " + style.missing)]
    full, empty = "#." if area.plain else "█░"
    filled = share(free, limit, width)
    lines: list[Line] = [[(PLAIN, " "), (GOOD, full * filled), (PLAIN, empty * (width - filled))]]
    marks = [" "] * width
    for level, border in zip(LEVELS[1:], pressure.thresholds or (), strict=False):
        if border.enter_below is not None:
            # The letter stands where the level begins; the less severe ones, further right, were there first.
            at = min(width - 1, max(0, width * border.enter_below // limit))
            for place, char in enumerate(f"{level[0]}<{border.enter_below:,}", at):
                if place < width and marks[place] == " ":
                    marks[place] = char
    lines.append(words((" " + "".join(marks)).rstrip()))
    borders = [
        f"{level} below {style.count(border.enter_below)} until {style.count(border.leave_at)}"
        for level, border in zip(LEVELS[1:], pressure.thresholds or (), strict=False)
    ]
    return [*lines, words(" " + ", ".join(borders))] if area.height >= _HIGH else lines


def _over_time(scene: Scene, area: Area, height: int) -> list[Line]:
    """The frames to be had, a column a second, and below it the worst level of each second."""
    state, style = scene.snapshot.pressure, area.style
    width = area.width - _MARGIN - 2
    values = scene.history.free(width)
    known = [value for value in values if value is not None]
    limit = state.pressure.limit_frames or (0 if state.frames is None else state.frames.total_frames or 0)
    least = f", at the least {min(known):,.0f}" if known else ""
    name, now = (TITLE, " Frames to be had: "), f"{style.count(state.free)} now{least} in the last {width} s"
    title = first_fitting(area.width, [name, (PLAIN, f"{now}, a column each")], [name, (PLAIN, now)])
    lines = [title]
    for row, cells in enumerate(graph(values, limit, width, height, style)):
        share_of = limit * (height - row) // height if row < height - 1 or height == 1 else 0
        label = f"{share_of:,}" if row in (0, height - 1) else ""
        edge = "|" if style.plain else "│"
        lines.append([(PLAIN, f" {label:>{_MARGIN - 2}}{edge}"), (GOOD, cells)])
    levels = scene.history.levels(width)
    marks = [" " if level is None else "." if level == "Low" else level[0] for level in levels]
    line: Line = [(PLAIN, f" {'level':>{_MARGIN - 2}} ")]
    line += [
        (LEVEL_STYLES.get(level or "", PLAIN) if mark not in " ." else PLAIN, mark)
        for level, mark in zip(levels, marks, strict=True)
    ]
    return [*lines, line]


def _strategies(state: PressureState, width: int, style: Style) -> list[Line]:
    if not state.pressure.strategies:
        return []
    rows: list[dict[str, Cell]] = [
        {
            "strategy": words(style.text(entry.strategy)),
            "runs": words(style.count(entry.run_count)),
            "skipped": words(style.count(entry.skip_count)),
            "won last": words(style.count(entry.last_won)),
            "in all": words(style.count(entry.total_won)),
            "": words(_unit(state.units, entry.strategy)),
            "last run": words(style.duration(state.clock.ago(entry.last_run_time))),
        }
        for entry in state.pressure.strategies
    ]
    return table(_COLUMNS, rows, width)


def _unit(units: dict[str, str], strategy: str | None) -> str:
    """What the strategy counts as won; of the longest the first words."""
    return units.get(strategy or "", "").replace("frames of the longest free run", "longest run")
