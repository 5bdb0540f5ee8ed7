"""Memory pressure: the level, its thresholds, and the strategies against it."""

from __future__ import annotations

from gdbplugin.kernel.design import LEVELS
from gdbplugin.kernel.target import Kernel
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LEVELS", "Pressure", "StrategyRecord", "Threshold", "read_pressure"]


@dataclass(frozen=True)
class Threshold:
    """A level's border, in free frames: it begins below the one and ends at the other."""

    enter_below: int | None
    leave_at: int | None


@dataclass(frozen=True)
class StrategyRecord:
    """A strategy's runs and what they won, in the strategy's own unit (frames, or pages moved)."""

    strategy: str | None
    skip_count: int | None
    run_count: int | None
    last_won: int | None
    total_won: int | None
    last_run_time: int | None
    backoff: int | None
    backoff_left: int | None


@dataclass(frozen=True)
class Pressure:
    """The pressure handler. `free_frames` is what the level was last taken from.

    The last three are of other kernels of this design: a border for each of the four levels in a unit of that
    kernel's own, when it last looked, and how often the level changed.
    """

    level: str | None
    free_frames: int | None
    limit_frames: int | None
    thresholds: tuple[Threshold, ...] | None
    level_events: tuple[int, ...] | None
    strategies: tuple[StrategyRecord, ...] | None
    last_change_time: int | None
    pressure_thresholds: tuple[int, ...] | None = None
    last_pressure_check: int | None = None
    pressure_events: int | None = None


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
