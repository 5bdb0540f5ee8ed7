"""How numbers, gauges and gaps look in text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_WIDTH = 100
_GAP = "  "


@dataclass(frozen=True)
class Style:
    """What the reader's terminal can show.

    `encoding` is the character set text is written in, `width` how many characters there are in a line.
    """

    encoding: str = "utf-8"
    colour: bool = False
    width: int = _WIDTH
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        """See whether the characters beyond ASCII that are used here can be written."""
        try:
            "—█░→".encode(self.encoding)
            plain = False
        except (UnicodeEncodeError, LookupError):
            plain = True
        object.__setattr__(self, "plain", plain)

    @property
    def room(self) -> int:
        """How wide a table may be, which is indented."""
        return self.width - len(_GAP)

    def wrapped(self, line: str, indent: str) -> list[str]:
        """A line in as many as it takes, those behind the first indented."""
        return wrap(
            line, self.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )

    def title(self, text: str) -> str:
        """A heading."""
        return self._coloured(text, "1")

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
        """What stands for a value that is not to be had."""
        return "-" if self.plain else "—"

    @property
    def ellipsis(self) -> str:
        """What stands for the rest of a word that was cut off."""
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

    def text(self, value: Any) -> str:
        """Anything else."""
        return self.missing if value is None else str(value)


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
) -> str:
    """A table of ready strings, without its final newline. The columns named in `right` are aligned there.

    Where it is wider than `room`, columns are left out one after the other, those named in `dispensable` in
    that order, and a line below says so.
    """
    at_right, lines = set(right), [list(headers), *map(list, rows)]
    columns = [
        (header, max(map(len, cells)), cells)
        for header, cells in zip(headers, zip(*lines, strict=True), strict=True)
    ]
    left_out = []
    for name in dispensable:
        if room is None or sum(width + len(_GAP) for _, width, _ in columns) - len(_GAP) <= room:
            break
        left_out.append(name)
        columns = [column for column in columns if column[0] != name]
    filled = [
        [cell.rjust(width) if header in at_right else cell.ljust(width) for cell in cells]
        for header, width, cells in columns
    ]
    found = [_GAP.join(cells).rstrip() for cells in zip(*filled, strict=True)]
    found.insert(1, _GAP.join("-" * width for _, width, _ in columns))
    if left_out:
        found.append(f"(too narrow for: {', '.join(left_out)})")
    return "\n".join(found)


def indented(text: str, by: str = "  ") -> str:
    """Every line of a text moved to the right."""
    return "\n".join(by + line if line else line for line in text.splitlines())
