"""Memory pressure: the level, its thresholds, and the strategies against it."""

from __future__ import annotations

from gdbplugin.kernel.target import MANAGER, Kernel
from gdbplugin.records import dataclass

LEVELS = ("Low", "Medium", "High", "Critical")


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
    """The pressure handler. `free_frames` is what the level was last taken from."""

    level: str | None
    free_frames: int | None
    limit_frames: int | None
    thresholds: tuple[Threshold, ...]
    level_events: tuple[int, ...] | None
    strategies: tuple[StrategyRecord, ...]
    last_change_time: int | None


def read_pressure(kernel: Kernel) -> Pressure:
    """Decode the pressure handler; one read."""
    part = kernel.part(MANAGER, "pressure_handler")
    values = part.value if part else {}
    thresholds = tuple(
        kernel.record(Threshold, entry, f"threshold of {level}")
        for level, entry in zip(LEVELS[1:], values.get("thresholds", ()), strict=False)
    )
    strategies = tuple(
        kernel.record(StrategyRecord, entry, f"strategy {index}")
        for index, entry in enumerate(values.get("strategies", ()))
    )
    return kernel.record(Pressure, values, "pressure", thresholds=thresholds, strategies=strategies)
