"""Memory pressure: the level, its thresholds, the strategies against it, and the frame pool."""

from __future__ import annotations

from gdbplugin.kernel.clock import Clock, Timed, read_clock
from gdbplugin.kernel.design import LEVELS
from gdbplugin.kernel.frames import Frames, read_frames
from gdbplugin.kernel.interface import read_strategy_units
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import MANAGER, Kernel
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
    """A strategy's runs and their gain, in the strategy's own unit (frames, or pages moved)."""

    strategy: str | None
    """Its name."""
    skip_count: int | None
    """Times it was skipped because it gained nothing before."""
    run_count: int | None
    """Runs."""
    last_won: int | None
    """What the last run gained, in the strategy's unit."""
    total_won: int | None
    """What all runs gained."""
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


@dataclass(frozen=True)
class PressureState(Noticed, Timed):
    """The pressure handler, the frame pool (None where the kernel has none on record), and the time."""

    json_fields = ("pressure", "frames", "units", "time")

    pressure: Pressure
    """The pressure handler."""
    frames: Frames | None
    """The frame pool; null in a kernel that has none on record."""
    clock: Clock
    units: dict[str, str]
    """What each strategy counts as its gain; empty in a kernel that does not say."""

    @property
    def free(self) -> int | None:
        """Available frames: free and cached ones."""
        frames = self.frames
        if frames is None or frames.free_frames is None or frames.cached_frames is None:
            return None
        return frames.free_frames + frames.cached_frames


def read_pressure_state(kernel: Kernel) -> PressureState:
    """Decode the pressure handler and the pool's counters."""
    kernel.note_change()
    frames = read_frames(kernel)
    # Of our own kernel, what an older one has is shown as far as it goes.
    has_pool = kernel.keeps_promises or kernel.has(MANAGER, "frames")
    return PressureState(
        read_pressure(kernel),
        frames if has_pool else None,
        read_clock(kernel),
        read_strategy_units(kernel),
        journal=kernel.journal,
    )
