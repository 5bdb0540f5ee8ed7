"""What the kernel exports to debuggers: requests, memory map, tick rate, units of strategies.

A kernel that does not export one has None, or nothing, in its place. See `kernel/src/debugger.rs`.
"""

from __future__ import annotations

from gdbplugin.kernel.kernel import Kernel, NotTinyOSError
from gdbplugin.layout.decode import text, value
from gdbplugin.layout.types import Type, locate_path
from gdbplugin.records import dataclass, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INTERFACE = "tinyos::debugger::DEBUGGER_INTERFACE"
CHANGED = "tinyos::debugger::debugger_request_changed"
"""The function that the kernel calls when `active` or `progress` has changed, and when it has failed."""

CONTEXT_TEST, STRESS_TEST, CANCEL = 1, 2, 3
NAMES = {CONTEXT_TEST: "context switching test", STRESS_TEST: "stress test", CANCEL: "cancellation"}
NO_ROOM = 4
"""Not all tasks of the test could be started."""
RESULTS = {0: "passed", 1: "failed", 2: "unknown request", 3: "cancelled", NO_ROOM: "no room"}

_MAGIC = b"TinyOSdb"
# The first version that says what is being carried out.
_VERSION = 2


@dataclass(frozen=True)
class Interface:
    """Numbers of requests: one not taken up yet, the one being carried out (0: none), and those done.

    `progress` counts the steps of the active one, or of the last.
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
    """Read it; raises `NotTinyOSError` where this kernel takes no requests, or in an older way."""
    if not kernel.keeps_promises and kernel.layout.static(INTERFACE) is None:
        raise NotTinyOSError(
            "this kernel has no interface for debuggers (DEBUGGER_INTERFACE): it cannot be asked for a test"
        )
    place = kernel.static(INTERFACE)
    raw = kernel.memory.read(place.address, place.type.size)
    if not raw.startswith(_MAGIC):
        raise NotTinyOSError(f"DEBUGGER_INTERFACE begins with {raw[:8]!r} instead of {_MAGIC!r}")
    interface = decode_interface(place.type, raw)
    if interface.version is None or interface.version < _VERSION or interface.active is None:
        raise NotTinyOSError(
            f"this kernel's debugger interface is of version {interface.version}, "
            f"but requests are made by version {_VERSION}"
        )
    return interface


def decode_interface(type_: Type, raw: bytes) -> Interface:
    """The interface out of its bytes, by its static's type; None for what this kernel's has not."""
    values = value(type_, raw)
    found = {field.name: values.get(field.name) for field in fields(Interface)}
    return Interface(**{name: entry if isinstance(entry, int) else None for name, entry in found.items()})


MEMORY_MAP = "tinyos::debugger::DEBUGGER_MEMORY_MAP"
STRATEGY_UNITS = "tinyos::debugger::DEBUGGER_STRATEGY_UNITS"

PROGRAMS, TASK_PAGE, LAZY_PAGES, STACKS = "Programs", "TaskPage", "LazyPages", "Stacks"
LINEAR_MAP, IMAGE, DEVICES = "LinearMap", "Image", "Devices"


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
        """By how much virtual addresses are above physical ones."""
        return self.start - self.physical


def read_memory_map(kernel: Kernel) -> tuple[MemoryRange, ...]:
    """The kernel's memory map, read once at a stop; empty, and a note, where the kernel exports none."""
    return kernel.once("memory map", lambda: _memory_map(kernel))


def range_of(kernel: Kernel, kind: str) -> MemoryRange | None:
    """The first range of a kind; None where the kernel exports none."""
    return next((one for one in read_memory_map(kernel) if one.kind == kind), None)


def timer_frequency(kernel: Kernel) -> int | None:
    """Counts of the generic timer in a second; None where the kernel does not export it."""
    return exported_number(kernel, INTERFACE, "timer_frequency") or None


def ticks_per_second(kernel: Kernel) -> int | None:
    """How often the scheduler's timer ticks; None where the kernel does not export it."""
    return exported_number(kernel, INTERFACE, "ticks_per_second") or None


def read_strategy_units(kernel: Kernel) -> dict[str, str]:
    """The unit in which each strategy counts its gain; empty where the kernel does not export them."""
    return kernel.once("strategy units", lambda: _strategy_units(kernel))


def exported_number(kernel: Kernel, static_name: str, path: str) -> int | None:
    """A number of a static; None, without a note, where the kernel has no such static or field."""
    static = kernel.layout.static(static_name)
    if static is None or locate_path(static.type, path) is None:
        return None
    return kernel.integer(static_name, path)


def _memory_map(kernel: Kernel) -> tuple[MemoryRange, ...]:
    entries = _entries(kernel, MEMORY_MAP, ("start", "end", "physical", "kind"))
    if not entries:
        kernel.journal.lack("", "memory map for debuggers (DEBUGGER_MEMORY_MAP)")
    found = []
    for number, entry in enumerate(entries):
        kind = kernel.checked(entry["kind"], f"memory map, range {number}: kind")
        if kind is None:
            continue
        if entry["start"] >= entry["end"]:
            expected, there = "start below end", f"{entry['start']:#x} and {entry['end']:#x}"
            kernel.journal.find(f"memory map, range {number}", expected, there)
            continue
        found.append(MemoryRange(entry["start"], entry["end"], entry["physical"], str(kind)))
    return tuple(found)


def _strategy_units(kernel: Kernel) -> dict[str, str]:
    units = {}
    for number, entry in enumerate(_entries(kernel, STRATEGY_UNITS, ("strategy", "unit"))):
        strategy = kernel.checked(entry["strategy"], f"strategy unit {number}: strategy")
        if strategy is not None:
            units[str(strategy)] = text(bytes(entry["unit"]))
    return units


def _entries(kernel: Kernel, name: str, wanted: tuple[str, ...]) -> list[dict[str, Any]]:
    """The structs of an exported array that have the wanted fields; none where there is no such static."""
    static = kernel.layout.static(name)
    if static is None:
        return []
    found = value(static.type, kernel.memory.read(static.address, static.type.size))
    entries = found if isinstance(found, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and all(key in entry for key in wanted)]
