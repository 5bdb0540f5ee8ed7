"""Drawing with characters: lines of styled fragments, tables, gauges and graphs. Pure.

A line is a list of fragments; a fragment is a style class and a text, as in prompt_toolkit. Every glyph is
one column wide. Letters and shades carry the meaning; colour only repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gdbplugin.render import Style

Fragment = tuple[str, str]
Line = list[Fragment]

PLAIN, TITLE, GOOD, WARNING, BAD = "", "class:title", "class:good", "class:warning", "class:bad"
LEVEL_STYLES = {"Low": GOOD, "Medium": WARNING, "High": BAD, "Critical": BAD}

_GAP = "  "
_SPARKS = "▁▂▃▄▅▆▇█"
_PLAIN_SPARKS = "_.:-=+*#"
_BLOCKS = " ▁▂▃▄▅▆▇█"
_PLAIN_BLOCKS = " .:|#"


@dataclass(frozen=True)
class Viewport:
    """The size of the part of the terminal to draw in, in characters, and the style to draw with."""

    width: int
    height: int
    style: Style


class Rows:
    """A sequence of lines, each made only when it is shown: there may be thousands."""

    def __init__(self, count: int, make: Callable[[int], Line]) -> None:
        self._count = count
        self._make = make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, places: slice) -> list[Line]:
        return [self._make(place) for place in range(*places.indices(self._count))]


@dataclass(frozen=True)
class ViewContent:
    """What a view shows: fixed lines at the top, and rows below that scroll if there are too many."""

    head: list[Line]
    rows: list[Line] | Rows
    from_end: bool = False
    """Whether the view opens at the last row instead of the first."""
    below: tuple[Line, Rows] | None = None
    """A title and further lines; the last of them fill the room that the rows leave."""


def text_of(line: Line) -> str:
    """The text of a line, without styles."""
    return "".join(text for _, text in line)


def words(text: str, style: str = PLAIN) -> Line:
    """A line in one style."""
    return [(style, printable(text))]


def printable(text: str) -> str:
    """Text from the target, with a question mark for each character that is not one column wide."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_narrow(char) else "?" for char in text)


def _is_narrow(char: str) -> bool:
    # Latin, punctuation, arrows, box drawing and blocks: all that this package and names in Rust use.
    return char.isprintable() and (ord(char) < 0x300 or 0x2010 <= ord(char) <= 0x25FF)


def clip(line: Line, width: int) -> Line:
    """A line cut to at most `width` columns."""
    kept: Line = []
    for style, text in line:
        if width <= 0:
            break
        kept.append((style, text[:width]))
        width -= len(text)
    return kept


def pad(line: Line, width: int, style: str = PLAIN) -> Line:
    """A line cut or filled up to exactly `width` columns."""
    kept = clip(line, width)
    return [*kept, (style, " " * (width - len(text_of(kept))))]


def first_fitting(width: int, *lines: Line) -> Line:
    """The first line that fits in `width` columns; if none does, the last one, cut."""
    return next((line for line in lines if len(text_of(line)) <= width), clip(lines[-1], width))


def ends(left: Line, right: Line, width: int, style: str = PLAIN) -> Line:
    """A line with `left` at its start and `right` at its end; only `left` if there is no room for both."""
    room = width - len(text_of(left)) - len(text_of(right))
    return [*left, (style, " " * room), *right] if room > 0 else pad(left, width, style)


def wrapped(parts: Iterable[Line], width: int, gap: str = "  ") -> list[Line]:
    """The parts one after the other, on as many lines as needed; no part is split."""
    lines: list[Line] = []
    used = 0
    for part in parts:
        length = len(text_of(part))
        if lines and used + len(gap) + length <= width:
            lines[-1] += [(PLAIN, gap), *part]
            used += len(gap) + length
        else:
            lines.append(clip(part, width))
            used = min(length, width)
    return lines


Cell = Line | Callable[[int], Line]
"""A line, or a function that makes one of a given width."""


@dataclass(frozen=True)
class Column:
    """A column of a table, at least `least` wide.

    A column with a `most` is elastic: it takes the width that the others leave, up to `most`. If they leave
    less than its `least`, columns with a `spare` are left out, the largest `spare` first.
    """

    header: str
    right: bool = False
    least: int = 0
    most: int = 0
    spare: int = 0


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Cell]], width: int) -> list[Line]:
    """A header line and a line for each row. A row maps the columns' headers to cells."""
    chosen = list(columns)
    widths = {column.header: _natural(column, rows) for column in columns}
    elastic = next((column for column in columns if column.most), None)

    def left() -> int:
        fixed = sum(widths[column.header] for column in chosen if column is not elastic)
        return width - 2 - fixed - len(_GAP) * (len(chosen) - 1)

    while left() < (elastic.least if elastic else 0) and any(column.spare for column in chosen):
        chosen.remove(max(chosen, key=lambda column: column.spare))
    if elastic in chosen:
        widths[elastic.header] = max(1, min(elastic.most, left()))
    header: dict[str, Cell] = {column.header: words(column.header, TITLE) for column in chosen}
    return [_row(chosen, widths, cells) for cells in (header, *rows)]


def _natural(column: Column, rows: Sequence[Mapping[str, Cell]]) -> int:
    """The width that a column's header and cells need."""
    cells = [row[column.header] for row in rows]
    return max(
        [column.least, len(column.header), *(len(text_of(cell)) for cell in cells if isinstance(cell, list))]
    )


def _row(columns: Sequence[Column], widths: Mapping[str, int], cells: Mapping[str, Cell]) -> Line:
    line: Line = []
    for place, column in enumerate(columns):
        width, cell = widths[column.header], cells[column.header]
        shown = clip(cell if isinstance(cell, list) else cell(width), width)
        space = (PLAIN, " " * (width - len(text_of(shown))))
        line += [(PLAIN, _GAP if place else " "), *((space, *shown) if column.right else (*shown, space))]
    return line


def share(part: int, whole: int, width: int) -> int:
    """The number of `width` columns for `part` of `whole`: 0 only for nothing, `width` only for all of it."""
    if part <= 0 or whole <= 0:
        return 0
    if part >= whole:
        return width
    return min(width - 1, max(1, round(width * part / whole))) if width > 1 else width


def shades(style: Style) -> tuple[str, str, str]:
    """The glyphs of a gauge: full, in between, empty. Full and empty are those of `Style.gauge`."""
    full, empty = tuple(style.gauge(1, 2, width=2))
    return full, "=" if style.plain else "▒", empty


def gauge(filled: int, between: int, width: int, style: Style) -> Line:
    """A gauge of `width` columns: `filled` full ones, then `between` ones, then empty ones."""
    full, middle, empty = shades(style)
    return [(GOOD, full * filled), (WARNING, middle * between), (PLAIN, empty * (width - filled - between))]


def meter(part: int | None, most: int | None, whole: int | None, width: int, style: Style) -> Line:
    """A gauge of a value, the highest value so far and the limit: `██▒▒░░` or `##==..`."""
    if part is None or not whole or width < 1:
        return words(style.missing)
    now = share(part, whole, width)
    high = max(now, share(most or 0, whole, width))
    return gauge(now, high - now, width, style)


def sparkline(values: Sequence[float | None], width: int, style: Style) -> str:
    """One character for each value, the newest at the right, scaled to the largest; a space for no value."""
    ramp = _PLAIN_SPARKS if style.plain else _SPARKS
    shown = values[-width:] if width > 0 else []
    top = max((value for value in shown if value is not None), default=0.0)
    cells = []
    for value in shown:
        if value is None:
            cells.append(" ")
        else:
            step = round((len(ramp) - 1) * value / top) if top > 0 else 0
            cells.append(ramp[max(step, 1 if value > 0 else 0)])
    return "".join(cells).rjust(max(width, 0))


def graph(values: Sequence[float | None], top: float, width: int, height: int, style: Style) -> list[str]:
    """The lines of a bar graph from 0 to `top`, the top line first, the newest value at the right."""
    blocks = _PLAIN_BLOCKS if style.plain else _BLOCKS
    steps = len(blocks) - 1
    newest = values[-width:] if width > 0 else []
    shown = [*([None] * (width - len(newest))), *newest]
    lines = []
    for row in reversed(range(height)):
        cells = []
        for value in shown:
            filled = 0.0 if value is None or top <= 0 else min(value, top) / top * height - row
            step = min(steps, max(0, round(filled * steps)))
            if row == 0 and value:
                step = max(step, 1)
            cells.append(blocks[step])
        lines.append("".join(cells))
    return lines
