"""Memory pressure: the level, its thresholds, the strategies against it, and the physical frames."""

from __future__ import annotations

from collections import Counter

from gdbplugin.kernel.design import LEVELS as LEVELS
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.interface import Clock, Timed, read_clock, read_strategy_units
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.layout.decode import Columns, Invalid
from gdbplugin.layout.types import Array, unwrap
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    Level = Literal["Low", "Medium", "High", "Critical"]


PAGE_BYTES = 4096
_POOL_COUNTERS = (
    "base",
    "total_frames",
    "limit_frames",
    "free_frames",
    "cached_frames",
    "retired_frames",
    "allocation_count",
    "release_count",
    "failure_count",
)


@dataclass(frozen=True)
class Frames:
    """The pool of physical frames. A frame has 4,096 bytes."""

    json_fields = (*_POOL_COUNTERS, "used_frames")

    base: int | None
    """Physical address of frame 0."""
    total_frames: int | None
    """Frames of 4 KiB in the pool."""
    limit_frames: int | None
    """Frames that the pool may use."""
    free_frames: int | None
    """Free frames."""
    cached_frames: int | None
    """Frames kept ready for use; they are available, too."""
    retired_frames: int | None
    """Frames beyond the limit."""
    allocation_count: int | None
    """Allocations since boot."""
    release_count: int | None
    """Releases since boot."""
    failure_count: int | None
    """Allocations that failed."""

    @property
    def used_frames(self) -> int | None:
        """Frames that are neither free nor cached nor retired."""
        counts = (self.total_frames, self.free_frames, self.cached_frames, self.retired_frames)
        known = [count for count in counts if count is not None]
        return known[0] - sum(known[1:]) if len(known) == len(counts) else None

    def number(self, address: int) -> int | None:
        """The number of the frame that holds a physical address; None if it is not in the pool."""
        if self.base is None or self.total_frames is None or address < self.base:
            return None
        number = (address - self.base) // PAGE_BYTES
        return number if number < self.total_frames else None


@dataclass(frozen=True)
class FrameTable:
    """The reverse map: for each frame its use by name, its owner, and the index within that use.

    A use that cannot be decoded is None.
    """

    uses: tuple[str | None, ...]
    owners: tuple[int | None, ...]
    indexes: tuple[int | None, ...]

    def count(self) -> Counter[str | None]:
        """How many frames have each use."""
        return Counter(self.uses)

    def entry(self, number: int) -> tuple[str | None, int | None, int | None]:
        """Use, owner and index of a frame; all None beyond the map, where a damaged counter may lead."""
        if number >= len(self.uses):
            return None, None, None
        return self.uses[number], self.owners[number], self.indexes[number]


def read_frames(kernel: Kernel) -> Frames:
    """Decode the pool's counters, each with a small read, because the pool's tables are large."""
    values: dict[str, Any] = dict.fromkeys(_POOL_COUNTERS)
    for name in _POOL_COUNTERS:
        if (field := kernel.read_field(MANAGER, f"frames.{name}")) is not None:
            values[name] = field.value
    return kernel.make_record(Frames, values, "frame pool")


def read_frame_table(kernel: Kernel) -> FrameTable | None:
    """Decode the reverse map, in one read; None and a note if this kernel has none."""
    field = kernel.read_field(MANAGER, "frames.info")
    array = unwrap(field.type) if field else None
    if field is None or not isinstance(array, Array):
        return None
    columns, data = Columns(array.element, ("usage", "owner", "index")), field.data
    return FrameTable(*(_read_column(kernel, columns, name, data) for name in columns.names))


def _read_column(kernel: Kernel, columns: Columns, name: str, data: bytes) -> tuple[Any, ...]:
    """One field of every frame's entry; None and a finding where it is not a value of its type."""
    if name in columns.missing:
        kernel.diagnostics.add_missing("FrameInfo", f"field {name}")
        return (None,) * (len(data) // columns.row_bytes)
    numbers, convert = columns.column(name, data), columns.convert[name]
    if convert is None:
        return tuple(numbers)
    meanings = {number: convert(number) for number in set(numbers)}
    for number, meaning in meanings.items():
        if isinstance(meaning, Invalid):
            kernel.diagnostics.add_finding(
                f"frame {numbers.index(number)}: {name}", meaning.expected, f"{number:#x}"
            )
            meanings[number] = None
    return tuple(map(meanings.__getitem__, numbers))


@dataclass(frozen=True)
class Threshold:
    """When a level begins and when it ends, in free frames."""

    enter_below: int | None
    """The level begins when fewer frames than this are free."""
    leave_at: int | None
    """It ends when this many are free again."""


@dataclass(frozen=True)
class StrategyRecord:
    """A strategy's runs and their gain, in the unit of what it is for: frames, or frames in one run."""

    strategy: str | None
    """Its name."""
    skip_count: int | None
    """Times it was skipped because it gained nothing before."""
    run_count: int | None
    """Runs."""
    last_won: int | None
    """What the last run gained, in its unit."""
    total_won: int | None
    """What all runs gained."""
    last_run_time: int | None
    """Timer count of the last run; 0 before the first."""
    backoff: int | None
    """How many times it is skipped before the next try."""
    backoff_left: int | None
    """How many of these skips are left."""
    average_won: int | None = None
    """The expected gain in sixteenths of its unit: an average in which newer runs weigh more. Null in a
    kernel that does not say."""
    pages_moved: int | None = None
    """Pages and tables that it moved; null in a kernel that does not say."""


@dataclass(frozen=True)
class Pressure:
    """The pressure handler. The last three fields are those of other kernels of the design."""

    level: Level | None
    """The level of memory pressure."""
    free_frames: int | None
    """Free frames when the level was last worked out."""
    limit_frames: int | None
    """Frames that count as the whole pool."""
    thresholds: tuple[Threshold, ...] | None
    """Those of Medium, High and Critical; null in a kernel that has none."""
    level_events: tuple[int, ...] | None
    """Times that Low, Medium, High and Critical were entered."""
    strategies: tuple[StrategyRecord, ...] | None
    """The strategies against pressure; null in a kernel that has none."""
    last_change_time: int | None
    """Timer count of the last change of level."""
    pressure_thresholds: tuple[int, ...] | None = None
    """A threshold for each of the four levels, in the kernel's own unit; null where `thresholds` has them."""
    last_pressure_check: int | None = None
    """When the kernel last looked at the pressure; null in a kernel that does not say."""
    pressure_events: int | None = None
    """How often the level changed; null where `level_events` has it by level."""


def read_pressure(kernel: Kernel) -> Pressure:
    """Decode the pressure handler; one read."""
    return kernel.read_record(Pressure, "pressure_handler", "pressure", _lists)


def _lists(kernel: Kernel, values: dict[str, Any]) -> dict[str, object]:
    """The thresholds and the strategies, if the handler has them."""
    given: dict[str, object] = {}
    if "thresholds" in values:
        given["thresholds"] = tuple(
            kernel.make_record(Threshold, entry, f"threshold of {level}")
            for level, entry in zip(LEVELS[1:], values["thresholds"], strict=False)
        )
    if "strategies" in values:
        given["strategies"] = tuple(
            kernel.make_record(StrategyRecord, entry, f"strategy {index}")
            for index, entry in enumerate(values["strategies"])
        )
    return given


@dataclass(frozen=True)
class Quota:
    """How much of a resource a task uses, and the most that it may use."""

    used: int | None
    """What it uses now."""
    max: int | None
    """The most that it may use."""


@dataclass(frozen=True)
class TaskQuotas:
    """The quotas of a task."""

    task: int
    """Its number."""
    frames: Quota
    """Frames: pages and translation tables."""
    ranges: Quota
    """Lazy ranges."""
    pages: Quota
    """Lazy pages."""


def read_quotas(kernel: Kernel) -> tuple[TaskQuotas, ...] | None:
    """The quotas of the tasks that own a frame, largest owner first; None in a kernel without quotas."""
    paths = ("frames.quotas", "lazy_allocator.quotas", "lazy_allocator.page_quotas")
    if not all(kernel.has(MANAGER, path) for path in paths):
        return None
    quotas = (part.value if (part := kernel.read_field(MANAGER, path)) else () for path in paths)
    found = [
        TaskQuotas(task, *(kernel.make_record(Quota, one, f"quota of task {task}") for one in of_task))
        for task, of_task in enumerate(zip(*quotas, strict=False))
        if task and of_task[0].get("used")
    ]
    return tuple(sorted(found, key=lambda one: (-(one.frames.used or 0), one.task)))


@dataclass(frozen=True)
class PressureState(Diagnosed, Timed):
    """The pressure handler, the frame pool, and the quotas of tasks."""

    json_fields = ("pressure", "frames", "units", "quotas", "time")

    pressure: Pressure
    """The pressure handler."""
    frames: Frames | None
    """The frame pool; null in a kernel that has none on record."""
    clock: Clock
    units: dict[str, str]
    """The unit of each strategy's gain; empty in a kernel that does not say."""
    quotas: tuple[TaskQuotas, ...] | None = None
    """The quotas of the tasks that own a frame, largest owner first; null in a kernel without quotas."""

    @property
    def free(self) -> int | None:
        """Available frames: free and cached ones."""
        frames = self.frames
        if frames is None or frames.free_frames is None or frames.cached_frames is None:
            return None
        return frames.free_frames + frames.cached_frames


def has_pool(kernel: Kernel) -> bool:
    """Whether a kernel has a frame pool on record; of an older one of our own, it may be a part."""
    return kernel.has_debugger_interface or kernel.has(MANAGER, "frames")


def read_pressure_state(kernel: Kernel) -> PressureState:
    """Decode the pressure handler and the pool's counters."""
    kernel.note_change()
    frames = read_frames(kernel)
    return PressureState(
        read_pressure(kernel),
        frames if has_pool(kernel) else None,
        read_clock(kernel),
        read_strategy_units(kernel),
        read_quotas(kernel),
        diagnostics=kernel.diagnostics,
    )


def read_level_number(kernel: Kernel) -> int | None:
    """The level of memory pressure as a number, from 0; None if it is not a known level."""
    field = kernel.read_field(MANAGER, "pressure_handler.level")
    return LEVELS.index(field.value) if field is not None and field.value in LEVELS else None
