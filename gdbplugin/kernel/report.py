"""The whole of what the kernel's memory management is doing, on one page."""

from __future__ import annotations

from dataclasses import dataclass

from gdbplugin.aarch64.cores import Core, read_cores
from gdbplugin.kernel.frames import Frames, read_frames
from gdbplugin.kernel.lazy import LazyPages, read_lazy_pages
from gdbplugin.kernel.pressure import Pressure, read_pressure
from gdbplugin.kernel.spaces import AddressSpaces, read_spaces
from gdbplugin.kernel.stacks import Stacks, read_stacks
from gdbplugin.kernel.statistics import DynamicMemoryStats, read_statistics
from gdbplugin.kernel.target import MANAGER, Kernel
from gdbplugin.kernel.tasks import Tasks, read_tasks

CHANGING = (
    "the kernel was stopped in the middle of a change of its memory state (odd sequence counter): "
    "figures may not agree with each other"
)


@dataclass(frozen=True)
class Report:
    """Every object but the events, as of one stop."""

    stats: DynamicMemoryStats
    stacks: Stacks
    lazy: LazyPages
    pressure: Pressure
    frames: Frames
    context: AddressSpaces
    tasks: Tasks | None
    cores: tuple[Core, ...]
    changing: bool


def read_report(kernel: Kernel) -> Report:
    """Decode it all; what is noticed goes into the kernel's journal."""
    changing = kernel.is_changing(MANAGER)
    if changing:
        kernel.journal.note(CHANGING)
    return Report(
        stats=read_statistics(kernel),
        stacks=read_stacks(kernel),
        lazy=read_lazy_pages(kernel),
        pressure=read_pressure(kernel),
        frames=read_frames(kernel),
        context=read_spaces(kernel),
        tasks=read_tasks(kernel),
        cores=read_cores(kernel.machine),
        changing=changing,
    )
