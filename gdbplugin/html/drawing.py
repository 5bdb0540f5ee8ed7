"""Pictures of bars and lines, as SVG. They stretch to the page's width, so all words stand beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gdbplugin.html.markup import EMPTY, Markup, element

WIDTH = 1000
"""Every picture is so many units wide, whatever the page's width. Nothing is finer than a unit."""
_LEAST_WIDTH = 2


def picture(height: int, said: str, *shapes: str) -> Markup:
    """A picture; `said` is for who cannot see it."""
    return element(
        "svg",
        *shapes,
        viewBox=f"0 0 {WIDTH} {height}",
        preserveAspectRatio="none",
        role="img",
        aria_label=said,
        style=f"height:{height}px",
    )


class Scale:
    """Where numbers from `first` to `last` are across a picture; others are at its edge."""

    def __init__(self, first: int, last: int) -> None:
        self._first = first
        self._length = max(1, last - first)

    def __call__(self, number: int) -> int:
        """The unit of a number."""
        return min(WIDTH, max(0, (number - self._first) * WIDTH // self._length))


def bars(kind: str, spans: Iterable[tuple[int, int]], top: int, height: int) -> Markup:
    """Bars from one unit to another, as one shape. Each is so wide that it is seen on a narrow page too."""
    units: set[int] = set()
    for begin, end in spans:
        first = min(begin, WIDTH - _LEAST_WIDTH)
        units.update(range(first, max(min(end, WIDTH), first + _LEAST_WIDTH)))
    drawn = "".join(f"M{begin} {top}h{end - begin}v{height}h{begin - end}z" for begin, end in runs(units))
    return element("path", class_=kind, d=drawn) if drawn else EMPTY


def runs(units: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers that follow each other, as beginnings and exclusive ends."""
    found: list[tuple[int, int]] = []
    for unit in sorted(units):
        if found and found[-1][1] == unit:
            found[-1] = found[-1][0], unit + 1
        else:
            found.append((unit, unit + 1))
    return found


def upright(kind: str, place: int, height: int) -> Markup:
    """A line from top to bottom."""
    return element("path", class_=kind, d=f"M{place} 0v{height}")


def heights(kind: str, shares: Sequence[float], height: int) -> Markup:
    """Bars of equal width from the bottom, each so much of the height; what is not 0 is seen."""
    drawn, place = "", 0
    for number, share in enumerate(shares):
        begin, place = place, (number + 1) * WIDTH // len(shares)
        if share > 0:
            tall = max(height // 5, round(share * height))
            drawn += f"M{begin} {height}v{-tall}h{place - begin}v{tall}z"
    return element("path", class_=kind, d=drawn) if drawn else EMPTY


def steps(kind: str, points: Iterable[tuple[int, int]], height: int) -> Markup:
    """A line through counts that hold until the next; of those in one unit the extremes and the last."""
    by_unit: dict[int, list[int]] = {}
    for place, value in points:
        by_unit.setdefault(place, []).append(value)
    values = [value for known in by_unit.values() for value in known]
    if not values:
        return EMPTY
    low, high = min(values), max(values)

    def up(value: int) -> int:
        return height // 2 if high == low else height - 2 - (value - low) * (height - 4) // (high - low)

    drawn = ""
    for place, known in sorted(by_unit.items()):
        drawn += f"H{place}" if drawn else f"M{place} {up(known[0])}"
        drawn += "".join(f"V{up(value)}" for value in dict.fromkeys((min(known), max(known))))
        drawn += f"V{up(known[-1])}"
    return element("path", class_=kind, d=f"{drawn}H{WIDTH}")
