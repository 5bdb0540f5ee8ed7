"""What the kernel exports to debuggers: requests, memory map, units, its failure, and its time.

What a kernel does not export is None or empty here. See `kernel/src/debugger.rs`.

Not every debug stub gives the generic timer's count (CNTVCT_EL0). Without it, two times are known: when the
timer will fire next (CNTV_CVAL_EL0), and when the newest event was recorded. The time now is at least the
later of that event and the previous tick, and at most one tick later. Without any timer register, the kernel
itself has the timer's frequency and the time of the last tick, which are used in the same way.
"""

from __future__ import annotations

from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel, NotTinyOSError
from gdbplugin.layout.decode import text, value
from gdbplugin.layout.types import Array, Type, locate_path, unwrap
from gdbplugin.records import dataclass, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


INTERFACE = "tinyos::debugger::DEBUGGER_INTERFACE"
CHANGED = "tinyos::debugger::debugger_request_changed"
"""The function that the kernel calls when `active` or `progress` has changed, or after a failure."""

CONTEXT_TEST, STRESS_TEST, CANCEL = 1, 2, 3
NAMES = {CONTEXT_TEST: "context switching test", STRESS_TEST: "stress test", CANCEL: "cancellation"}
NO_ROOM = 4
"""Not all tasks of the test could be started."""
OUT_OF_TIME = 5
"""Not all tasks of the test finished in time."""
RESULTS = {
    0: "passed",
    1: "failed",
    2: "unknown request",
    3: "cancelled",
    NO_ROOM: "no room",
    OUT_OF_TIME: "out of time",
}

_MAGIC = b"TinyOSdb"
# The first version that has `active`.
_VERSION = 2


@dataclass(frozen=True)
class Interface:
    """The state of requests. `request` was not started yet, `active` is being carried out (0: none).

    `served` counts the requests carried out. `progress` counts the steps of the active one, or of the last.
    """

    version: int | None
    request: int | None
    served: int | None
    result: int | None
    progress: int | None
    progress_total: int | None
    is_ready: int | None
    active: int | None


def read_interface(kernel: Kernel) -> Interface:
    """Read the interface. Raises `NotTinyOSError` if the kernel has none, or an older version."""
    if not kernel.has_debugger_interface and kernel.layout.static(INTERFACE) is None:
        raise NotTinyOSError(
            "this kernel has no interface for debuggers (DEBUGGER_INTERFACE): it takes no requests for tests"
        )
    static = kernel.static(INTERFACE)
    raw = kernel.memory.read(static.address, static.type.size)
    if not raw.startswith(_MAGIC):
        raise NotTinyOSError(f"DEBUGGER_INTERFACE begins with {raw[:8]!r} instead of {_MAGIC!r}")
    interface = decode_interface(static.type, raw)
    if interface.version is None or interface.version < _VERSION or interface.active is None:
        raise NotTinyOSError(
            f"this kernel's debugger interface has version {interface.version}, "
            f"but requests need version {_VERSION}"
        )
    return interface


def decode_interface(type_: Type, raw: bytes) -> Interface:
    """Decode the bytes of the interface; a field that this kernel does not have is None."""
    values = value(type_, raw)
    found = {field.name: values.get(field.name) for field in fields(Interface)}
    return Interface(**{name: entry if isinstance(entry, int) else None for name, entry in found.items()})


CONSOLE_INPUT = "tinyos::console_input::CONSOLE_INPUT"
MEMORY_MAP = "tinyos::debugger::DEBUGGER_MEMORY_MAP"
STRATEGY_UNITS = "tinyos::debugger::DEBUGGER_STRATEGY_UNITS"

PROGRAMS, TASK_PAGE, LAZY_PAGES, STACKS = "Programs", "TaskPage", "LazyPages", "Stacks"
LINEAR_MAP, IMAGE, DEVICES = "LinearMap", "Image", "Devices"
_UNUSED = "Unused"
"""The kind of an entry without a range."""


@dataclass(frozen=True)
class MemoryRange:
    """Virtual addresses from `start` to `end` (exclusive), and what they are for.

    `physical` is the physical address of `start` in the linear map, the image and the devices, else 0.
    """

    start: int
    end: int
    physical: int
    kind: str

    @property
    def offset(self) -> int:
        """A virtual address minus its physical address."""
        return self.start - self.physical


def read_memory_map(kernel: Kernel) -> tuple[MemoryRange, ...]:
    """The kernel's memory map, read once per stop; empty and a note if the kernel exports none."""
    return kernel.cached("memory map", lambda: _memory_map(kernel))


def range_of(kernel: Kernel, kind: str) -> MemoryRange | None:
    """The first range of a kind; None if the kernel exports none."""
    return next((one for one in read_memory_map(kernel) if one.kind == kind), None)


def timer_frequency(kernel: Kernel) -> int | None:
    """Counts per second of the generic timer; None if the kernel does not export it."""
    return exported_number(kernel, INTERFACE, "timer_frequency") or None


def ticks_per_second(kernel: Kernel) -> int | None:
    """Ticks per second of the scheduler; None if the kernel does not export it."""
    return exported_number(kernel, INTERFACE, "ticks_per_second") or None


def read_strategy_units(kernel: Kernel) -> dict[str, str]:
    """The unit of each strategy's gain, by strategy; empty if the kernel does not export them."""
    return kernel.cached("strategy units", lambda: _strategy_units(kernel))


def exported_number(kernel: Kernel, static_name: str, path: str) -> int | None:
    """A number in a static; None without a note if the kernel has no such static or field."""
    static = kernel.layout.static(static_name)
    if static is None or locate_path(static.type, path) is None:
        return None
    return kernel.read_integer(static_name, path)


def _memory_map(kernel: Kernel) -> tuple[MemoryRange, ...]:
    entries = _entries(kernel, MEMORY_MAP, ("start", "end", "physical", "kind"))
    if not entries:
        kernel.diagnostics.add_missing("", "memory map for debuggers (DEBUGGER_MEMORY_MAP)")
    found = []
    for number, entry in enumerate(entries):
        kind = kernel.valid_or_none(entry["kind"], f"memory map, range {number}: kind")
        if kind is None or kind == _UNUSED:
            continue
        if entry["start"] >= entry["end"]:
            expected, there = "start below end", f"{entry['start']:#x} and {entry['end']:#x}"
            kernel.diagnostics.add_finding(f"memory map, range {number}", expected, there)
            continue
        found.append(MemoryRange(entry["start"], entry["end"], entry["physical"], str(kind)))
    return tuple(found)


def _strategy_units(kernel: Kernel) -> dict[str, str]:
    units = {}
    for number, entry in enumerate(_entries(kernel, STRATEGY_UNITS, ("strategy", "unit"))):
        strategy = kernel.valid_or_none(entry["strategy"], f"strategy unit {number}: strategy")
        if strategy is not None:
            units[str(strategy)] = text(bytes(entry["unit"]))
    return units


def _entries(kernel: Kernel, name: str, wanted: tuple[str, ...]) -> list[dict[str, Any]]:
    """The structs of an exported array that have the wanted fields; empty if there is no such static."""
    static = kernel.layout.static(name)
    if static is None:
        return []
    found = value(static.type, kernel.memory.read(static.address, static.type.size))
    entries = found if isinstance(found, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and all(key in entry for key in wanted)]


FAILURE_RECORD = "kernel::failure::FAILURE_RECORD"
FAILURE_MAGIC = b"FAILURE\0"
_KINDS = {1: "exception", 2: "panic"}


@dataclass(frozen=True)
class FailureRecord:
    """What stopped the kernel. The registers are those at the exception; a panic has only some of them."""

    json_fields = (
        "kind_name as kind",
        "core",
        "vector",
        "syndrome",
        "fault_address",
        "link_address",
        "saved_state",
        "stack_pointer",
        "task",
        "timestamp",
        "message",
    )

    kind: int | None
    core: int | None
    """Number of the core that failed."""
    vector: int | None
    """Entry of the vector table, 0 to 15."""
    syndrome: int | None
    """ESR_EL1; 0 after a panic."""
    fault_address: int | None
    """FAR_EL1 at the failure."""
    link_address: int | None
    """ELR_EL1, or the address of the panic."""
    saved_state: int | None
    """SPSR_EL1 at the failure."""
    stack_pointer: int | None
    """The stack pointer at the failure."""
    task: int | None
    """The task that the core ran; null if there was none."""
    timestamp: int | None
    """Count of the generic timer at the failure."""
    message: str | None
    """The first line that the kernel printed about it."""

    @property
    def kind_name(self) -> str:
        """The kind of failure: exception or panic."""
        return _KINDS.get(self.kind or 0, f"unknown kind {self.kind}")


def read_failure(kernel: Kernel) -> FailureRecord | None:
    """The kernel's failure record; None if the kernel has not failed, or keeps no such record."""
    if kernel.layout.static(FAILURE_RECORD) is None:
        kernel.diagnostics.add_missing("", "FAILURE_RECORD")
        return None
    values: dict[str, Any] = {}
    for name in ("magic", *(one.name for one in fields(FailureRecord))):
        if (field := kernel.read_field(FAILURE_RECORD, name)) is not None:
            values[name] = field.value
    if values.get("magic") != FAILURE_MAGIC:
        return None
    message = values.get("message")
    if isinstance(message, bytes):
        values["message"] = text(message)
    return kernel.make_record(FailureRecord, values, "failure record")


def note_failure(kernel: Kernel) -> None:
    """Add a finding if the kernel has halted: everything shown is as it was then."""
    if kernel.layout.static(FAILURE_RECORD) is None:
        return
    failure = read_failure(kernel)
    if failure is not None:
        what = f"{failure.kind_name} on core {failure.core}: {failure.message or 'no message'}"
        kernel.diagnostics.add_finding("the kernel", "running", f"halted (see `tinyos fault`): {what}")


@dataclass(frozen=True)
class Clock:
    """The kernel's own timer at a stop."""

    frequency: int | None
    """Counts per second of the generic timer (CNTFRQ_EL0)."""
    now: int | None
    """Its count at the stop, or up to one tick less."""

    def seconds(self, counts: int | None) -> float | None:
        """Counts as seconds; None if the counts or the frequency are not known."""
        return None if counts is None or not self.frequency else counts / self.frequency

    def ago(self, time: int | None) -> float | None:
        """How many seconds ago a time was; None if it is 0 (never), or not known."""
        if not time or self.now is None:
            return None
        return self.seconds(max(0, self.now - time))


class Timed:
    """An object read at a stop, with the time of that stop."""

    clock: Clock

    @property
    def time(self) -> Clock:
        """The kernel's own timer; all times are counts of it."""
        return self.clock


def read_clock(kernel: Kernel) -> Clock:
    """The clock from core 0's registers, else from the kernel's records and the newest event."""
    machine = kernel.machine
    core = machine.cores[0] if machine.cores else 0
    frequency = machine.register("CNTFRQ_EL0", core) or timer_frequency(kernel)
    count = machine.register("CNTVCT_EL0", core)
    if count is not None:
        return Clock(frequency, count)
    known = [_newest_event(kernel)]
    deadline = machine.register("CNTV_CVAL_EL0", core)
    rate = ticks_per_second(kernel) if deadline and frequency else None
    if deadline and frequency and rate:
        known.append(max(0, deadline - frequency // rate))
    else:
        known.append(exported_number(kernel, SCHEDULER, "tick_time"))
    times = [time for time in known if time is not None]
    return Clock(frequency, max(times) if times else None)


def _newest_event(kernel: Kernel) -> int | None:
    """When the newest event was recorded; two small reads."""
    if not kernel.has(MANAGER, "events.recorded") and not kernel.has_debugger_interface:
        return None
    recorded = kernel.read_field(MANAGER, "events.recorded")
    field = kernel.locate_field(MANAGER, "events.entries")
    array = unwrap(field.type) if field else None
    if recorded is None or field is None or not isinstance(array, Array) or not recorded.value:
        return None
    size = array.element.size
    slot = (recorded.value - 1) % array.count
    entry: dict[str, Any] = value(array.element, kernel.memory.read(field.address + slot * size, size))
    time = entry.get("timestamp")
    return time if isinstance(time, int) else None
