"""Memory pressure: the level, its thresholds, and the strategies against it."""

from __future__ import annotations

from gdbplugin.kernel.design import LEVELS
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    Level = Literal["Low", "Medium", "High", "Critical"]

__all__ = ["LEVELS", "Pressure", "StrategyRecord", "Threshold", "read_pressure"]


@dataclass(frozen=True)
class Threshold:
    """A level's border, in free frames: it begins below the one and ends at the other."""

    enter_below: int | None
    """The level begins when fewer frames are free."""
    leave_at: int | None
    """It ends when so many are free again."""


@dataclass(frozen=True)
class StrategyRecord:
    """A strategy's runs and what they won, in the strategy's own unit (frames, or pages moved)."""

    strategy: str | None
    """Its name."""
    skip_count: int | None
    """Times it was passed over, having won nothing before."""
    run_count: int | None
    """Runs."""
    last_won: int | None
    """What the last run won, in the strategy's unit."""
    total_won: int | None
    """What all runs won."""
    last_run_time: int | None
    """Timer count of the last run; 0 before."""
    backoff: int | None
    """Occasions to pass over before the next try."""
    backoff_left: int | None
    """Those left of them."""


@dataclass(frozen=True)
class Pressure:
    """The pressure handler. `free_frames` is what the level was last taken from.

    The last three are of other kernels of this design: a border for each of the four levels in a unit of that
    kernel's own, when it last looked, and how often the level changed.
    """

    level: Level | None
    """PressureLevel."""
    free_frames: int | None
    """Frames that the level was last taken from."""
    limit_frames: int | None
    """Frames that count as all."""
    thresholds: tuple[Threshold, ...] | None
    """Of Medium, High and Critical; null in a kernel that has none."""
    level_events: tuple[int, ...] | None
    """Times that Low, Medium, High and Critical were entered."""
    strategies: tuple[StrategyRecord, ...] | None
    """The strategies against it; null in a kernel that has none."""
    last_change_time: int | None
    """Timer count of the last change of level."""
    pressure_thresholds: tuple[int, ...] | None = None
    """A border for each of the four levels in a unit of that kernel's own; null where `thresholds` has
    them."""
    last_pressure_check: int | None = None
    """When the kernel last looked at the pressure; null in a kernel that does not say."""
    pressure_events: int | None = None
    """How often the level changed; null where `level_events` has it by level."""


def read_pressure(kernel: Kernel) -> Pressure:
    """Decode the pressure handler; one read."""
    return kernel.part_record(Pressure, "pressure_handler", "pressure", _lists)


def _lists(kernel: Kernel, values: dict[str, Any]) -> dict[str, object]:
    """The thresholds and the strategies, where the handler has them."""
    given: dict[str, object] = {}
    if "thresholds" in values:
        given["thresholds"] = tuple(
            kernel.record(Threshold, entry, f"threshold of {level}")
            for level, entry in zip(LEVELS[1:], values["thresholds"], strict=False)
        )
    if "strategies" in values:
        given["strategies"] = tuple(
            kernel.record(StrategyRecord, entry, f"strategy {index}")
            for index, entry in enumerate(values["strategies"])
        )
    return given
