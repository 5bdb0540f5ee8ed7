"""Constants that the kernel exports to debuggers: its memory map, its tick rate, the units of its strategies.

A kernel that does not export one has None, or nothing, in its place. See `kernel/src/debugger.rs`.
"""

from __future__ import annotations

from gdbplugin.kernel.interface import INTERFACE
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.layout.decode import text, value
from gdbplugin.layout.types import locate_path
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
