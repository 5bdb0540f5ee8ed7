"""Everything that is compared of a kernel at one moment: its objects, its mappings, and its events.

A moment is decoded data alone: it stays as it is while the machine runs on, and after a dump is closed.
"""

from __future__ import annotations

from gdbplugin.kernel.diagnostics import Diagnostics, Finding
from gdbplugin.kernel.events import Events, event_names, has_events, read_events
from gdbplugin.kernel.interface import PROGRAMS, TASK_PAGE, Clock, read_clock, read_memory_map
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel, KernelNotReadyError
from gdbplugin.kernel.lazy import LazyPages, read_lazy_pages
from gdbplugin.kernel.pressure import (
    Frames,
    FrameTable,
    Pressure,
    read_frame_table,
    read_frames,
    read_pressure,
)
from gdbplugin.kernel.spaces import (
    AddressSpaces,
    SpaceMap,
    read_kernel_map,
    read_space_maps,
    read_spaces,
)
from gdbplugin.kernel.stacks import Stacks, read_stacks
from gdbplugin.kernel.statistics import read_other_counters, read_statistics
from gdbplugin.kernel.tasks import Tasks, read_tasks
from gdbplugin.records import asdict, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.aarch64.regime import TranslationRegime

KERNEL_HALF = -1
"""Stands for the kernel's own half among the numbers of address spaces."""


@dataclass(frozen=True)
class Moment:
    """A kernel at one moment.

    `maps` has the mappings of each address space by its number, and the kernel's own half as `KERNEL_HALF`.
    `regime` translates them. `changing` says that the kernel was stopped in the middle of a change: its
    records need not agree. `task_ranges` are the addresses of what a task has mapped from its start: its
    program and its own page; empty if the kernel does not say.
    """

    label: str
    stacks: Stacks
    lazy: LazyPages
    pressure: Pressure
    frames: Frames
    frame_table: FrameTable | None
    spaces: AddressSpaces
    tasks: Tasks | None
    counters: dict[str, int | None]
    maps: dict[int, SpaceMap]
    regime: TranslationRegime | None
    task_ranges: tuple[tuple[int, int], ...]
    events: Events
    has_events: bool
    names: dict[str, dict[int, str]]
    clock: Clock
    changing: bool
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def recorded(self) -> int:
        """How many events there were since boot."""
        return self.events.recorded or 0


def read_moment(kernel: Kernel, label: str) -> Moment:
    """Read everything that is compared. What was read before at this stop is not read again.

    Findings and notes of the reading are kept in the moment, not added to the kernel's. Raises a
    `MachineError` if the kernel is not set up yet.
    """
    outer, kernel.diagnostics = kernel.diagnostics, Diagnostics()
    try:
        return _read(kernel, label)
    finally:
        kernel.diagnostics = outer


def _read(kernel: Kernel, label: str) -> Moment:
    is_own = kernel.has_debugger_interface
    if is_own and kernel.read_integer(MANAGER, "sequence") == 0:
        raise KernelNotReadyError("the kernel has not set up its memory yet: there is nothing to compare")
    spaces = read_spaces(kernel)
    maps = read_space_maps(kernel, spaces)
    if is_own and kernel.regime.upper is not None:
        maps[KERNEL_HALF] = read_kernel_map(kernel, KERNEL_HALF)
    changing = kernel.note_change()
    if is_own and not changing:
        changing = kernel.layout.static(SCHEDULER) is not None and kernel.is_changing(SCHEDULER)
    records = has_events(kernel)
    return Moment(
        label=label,
        stacks=read_stacks(kernel),
        lazy=read_lazy_pages(kernel, whole=True),
        pressure=read_pressure(kernel),
        frames=read_frames(kernel),
        frame_table=read_frame_table(kernel),
        spaces=spaces,
        tasks=read_tasks(kernel),
        counters={**asdict(read_statistics(kernel)), **read_other_counters(kernel)},
        maps=maps,
        regime=kernel.regime,
        task_ranges=tuple(
            (one.start, one.end) for one in read_memory_map(kernel) if one.kind in (PROGRAMS, TASK_PAGE)
        ),
        events=read_events(kernel) if records else Events(None, ()),
        has_events=records,
        names=event_names(kernel),
        clock=read_clock(kernel),
        changing=changing,
        findings=tuple(kernel.diagnostics.findings),
        notes=tuple(kernel.diagnostics.notes),
    )
