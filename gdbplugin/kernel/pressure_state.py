"""Memory pressure with the frames that it comes from."""

from __future__ import annotations

from gdbplugin.kernel.clock import Clock, read_clock
from gdbplugin.kernel.exports import read_strategy_units
from gdbplugin.kernel.frames import Frames, read_frames
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.pressure import Pressure, read_pressure
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class PressureState(Noticed):
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
    def time(self) -> Clock:
        """The kernel's own timer; all times are counts of it."""
        return self.clock

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
