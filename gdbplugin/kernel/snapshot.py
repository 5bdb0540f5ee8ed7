"""All of TinyOS's objects at one moment: the report, and snapshots made from copied bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics, Finding, History
from gdbplugin.kernel.events import Event, EventList, Events, has_events, read_event_list, read_events
from gdbplugin.kernel.interface import Clock, FailureRecord, note_failure, read_failure
from gdbplugin.kernel.kernel import CHANGING, MANAGER, SCHEDULER, Kernel, KernelNotReadyError
from gdbplugin.kernel.lazy import LazyPages, read_lazy_pages
from gdbplugin.kernel.lazy_table import LazyTable
from gdbplugin.kernel.pressure import FrameTable, PressureState, read_frame_table, read_pressure_state
from gdbplugin.kernel.spaces import AddressSpaces, Context, read_context, read_spaces
from gdbplugin.kernel.stacks import RunningStack, Stacks, read_running, read_stacks
from gdbplugin.kernel.statistics import Counters, DynamicMemoryStats, read_counters
from gdbplugin.kernel.tasks import Tasks, read_tasks
from gdbplugin.layout.types import Layout
from gdbplugin.machine import MachineError
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Value = TypeVar("_Value")


_EVENTS = 6


@dataclass(frozen=True)
class Report(Diagnosed):
    """Every object at one stop. The JSON has findings and notes once, not with each object."""

    json_fields = (
        "counters",
        "stacks",
        "running",
        "lazy",
        "pages",
        "pressure",
        "context",
        "recorded",
        "events",
    )
    json_merged = ("counters", "stacks", "pressure", "context")

    counters: Counters
    stacks: Stacks
    running: tuple[RunningStack, ...]
    """The stacks whose tasks run on the cores, with their stack pointers at this moment."""
    lazy: LazyPages
    """The lazy page allocator."""
    pressure: PressureState
    context: Context
    recent: EventList | None

    @property
    def pages(self) -> LazyTable:
        """Every lazy page; ascending."""
        return self.lazy.pages

    @property
    def recorded(self) -> int | None:
        """How many events there were since boot."""
        return None if self.recent is None else self.recent.recorded

    @property
    def events(self) -> tuple[Event, ...] | None:
        """The newest events, oldest first; null in a kernel that records none."""
        return None if self.recent is None else self.recent.events

    @property
    def changing(self) -> bool:
        """Whether the kernel was stopped in the middle of a change: figures may not agree."""
        return self.counters.changing


def read_report(kernel: Kernel) -> Report:
    """Decode everything; findings and notes go into the kernel's diagnostics."""
    note_failure(kernel)
    counters = read_counters(kernel)
    stacks, context = read_stacks(kernel), read_context(kernel)
    return Report(
        counters=counters,
        stacks=stacks,
        running=read_running(kernel, stacks, context.spaces),
        lazy=read_lazy_pages(kernel),
        pressure=read_pressure_state(kernel),
        context=context,
        recent=read_event_list(kernel, _EVENTS) if has_events(kernel) else None,
        diagnostics=kernel.diagnostics,
    )


@dataclass(frozen=True)
class Snapshot:
    """The kernel at one moment; no change was under way, unless `changing` is True.

    That is so only if the kernel was stopped, or had failed, during a change; a note says so.
    `counters.since` compares with the snapshot before. `lazy` has its records only if they were asked for,
    `events` the newest events. `failure` is what stopped the kernel, if anything did. `sequence` is the
    manager's sequence counter: while it is the same, the manager is unchanged. `torn` counts the earlier
    tries for this snapshot that met a change.
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
    """Copies of the kernel's statics, by virtual address: a `gdbplugin.kernel.kernel.Memory`."""

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
    """A `gdbplugin.machine.Machine` without cores, memory and registers."""

    cores: Sequence[int] = ()

    def read_physical(self, address: int, length: int) -> bytes:
        """See `Machine`."""
        raise MachineError(f"{length} bytes of physical memory at {address:#x} were not copied")

    def register(self, name: str, core: int) -> int | None:  # noqa: ARG002 (the parameters of `Machine`)
        """See `Machine`."""
        return None


class SnapshotReader:
    """Decodes snapshots one after another. What has not changed since the last one is not decoded again."""

    def __init__(self, layout: Layout, events: int) -> None:
        """Each snapshot has the newest `events` events."""
        self._layout = layout
        self._events = events
        self._history = History()
        self._bytes: dict[str, bytes] = {}
        self._decoded: dict[str, Any] = {}

    def read(self, copies: Copies, *, lazy_pages: bool, torn: int = 0) -> Snapshot:
        """Decode everything from complete copies of the statics.

        With `lazy_pages`, decode each lazy page, too; the copies must then have them. Raises a `MachineError`
        if the program is not TinyOS, `KernelNotReadyError` if it has not set up its memory yet.
        """
        kernel = Kernel(NoMachine(), self._layout, Diagnostics(), self._history, memory=copies)
        if kernel.read_integer(MANAGER, "frames.total_frames") == 0:
            raise KernelNotReadyError("the kernel has not set up its memory yet; let it run on")
        changing = kernel.is_changing(SCHEDULER)
        if changing:
            kernel.diagnostics.add_note(CHANGING)
        snapshot = Snapshot(
            counters=read_counters(kernel),
            stacks=self._if_changed(kernel, "stack_manager", read_stacks),
            tasks=read_tasks(kernel),
            pressure=read_pressure_state(kernel),
            spaces=read_spaces(kernel),
            events=self._if_changed(kernel, "events", lambda kernel: read_events(kernel, self._events)),
            frame_table=self._if_changed(kernel, "frames.info", read_frame_table),
            lazy=read_lazy_pages(kernel, records=lazy_pages),
            failure=read_failure(kernel),
            changing=changing or kernel.is_changing(MANAGER),
            sequence=kernel.read_integer(MANAGER, "sequence"),
            torn=torn,
            findings=tuple(kernel.diagnostics.findings),
            notes=tuple(kernel.diagnostics.notes),
        )
        self._history.ran()
        return snapshot

    def _if_changed(self, kernel: Kernel, path: str, read: Callable[[Kernel], _Value]) -> _Value:
        """The result of `read`; the last one if the manager's bytes at `path` have not changed since."""
        field = kernel.read_field(MANAGER, path)
        data = field.data if field is not None else b""
        if self._bytes.get(path) != data:
            self._bytes[path] = data
            self._decoded.pop(path, None)
        same = Kernel(
            kernel.machine, self._layout, kernel.diagnostics, decoded=self._decoded, memory=kernel.memory
        )
        return same.cached(path, lambda: read(same))
