"""The map of the frame pool: a character for each cell, which stands for a number of frames. Pure.

In a map by use, a letter says what most of the frames in use are: a capital letter if at least half of the
cell's frames are in use, else a small one. In a map by owner, the character is the number of the task that
owns most of them. Free, cached and retired frames show only in cells where no frame is in use.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from gdbplugin.kernel.frames import Frames, FrameTable
from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.tasks import Names
from gdbplugin.render.style import Style
from gdbplugin.repl.live.drawing import (
    BAD,
    GOOD,
    PLAIN,
    TITLE,
    WARNING,
    Fragment,
    Line,
    clip,
    first_fitting,
    words,
    wrapped,
)

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


def keys(table: FrameTable, by_task: bool) -> tuple[Key, ...]:
    """The key of each frame: its use or, with `by_task`, the owner of a frame in use."""
    if not by_task:
        return table.uses
    return tuple(
        [
            use if use is None or use in _UNUSED else _SHARED if use == "ZeroPage" or task is None else task
            for use, task in zip(table.uses, table.owners, strict=True)
        ]
    )


def cells(shape: Shape, keys_: tuple[Key, ...]) -> list[tuple[Key, ...]]:
    """The keys of each cell, in the order of addresses."""
    return [keys_[at : at + shape.per_cell] for at in range(0, len(keys_), shape.per_cell)]


def rows(shape: Shape, keys_: tuple[Key, ...], frames: Frames, style: Style) -> list[Line]:
    """The map: a line for each row of cells, with the physical address of its first frame in front."""
    cut = cells(shape, keys_)
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


def title(shape: Shape, by_task: bool, width: int, style: Style) -> Line:
    """The title of the map: what it shows, and the number of frames in a cell."""
    cell = f"a cell is {style.counted(shape.per_cell, 'frame')}"
    size = style.size(shape.per_cell * PAGE_BYTES)
    kind = "owner" if by_task else "use"
    name, keys_ = (TITLE, f" Pool by {kind}: "), "(o + - m)"
    return first_fitting(
        width,
        [name, (PLAIN, f"{shape.frames:,} frames; {cell}, {size}  {keys_}")],
        [name, (PLAIN, f"{cell}, {size}  {keys_}")],
    )


def legend(counted: Counter[Key], names: Names, style: Style, width: int) -> list[Line]:
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
