"""All of TinyOS's objects as of one moment, out of bytes alone: no register is asked for, no table walked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gdbplugin.kernel.clock import Clock
from gdbplugin.kernel.events import Events, read_events
from gdbplugin.kernel.failure import FailureRecord, read_failure
from gdbplugin.kernel.frames import FrameTable, read_frame_table
from gdbplugin.kernel.journal import Finding, History, Journal
from gdbplugin.kernel.kernel import CHANGING, MANAGER, SCHEDULER, Kernel, KernelNotReadyError
from gdbplugin.kernel.lazy import LazyPages, read_lazy_pages
from gdbplugin.kernel.pressure import PressureState, read_pressure_state
from gdbplugin.kernel.spaces import AddressSpaces, read_spaces
from gdbplugin.kernel.stacks import Stacks, read_stacks
from gdbplugin.kernel.statistics import Counters, DynamicMemoryStats, read_counters
from gdbplugin.kernel.tasks import Tasks, read_tasks
from gdbplugin.layout.types import Layout
from gdbplugin.machine import MachineError
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Value = TypeVar("_Value")


@dataclass(frozen=True)
class Snapshot:
    """The kernel at one moment, whole: no change was under way.

    Or nothing moved, for the kernel was stopped or had failed, and a change was: `changing`, and a note.
    `counters.since` compares with the snapshot before. `lazy` has its records only if they were asked for,
    and `events` the newest. `failure` is what stopped the kernel, if something did. `sequence` is the
    manager's counter: while it is the same, so is all that the manager keeps. `torn` counts the tries before
    this one that a change came into.
    """

    counters: Counters
    stacks: Stacks
    tasks: Tasks | None
    pressure: PressureState
    spaces: AddressSpaces
    events: Events
    frame_table: FrameTable | None
    lazy: LazyPages
    failure: FailureRecord | None
    changing: bool
    sequence: int | None
    torn: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def stats(self) -> DynamicMemoryStats:
        """The ten counters."""
        return self.counters.stats

    @property
    def clock(self) -> Clock:
        """The kernel's time."""
        return self.counters.clock


class Copies:
    """Bytes of the kernel's statics, by their virtual addresses: a `gdbplugin.kernel.kernel.Memory`."""

    def __init__(self, parts: Mapping[int, bytes]) -> None:
        self._parts = sorted(parts.items(), reverse=True)

    def read(self, address: int, length: int) -> bytes:
        """See `Memory`."""
        for start, data in self._parts:
            offset = address - start
            if offset >= 0:
                if offset + length <= len(data):
                    return data[offset : offset + length]
                break
        raise MachineError(f"{length} bytes at {address:#x} were not copied from the machine")


class NoMachine:
    """A `gdbplugin.machine.Machine` of which nothing is known."""

    cores: Sequence[int] = ()

    def read_physical(self, address: int, length: int) -> bytes:
        """See `Machine`."""
        raise MachineError(f"{length} bytes of physical memory at {address:#x} were not copied")

    def register(self, name: str, core: int) -> int | None:  # noqa: ARG002 (a machine's are asked for so)
        """See `Machine`."""
        return None


class SnapshotReader:
    """Decodes snapshots one after another. What has not changed since the last one is not decoded again."""

    def __init__(self, layout: Layout, events: int) -> None:
        """Of the events, each snapshot has the newest `events`."""
        self._layout = layout
        self._events = events
        self._history = History()
        self._bytes: dict[str, bytes] = {}
        self._decoded: dict[str, Any] = {}

    def read(self, copies: Copies, *, lazy_pages: bool, torn: int = 0) -> Snapshot:
        """Decode everything out of whole copies of the statics.

        With `lazy_pages` each lazy page too, which is to be among the copies then. Raises a `MachineError`
        for a program that is not TinyOS, `KernelNotReadyError` for one that has not set up its memory yet.
        """
        kernel = Kernel(NoMachine(), self._layout, Journal(), self._history, memory=copies)
        if kernel.integer(MANAGER, "frames.total_frames") == 0:
            raise KernelNotReadyError("the kernel has not set up its memory yet; let it run on")
        changing = kernel.is_changing(SCHEDULER)
        if changing:
            kernel.journal.note(CHANGING)
        snapshot = Snapshot(
            counters=read_counters(kernel),
            stacks=self._once(kernel, "stack_manager", read_stacks),
            tasks=read_tasks(kernel),
            pressure=read_pressure_state(kernel),
            spaces=read_spaces(kernel),
            events=self._once(kernel, "events", lambda kernel: read_events(kernel, self._events)),
            frame_table=self._once(kernel, "frames.info", read_frame_table),
            lazy=read_lazy_pages(kernel, records=lazy_pages),
            failure=read_failure(kernel),
            changing=changing or kernel.is_changing(MANAGER),
            sequence=kernel.integer(MANAGER, "sequence"),
            torn=torn,
            findings=tuple(kernel.journal.findings),
            notes=tuple(kernel.journal.notes),
        )
        self._history.ran()
        return snapshot

    def _once(self, kernel: Kernel, path: str, read: Callable[[Kernel], _Value]) -> _Value:
        """What `read` makes of the manager's bytes at `path`, decoded again only where they have changed."""
        part = kernel.part(MANAGER, path)
        data = part.data if part is not None else b""
        if self._bytes.get(path) != data:
            self._bytes[path] = data
            self._decoded.pop(path, None)
        same = Kernel(
            kernel.machine, self._layout, kernel.journal, decoded=self._decoded, memory=kernel.memory
        )
        return same.once(path, lambda: read(same))
