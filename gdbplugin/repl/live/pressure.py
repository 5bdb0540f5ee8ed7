"""The view of memory pressure: level, available frames over time, strategies, map of the pool. Pure.

In the map of the frame pool a character stands for a cell, which is a number of frames. In a map by use, a
letter says what most of the frames in use are: a capital letter if at least half of the cell's frames are in
use, else a small one. In a map by owner, the character is the number of the task that owns most of them.
Free, cached and retired frames show only in cells where no frame is in use.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.pressure import LEVELS, Frames, FrameTable, PressureState
from gdbplugin.kernel.tasks import Names, task_names
from gdbplugin.render import Style
from gdbplugin.repl.live.drawing import (
    BAD,
    GOOD,
    LEVEL_STYLES,
    PLAIN,
    TITLE,
    WARNING,
    Cell,
    Column,
    Fragment,
    Line,
    ViewContent,
    Viewport,
    clip,
    first_fitting,
    gauge,
    graph,
    share,
    table,
    words,
    wrapped,
)
from gdbplugin.repl.live.scene import Scene

_MARGIN = 9
"""Columns to the left of the graph, for the labels of its axis."""
_COLUMNS = (
    Column("strategy"),
    Column("runs", right=True),
    Column("skipped", right=True, spare=2),
    Column("last gain", right=True),
    Column("total gain", right=True, least=7),
    Column("", least=11, spare=1),
    Column("last run", right=True),
)
_LEAST_MAP, _LEAST_GRAPH = 4, 2
_HIGH = 28
"""Height from which there is room to list the thresholds as well."""


def draw_pressure(scene: Scene, viewport: Viewport) -> ViewContent:
    """The level and the map; graph and strategies too if there is room for them."""
    pool_map = _Map(scene, viewport)
    if scene.choices.map_only:
        return pool_map.draw(viewport.height)
    state, style = scene.snapshot.pressure, viewport.style
    head = [_level(state, viewport), _frames(state, viewport), *_bar(state, viewport)]
    strategies = _strategies(state, viewport.width, style)
    left = viewport.height - len(head) - len(pool_map.legend) - 1
    graphed = _LEAST_GRAPH + 2
    if left < len(strategies) + graphed + _LEAST_MAP:
        strategies = []
    left -= len(strategies)
    if left >= graphed + _LEAST_MAP:
        head += _over_time(scene, viewport, _graph_height(pool_map, left - 2))
    head += strategies
    drawn = pool_map.draw(viewport.height - len(head))
    return ViewContent([*head, *drawn.head], drawn.rows)


def _graph_height(pool_map: _Map, room: int) -> int:
    """The height of the graph, given the room for graph and map.

    At most a third, unless the map needs less than the rest; less if the map gets finer cells by that.
    """

    def cost(height: int) -> tuple[int, int]:
        return pool_map.shape(room - height).per_cell, -height

    height = min(range(_LEAST_GRAPH, max(_LEAST_GRAPH, room // 3) + 1), key=cost)
    return max(height, room - pool_map.shape(room - height).rows)


class _Map:
    """The map of the pool. Its legend is known first, as its height decides the room for the map."""

    def __init__(self, scene: Scene, viewport: Viewport) -> None:
        self._scene = scene
        self._viewport = viewport
        frame_table = scene.snapshot.frame_table
        self._keys = frame_keys(frame_table, scene.choices.by_task) if frame_table else ()
        counted, names = Counter(self._keys), task_names(scene.snapshot.tasks)
        self.legend = map_legend(counted, names, viewport.style, viewport.width) if self._keys else []

    def shape(self, height: int) -> Shape:
        """The shape of a map of `height` lines."""
        return Shape.of(len(self._keys), self._viewport.width, height, self._scene.choices.zoom)

    def draw(self, height: int) -> ViewContent:
        """The map in `height` lines, with its title and legend."""
        choices, style = self._scene.choices, self._viewport.style
        frames = self._scene.snapshot.pressure.frames
        if not self._keys or frames is None:
            return ViewContent([words(" No map: this kernel has no reverse map of its frames.")], [])
        shape = self.shape(max(1, height - 1 - len(self.legend)))
        title = map_title(shape, choices.by_task, self._viewport.width, style)
        rows = map_rows(shape, self._keys, frames, style)
        return ViewContent([title, *self.legend], rows)


def _level(state: PressureState, viewport: Viewport) -> Line:
    pressure, style = state.pressure, viewport.style
    for_ = style.duration(state.clock.ago(pressure.last_change_time))
    entered = ""
    if pressure.level_events is not None:
        counts = zip(LEVELS, pressure.level_events, strict=False)
        entered = "; entered: " + ", ".join(f"{level} {number:,}" for level, number in counts)
    level = words(style.text(pressure.level), LEVEL_STYLES.get(pressure.level or "", PLAIN))
    shown: Line = [(TITLE, " Pressure: "), *level, *words(f", for {for_}")]
    return first_fitting(viewport.width, [*shown, *words(entered)], shown)


def _frames(state: PressureState, viewport: Viewport) -> Line:
    frames, count = state.frames, viewport.style.count
    if frames is None:
        return words(" This kernel has no record of its frame pool.")
    shown = (
        f" {count(frames.free_frames)} free, {count(frames.cached_frames)} cached, "
        f"{count(frames.used_frames)} used, {count(frames.retired_frames)} retired"
    )
    whole = f"{shown} of {count(frames.total_frames)} frames"
    return first_fitting(viewport.width, words(whole), words(shown))


def _bar(state: PressureState, viewport: Viewport) -> list[Line]:
    """A gauge of the available frames, and below it where each level begins."""
    pressure, style = state.pressure, viewport.style
    width, limit, free = viewport.width - 2, pressure.limit_frames, state.free
    if not limit or free is None:
        return [words(" " + style.missing)]
    lines: list[Line] = [[(PLAIN, " "), *gauge(share(free, limit, width), 0, width, style)]]
    marks = [" "] * width
    for level, border in zip(LEVELS[1:], pressure.thresholds or (), strict=False):
        if border.enter_below is not None:
            # A more severe level is further left; it does not overwrite the labels of the others.
            at = min(width - 1, max(0, width * border.enter_below // limit))
            for place, char in enumerate(f"{level[0]}<{border.enter_below:,}", at):
                if place < width and marks[place] == " ":
                    marks[place] = char
    lines.append(words((" " + "".join(marks)).rstrip()))
    borders = [
        f"{level} below {style.count(border.enter_below)} until {style.count(border.leave_at)}"
        for level, border in zip(LEVELS[1:], pressure.thresholds or (), strict=False)
    ]
    return [*lines, words(" " + ", ".join(borders))] if viewport.height >= _HIGH else lines


def _over_time(scene: Scene, viewport: Viewport, height: int) -> list[Line]:
    """A graph of the available frames, a column for each second, and the worst level of each second below."""
    state, style = scene.snapshot.pressure, viewport.style
    width = viewport.width - _MARGIN - 2
    values = scene.timeline.free(width)
    known = [value for value in values if value is not None]
    limit = state.pressure.limit_frames or (0 if state.frames is None else state.frames.total_frames or 0)
    least = f", at least {min(known):,.0f}" if known else ""
    name, now = (TITLE, " Available frames: "), f"{style.count(state.free)} now{least} in the last {width} s"
    title = first_fitting(viewport.width, [name, (PLAIN, f"{now}, one column each")], [name, (PLAIN, now)])
    lines = [title]
    for row, cells in enumerate(graph(values, limit, width, height, style)):
        share_of = limit * (height - row) // height if row < height - 1 or height == 1 else 0
        label = f"{share_of:,}" if row in (0, height - 1) else ""
        edge = "|" if style.plain else "│"
        lines.append([(PLAIN, f" {label:>{_MARGIN - 2}}{edge}"), (GOOD, cells)])
    levels = scene.timeline.levels(width)
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
            "last gain": words(style.count(entry.last_won)),
            "total gain": words(style.count(entry.total_won)),
            "": words(_unit(state.units, entry.strategy)),
            "last run": words(style.duration(state.clock.ago(entry.last_run_time))),
        }
        for entry in state.pressure.strategies
    ]
    return table(_COLUMNS, rows, width)


def _unit(units: dict[str, str], strategy: str | None) -> str:
    """The unit of a strategy's gain; the longest one is shortened."""
    return units.get(strategy or "", "").replace("frames in one run", "in one run")


_UNUSED = {"Free": ".", "Cached": ",", "Retired": "-"}
# Another use has its first letter.
_LETTERS = {"Table": "t", "LazyPage": "l", "Stack": "s", "TaskPage": "p", "ZeroPage": "z"}
_NAMES = {"LazyPage": "lazy page", "TaskPage": "task page", "ZeroPage": "zero page"}
_STYLES = {
    "Table": "class:table",
    "LazyPage": "class:lazy",
    "Stack": "class:stack",
    "TaskPage": "class:task",
    "ZeroPage": GOOD,
    "Cached": WARNING,
    "Retired": BAD,
}
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SHARED = "*"
_UNKNOWN = "?"
_ADDRESS_WIDTH = 11
_LEGEND_LINES = 3
_CELL_STEP = 16

Key = str | int | None
"""The name of a use or, in a map by owner, the number of a task; None for a use that cannot be decoded."""


@dataclass(frozen=True)
class Shape:
    """The division of a pool of `frames` into cells of `per_cell` frames and rows of `per_row` cells."""

    frames: int
    per_cell: int
    per_row: int

    @classmethod
    def of(cls, frames: int, width: int, height: int, zoom: int = 0) -> Shape:
        """The shape that fills `width` by `height` characters; each zoom step halves the frames in a cell."""
        room = max(1, width - _ADDRESS_WIDTH - 2)
        per_row = room - room % _CELL_STEP or room
        per_cell = 1
        while -(-frames // per_cell) > per_row * max(1, height):
            per_cell *= 2
        return cls(frames, max(1, per_cell >> zoom), per_row)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return -(-self.frames // (self.per_cell * self.per_row))


def frame_keys(table: FrameTable, by_task: bool) -> tuple[Key, ...]:
    """The key of each frame: its use or, with `by_task`, the owner of a frame in use."""
    if not by_task:
        return table.uses
    return tuple(
        [
            use if use is None or use in _UNUSED else _SHARED if use == "ZeroPage" or task is None else task
            for use, task in zip(table.uses, table.owners, strict=True)
        ]
    )


def cells(shape: Shape, keys: tuple[Key, ...]) -> list[tuple[Key, ...]]:
    """The keys of each cell, in the order of addresses."""
    return [keys[at : at + shape.per_cell] for at in range(0, len(keys), shape.per_cell)]


def map_rows(shape: Shape, keys: tuple[Key, ...], frames: Frames, style: Style) -> list[Line]:
    """The map: a line for each row of cells, with the physical address of its first frame in front."""
    cut = cells(shape, keys)
    # Most cells equal others: each different one is drawn once.
    drawn = {cell: _draw_cell(cell) for cell in set(cut)}
    lines = []
    for at in range(0, len(cut), shape.per_row):
        first = None if frames.base is None else frames.base + at * shape.per_cell * PAGE_BYTES
        line: Line = words(f" {style.address(first):<{_ADDRESS_WIDTH}}")
        for class_, same in groupby(map(drawn.__getitem__, cut[at : at + shape.per_row]), itemgetter(0)):
            line.append((class_, "".join(letter for _, letter in same)))
        lines.append(line)
    return lines


def _draw_cell(cell: tuple[Key, ...]) -> Fragment:
    counted = Counter(cell)
    key = most(counted)
    return _STYLES.get(str(key), PLAIN), symbol(key, in_use(counted) * 2 >= len(cell))


def most(cell: Counter[Key]) -> Key:
    """The most frequent key among the frames in use; if none is in use, among the others."""
    used = {key: count for key, count in cell.items() if key not in _UNUSED}
    chosen = used or dict(cell)
    return max(chosen, key=lambda key: (chosen[key], str(key)))


def in_use(cell: Counter[Key]) -> int:
    """The number of a cell's frames that are in use."""
    return sum(count for key, count in cell.items() if key not in _UNUSED)


def symbol(key: Key, mostly: bool = True) -> str:
    """The character for a key."""
    if key is None:
        return _UNKNOWN
    if isinstance(key, int):
        return _DIGITS[key] if key < len(_DIGITS) else "+"
    if key in _UNUSED:
        return _UNUSED[key]
    if key == _SHARED:
        return _SHARED
    letter = _LETTERS.get(key, key[:1].lower() or _UNKNOWN)
    return letter.upper() if mostly else letter


def map_title(shape: Shape, by_task: bool, width: int, style: Style) -> Line:
    """The title of the map: what it shows, and the number of frames in a cell."""
    cell = f"a cell is {style.counted(shape.per_cell, 'frame')}"
    size = style.size(shape.per_cell * PAGE_BYTES)
    kind = "owner" if by_task else "use"
    name, keys = (TITLE, f" Pool by {kind}: "), "(o + - m)"
    return first_fitting(
        width,
        [name, (PLAIN, f"{shape.frames:,} frames; {cell}, {size}  {keys}")],
        [name, (PLAIN, f"{cell}, {size}  {keys}")],
    )


def map_legend(counted: Counter[Key], names: Names, style: Style, width: int) -> list[Line]:
    """Every symbol, its meaning and its number of frames. The numbers add up to the whole pool."""
    used = sorted((key for key in counted if key not in _UNUSED), key=lambda key: (-counted[key], str(key)))
    rest = [_entry(key, counted[key], names, style) for key in _UNUSED if key in counted]
    for shown in range(len(used), -1, -1):
        parts = [_entry(key, counted[key], names, style) for key in used[:shown]]
        if shown < len(used):
            parts.append(words(f"and others {sum(counted[key] for key in used[shown:]):,}"))
        lines = wrapped([*parts, *rest], width - 2)
        if len(lines) <= _LEGEND_LINES:
            break
    return [clip([(PLAIN, " "), *line], width) for line in lines]


def _entry(key: Key, count: int, names: Names, style: Style) -> Line:
    return [
        *words(symbol(key), _STYLES.get(str(key), PLAIN)),
        *words(f" {_name(key, names, style)} {count:,}"),
    ]


def _name(key: Key, names: Names, style: Style) -> str:
    if key is None:
        return "undecoded"
    if isinstance(key, int):
        return names.get(key) or f"task {key}" if key < len(_DIGITS) else style.owner(key, names)
    return "shared" if key == _SHARED else _NAMES.get(key, key.lower())
