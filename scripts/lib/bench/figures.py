"""What was measured, beside what it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tabulate import tabulate


class MeasureError(Exception):
    """Something could not be measured. The message is one sentence."""


@dataclass(frozen=True)
class Figure:
    """A measured value in `unit`, the most that it should be (None: no goal), and its floor in the same unit.

    With `goal_ratio` what has a goal is the ratio of the value to the floor.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    floor: float | None = None
    goal_ratio: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value in floors; None where there is no floor."""
        return self.value / self.floor if self.floor else None

    @property
    def met(self) -> bool | None:
        """Whether all goals are met; None where there is none."""
        met = []
        if self.goal is not None:
            met.append(self.value <= self.goal)
        if self.goal_ratio is not None and self.ratio is not None:
            met.append(self.ratio <= self.goal_ratio)
        return all(met) if met else None

    @property
    def goals(self) -> str:
        """The goals in words."""
        parts = []
        if self.goal_ratio is not None:
            parts.append(f"≤ {self.goal_ratio:g} × floor")
        if self.goal is not None:
            parts.append(f"≤ {number(self.goal)} {self.unit}")
        return ", ".join(parts)


def number(value: float) -> str:
    """A value as a person reads it."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.2f}"


def table(figures: Sequence[Figure]) -> str:
    """The figures as text."""
    words = {True: "met", False: "missed", None: ""}
    rows = [
        (
            figure.name,
            f"{number(figure.value)} {figure.unit}",
            "" if figure.floor is None else f"{number(figure.floor)} {figure.unit}",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.goals,
            words[figure.met],
        )
        for figure in figures
    ]
    headers = ("what", "measured", "floor", "ratio", "goal", "")
    return tabulate(rows, headers, colalign=("left", "right", "right", "right", "left", "left"))


def content(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The figures for JSON."""
    return [{**asdict(figure), "ratio": figure.ratio, "met": figure.met} for figure in figures]
