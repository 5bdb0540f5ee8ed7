"""Everything that a check compares: the kernel's records, and what the hardware's tables map."""

from __future__ import annotations

from gdbplugin.aarch64.cores import Core, read_cores
from gdbplugin.kernel.frames import Frames, FrameTable, read_frame_table, read_frames
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.lazy import LazyPages, read_lazy_pages
from gdbplugin.kernel.space_maps import Permissions, SpaceMap, read_space_maps
from gdbplugin.kernel.spaces import AddressSpaces, read_spaces
from gdbplugin.kernel.stacks import Stacks, read_stacks
from gdbplugin.kernel.statistics import DynamicMemoryStats, read_statistics
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class State:
    """All that is compared: the kernel's records, and what the hardware maps."""

    stats: DynamicMemoryStats
    stacks: Stacks
    lazy: LazyPages
    frames: Frames
    frame_table: FrameTable | None
    spaces: AddressSpaces
    cores: tuple[Core, ...]
    maps: dict[int, SpaceMap]
    permissions: Permissions


def read_state(kernel: Kernel) -> State:
    """Read everything that is to be compared."""
    spaces = read_spaces(kernel)
    return State(
        stats=read_statistics(kernel),
        stacks=read_stacks(kernel),
        lazy=read_lazy_pages(kernel, whole=True),
        frames=read_frames(kernel),
        frame_table=read_frame_table(kernel),
        spaces=spaces,
        cores=read_cores(kernel.machine),
        maps=read_space_maps(kernel, spaces),
        permissions=Permissions(kernel.regime),
    )
