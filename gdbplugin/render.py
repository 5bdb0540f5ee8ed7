"""Building blocks of text: tables, gauges, numbers with units. They know the dataclasses, and no debugger."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.diagnostics import Diagnosed
    from gdbplugin.kernel.tasks import Names

# What the numbers of fields are, by the last part of their names.
_ADDRESSES = frozenset(
    ("alias", "base", "descriptor", "end", "found", "input", "output", "pc", "physical", "start", "table")
)
_SIZES = frozenset(("bytes", "granule", "high_water_mark", "size"))
_COUNTS = frozenset(("end_frames", "pages", "pages_moved", "pages_returned", "rows", "total_won", "used"))
# Where something was, counted from a beginning.
_PLACES = frozenset(("instructions", "milliseconds", "records"))
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_WIDTH = 100
# So many columns that are left out are named.
_NAMED = 12
_LEAST_WIDTH = 40
_LEAST_CELL = 16
_GAP = "  "
_NAME_LENGTH = 9
_FINDINGS_SHOWN = 20
_DIRECTORY_OF_SOURCES = re.compile("^.*/registry/src/[^/]+/|^/rustc/[^/]+/")
_COLOUR = re.compile("\033\\[[0-9;]*m")


@dataclass(frozen=True)
class Style:
    """What the reader's terminal can show.

    `encoding` is the character set text is written in, `width` how many characters there are in a line:
    40 where fewer are asked for, as the views cannot say what they say in less.
    """

    encoding: str = "utf-8"
    colour: bool = False
    width: int = _WIDTH

    def __post_init__(self) -> None:
        """See to it that a line has room for what the views cannot say in less."""
        object.__setattr__(self, "width", max(_LEAST_WIDTH, self.width))

    @cached_property
    def plain(self) -> bool:
        """Whether the characters beyond ASCII that are used here cannot be written."""
        try:
            "—█░→".encode(self.encoding)
        except (UnicodeEncodeError, LookupError):
            return True
        return False

    @property
    def room(self) -> int:
        """How wide a table may be, which is indented."""
        return self.left(len(_GAP))

    def left(self, taken: int, least: int = 1, most: int | None = None) -> int:
        """How many characters of a line are left beside those taken: at least `least`, at most `most`."""
        room = max(least, self.width - taken)
        return room if most is None else min(most, room)

    def wrapped(self, line: str, indent: str = "    ") -> list[str]:
        """A line in as many as it takes, those after the first indented. A word is never parted."""
        return _wrapped(line, self.width, indent)

    def entry(self, name: str, value: str, name_width: int) -> list[str]:
        """`  name  value`, the values of several below each other; a long one in several lines."""
        head = f"  {name:<{name_width}} "
        return self.wrapped(head + value, " " * len(head))

    def title(self, text: str) -> str:
        """A heading, in as many lines as it takes."""
        return "\n".join(self._coloured(line, "1") for line in self.wrapped(text, "  "))

    def good(self, text: str) -> str:
        """What is as it should be."""
        return self._coloured(text, "32")

    def warning(self, text: str) -> str:
        """What deserves a look."""
        return self._coloured(text, "33")

    def bad(self, text: str) -> str:
        """What is wrong."""
        return self._coloured(text, "31")

    def _coloured(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    @property
    def missing(self) -> str:
        """What stands for a value that is not available."""
        return "-" if self.plain else "—"

    @property
    def arrow(self) -> str:
        """What stands between a thing and what it leads to, or becomes."""
        return "->" if self.plain else "→"

    @property
    def ellipsis(self) -> str:
        """What stands for the rest of a shortened word."""
        return "~" if self.plain else "…"

    def gauge(self, part: int | None, whole: int | None, width: int = 12) -> str:
        """A bar filled by `part` of `whole`; empty only for 0, full only for all of it."""
        if part is None or not whole:
            return self.missing
        filled = min(width, max(0, round(width * part / whole)))
        if part > 0:
            filled = max(1, filled)
        if part < whole:
            filled = min(width - 1, filled)
        full, empty = ("#", ".") if self.plain else ("█", "░")
        return full * filled + empty * (width - filled)

    def count(self, number: int | None) -> str:
        """A number of things, its thousands apart."""
        return self.missing if number is None else f"{number:,}"

    def counted(self, number: int | None, name: str) -> str:
        """A number of things with their name: `1 range`, `2 ranges`."""
        return f"{self.count(number)} {name}{'' if number == 1 else 's'}"

    def address(self, number: int | None) -> str:
        """An address, hexadecimal."""
        return self.missing if number is None else f"{number:#x}"

    def size(self, number: int | None) -> str:
        """A number of bytes in the largest unit in which it is exact to a decimal place."""
        if number is None:
            return self.missing
        for power in range(len(_UNITS) - 1, 0, -1):
            unit = 1024**power
            if number >= unit and number * 10 % unit == 0:
                return (
                    f"{number // unit:,} {_UNITS[power]}"
                    if number % unit == 0
                    else f"{number / unit:.1f} {_UNITS[power]}"
                )
        return f"{number:,} B"

    def short_size(self, number: int | None) -> str:
        """A number of bytes in few characters: `12 K`, `1.5 M`, `640`."""
        return self.size(number).replace("iB", "").removesuffix(" B")

    def duration(self, seconds: float | None) -> str:
        """A length of time with at least two digits that count."""
        if seconds is None:
            return self.missing
        if seconds >= 90 * 60:
            return f"{seconds / 3600:.1f} h"
        if seconds >= 100:
            return f"{seconds / 60:.1f} min"
        for unit, size in (("s", 1.0), ("ms", 1e-3)):
            if seconds >= size:
                return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
        return f"{seconds * 1e6:.0f} us"

    def level(self, name: str | None) -> str:
        """A pressure level, coloured by how bad it is."""
        shown = self.text(name)
        if name == "Low":
            return self.good(shown)
        return self.warning(shown) if name == "Medium" else self.bad(shown)

    def source(self, file: str | None, line: int | None) -> str:
        """` at FILE:LINE`, empty if that is not known; a crate's file without the directory of crates.

        Cargo keeps the sources of crates in `registry/src/INDEX/CRATE-VERSION`; rustc notes its own library
        as `/rustc/COMMIT/library`.
        """
        if file is None or line is None:
            return ""
        return f" at {_DIRECTORY_OF_SOURCES.sub('', file)}:{line}"

    def text(self, value: Any) -> str:
        """Anything else."""
        return self.missing if value is None else str(value)

    def owner(self, number: int | None, names: Names) -> str:
        """A task by its number and the beginning of its name."""
        name = names.get(number)
        if not name:
            return self.text(number)
        short = name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + self.ellipsis
        return f"{self.text(number)} {short}"

    def table(
        self,
        headers: Sequence[str],
        rows: Iterable[Sequence[str]],
        right: Iterable[str] = (),
        *,
        dispensable: Sequence[str] = (),
        flexible: Iterable[str] = (),
    ) -> str:
        """An indented table; its parameters are those of `table`."""
        found = table(headers, rows, right, room=self.room, dispensable=dispensable, flexible=flexible)
        return indented(found)

    def diagnostics(self, shown: Diagnosed) -> str:
        """The findings and notes of an object, one a line; empty if there are none."""
        count, lines = shown.diagnostics.finding_count, []
        if count:
            lines.append(f"Findings: {count:,}")
            for finding in shown.findings[:_FINDINGS_SHOWN]:
                lines += self.wrapped(f"  {finding}", "      ")
            if count > _FINDINGS_SHOWN:
                lines.append(f"  and {count - _FINDINGS_SHOWN:,} more")
        return "".join(line + "\n" for line in (*lines, *self.notes(shown)))

    def notes(self, shown: Diagnosed) -> list[str]:
        """The lines of an object's notes."""
        return [line for note in shown.notes for line in self.wrapped(f"Note: {note}", "  ")]

    def sections(self, parts: Sequence[str], shown: Diagnosed) -> str:
        """Sections with an empty line between each two, and the object's findings and notes after them."""
        last = self.diagnostics(shown).rstrip("\n")
        return "\n\n".join(part for part in [*parts, last] if part) + "\n"


def unit_of(field: str) -> str:
    """What the numbers of a field are: address, bytes, count or place; empty for others, such as IDs."""
    name = field.rpartition(".")[2]
    is_way = name.startswith("by_") or "_by_" in name  # `invalidations_by_address` is a count.
    if name in _ADDRESSES or (name.endswith(("address", "_pointer", "_frame")) and not is_way):
        return "address"
    if name in _SIZES or name.endswith("_size"):
        return "bytes"
    if name in _COUNTS or name.endswith("_count"):
        return "count"
    return "place" if name in _PLACES else ""


def is_dumb(environment: Mapping[str, str]) -> bool:
    """Whether the terminal is one that takes no escape sequences, or nobody knows what it is."""
    return environment.get("TERM", "").lower() in ("", "dumb", "unknown")


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Iterable[str] = (),
    *,
    room: int | None = None,
    dispensable: Sequence[str] = (),
    flexible: Iterable[str] = (),
) -> str:
    """A table of ready strings, without its final newline. The columns named in `right` are aligned there.

    Where it is wider than `room`, columns are left out one after the other, those named in `dispensable` in
    that order, and a line below says so. Where that is not enough, the last column's cells become several
    lines each. Those of columns named in `flexible` do before a column is left out. What is still wider stays
    so: a number is never cut.
    """
    at_right, may_wrap, lines = set(right), set(flexible), [list(headers), *map(list, rows)]
    columns: _Columns = [
        (header, max(map(len, cells)), cells)
        for header, cells in zip(headers, zip(*lines, strict=True), strict=True)
    ]
    left_out: list[str] = []
    if room is not None:
        least = [_least_width(cells) if header in may_wrap else width for header, width, cells in columns]
        left_out = _too_many(headers, least, dispensable, room)
        kept = [place for place, header in enumerate(headers) if header not in left_out]
        columns, least = [columns[place] for place in kept], [least[place] for place in kept]
        if may_wrap:
            columns = _wrapped_to(columns, _narrowed(columns, least, room))
        elif columns[-1][0] not in at_right:
            columns = _with_last_wrapped(columns, room)
    filled = [
        [cell.rjust(width) if header in at_right else cell.ljust(width) for cell in cells]
        for header, width, cells in columns
    ]
    found = [_GAP.join(cells).rstrip() for cells in zip(*filled, strict=True)]
    found.insert(1, _GAP.join("-" * width for _, width, _ in columns))
    if left_out:
        more = "" if len(left_out) <= _NAMED else f", and {len(left_out) - _NAMED} more"
        named = [header for header in headers if header in left_out][:_NAMED]
        said = f"(too narrow for: {', '.join(named)}{more})"
        found += _wrapped(said, room or _WIDTH, " ")
    return "\n".join(found)


_Columns = list[tuple[str, int, Sequence[str]]]
"""Of each its header, its width, and its cells, the header first."""


def _too_many(
    headers: Sequence[str], least: Sequence[int], dispensable: Iterable[str], room: int
) -> list[str]:
    """The columns to leave out, the dispensable in their order, until the least widths of the others fit."""
    left_out: list[str] = []
    for name in (name for name in dispensable if name in headers):
        kept = [width for header, width in zip(headers, least, strict=True) if header not in left_out]
        if _total(kept) <= room:
            break
        left_out.append(name)
    return left_out


def _with_last_wrapped(columns: _Columns, room: int) -> _Columns:
    """The columns with the last one's cells in as many lines as they take, if it is too wide."""
    widths = [width for _, width, _ in columns]
    header = columns[-1][0]
    widths[-1] = min(widths[-1], max(_LEAST_CELL, len(header), room - _total([*widths[:-1], 0])))
    return _wrapped_to(columns, widths)


def _least_width(cells: Sequence[str]) -> int:
    """The width that a column takes at least if its cells may be wrapped: no word is parted."""
    longest = max(len(word) for cell in cells for word in cell.split(" "))
    return max(longest, min(_LEAST_CELL, max(map(len, cells))))


def _narrowed(columns: _Columns, least: Sequence[int], room: int) -> list[int]:
    """The widths of columns so that they fit: the widest that is above its least gets narrower first."""
    widths = [width for _, width, _ in columns]
    while _total(widths) > room:
        wide = [place for place, width in enumerate(widths) if width > least[place]]
        if not wide:
            break
        widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _wrapped_to(columns: _Columns, widths: Sequence[int]) -> _Columns:
    """The columns with the cells in as many lines as they take; those that are no wider stay as they are."""
    if all(width <= narrow for (_, width, _), narrow in zip(columns, widths, strict=True)):
        return columns
    parts = [
        [[cell] if width <= narrow else _wrapped(cell, narrow, "") or [""] for cell in cells]
        for (_, width, cells), narrow in zip(columns, widths, strict=True)
    ]
    heights = [max(map(len, row)) for row in zip(*parts, strict=True)]
    spread = [
        [
            line
            for part, height in zip(column, heights, strict=True)
            for line in (*part, *[""] * (height - len(part)))
        ]
        for column in parts
    ]
    return [
        (header, max(map(len, cells)), cells) for (header, *_), cells in zip(columns, spread, strict=True)
    ]


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    """Text in lines of `width` characters, which colours are none of. `textwrap` would count those."""
    lines: list[str] = []
    line = ""
    for space, word in re.findall("( *)([^ ]+)", re.sub(r"\s", " ", text)):
        if line.strip() and len(_COLOUR.sub("", line + space + word)) > width:
            lines.append(line)
            line = indent + word
        else:
            line += space + word
    return [*lines, line] if line else lines


def indented(text: str, by: str = "  ") -> str:
    """Every line of a text moved to the right."""
    return "\n".join(by + line if line else line for line in text.splitlines())
