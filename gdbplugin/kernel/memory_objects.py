"""What is at an address, from TinyOS's records or from the program's symbols."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import pairwise

from gdbplugin.kernel.interface import (
    DEVICES,
    IMAGE,
    LAZY_PAGES,
    LINEAR_MAP,
    PROGRAMS,
    STACKS,
    TASK_PAGE,
    MemoryRange,
    range_of,
    read_memory_map,
)
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lazy import LazyRange, lazy_record, read_lazy_pages
from gdbplugin.kernel.lazy_table import PAGE_BYTES, page_state
from gdbplugin.kernel.stacks import DynamicStack, read_stacks
from gdbplugin.kernel.target import Symbols
from gdbplugin.records import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.lazy_table import PageState

NULL_END = 0x1_0000
"""An address below this is described as null: a null pointer with an offset."""
LARGEST_STACK_BYTES = 64 * 1024 * 1024
"""No stack is larger: a record with a larger size is corrupt."""


class MemoryObject(NamedTuple):
    """A range of virtual addresses (`end` exclusive) with a kind and a name for people.

    `number` is the ID of a stack or the slot of a lazy range, `task` its owner.
    """

    start: int
    end: int
    kind: str
    name: str
    number: int | None = None
    task: int | None = None


class MemoryObjects:
    """Memory objects in ascending order without overlaps; where two overlap, the smaller one counts."""

    def __init__(self, objects: Sequence[MemoryObject]) -> None:
        self.objects = _without_overlaps(objects)
        self._starts = [entry.start for entry in self.objects]

    def at(self, address: int) -> MemoryObject | None:
        """The object at an address; None if there is none."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self.objects[index].end:
            return None
        return self.objects[index]

    def split(self, start: int, end: int) -> Iterator[tuple[int, int, MemoryObject | None]]:
        """The parts of a range (start, end), each with the object there, or None."""
        index = max(bisect_right(self._starts, start) - 1, 0)
        position = start
        while position < end:
            while index < len(self.objects) and self.objects[index].end <= position:
                index += 1
            if index == len(self.objects) or self.objects[index].start >= end:
                yield position, end, None
                return
            here = self.objects[index]
            if here.start > position:
                yield position, here.start, None
                position = here.start
            stop = min(here.end, end)
            yield position, stop, here
            position = stop


def _without_overlaps(objects: Sequence[MemoryObject]) -> list[MemoryObject]:
    """The objects with overlaps removed: the smaller object stays, the larger one is cut."""
    pending = sorted(objects, key=lambda entry: entry.start, reverse=True)
    edges = sorted({edge for entry in objects for edge in (entry.start, entry.end)})
    here: list[tuple[int, int, MemoryObject]] = []
    flat: list[MemoryObject] = []
    for start, end in pairwise(edges):
        while pending and pending[-1].start <= start:
            entry = pending.pop()
            heappush(here, (entry.end - entry.start, len(pending), entry))
        while here and here[0][2].end <= start:
            heappop(here)
        if not here:
            continue
        entry = here[0][2]
        if flat and flat[-1].end == start and flat[-1]._replace(start=entry.start, end=entry.end) == entry:
            flat[-1] = flat[-1]._replace(end=end)
        else:
            flat.append(entry._replace(start=start, end=end))
    return flat


@dataclass(frozen=True)
class Description:
    """What is at an address."""

    json_fields = ("text", "kind", "name", "number", "task", "state", "symbol")

    address: int
    object: MemoryObject | None
    state: PageState | None
    """The state of a lazy page; null for anything else."""
    symbol: str | None
    """The symbol there, as name + offset; null if there is none."""
    text: str
    """The whole description in words."""

    @property
    def kind(self) -> str | None:
        """The kind of the object there, such as stack, guard, lazy range; null if nothing is known there."""
        return None if self.object is None else self.object.kind

    @property
    def name(self) -> str | None:
        """The name of the object."""
        return None if self.object is None else self.object.name

    @property
    def number(self) -> int | None:
        """The ID of a stack, or the slot of a lazy range; null for anything else."""
        return None if self.object is None else self.object.number

    @property
    def task(self) -> int | None:
        """The TinyOS task that the object belongs to; null if there is none or it is not known."""
        return None if self.object is None else self.object.task


def describe(address: int, objects: MemoryObjects, symbols: Symbols, kernel: Kernel | None) -> Description:
    """Describe an address in as much detail as is known."""
    found = objects.at(address)
    symbol = symbols.name(address)
    state: PageState | None = None
    if found is not None and found.kind == "lazy range" and kernel is not None:
        state = lazy_state(kernel, address)
    if found is None:
        nothing = "nothing is known about it"
        if kernel is not None:
            name = "TinyOS" if kernel.has_debugger_interface else "this kernel"
            nothing = f"nothing that {name} has on record"
        text = symbol or ("null" if address < NULL_END else nothing)
        return Description(address, None, None, symbol, text)
    text = found.name if found.task is None else f"{found.name} of task {found.task}"
    text += _detail(found, address, state)
    return Description(address, found, state, symbol, f"{text}: {symbol}" if symbol else text)


def _detail(found: MemoryObject, address: int, state: str | None) -> str:
    if found.kind == "lazy range":
        page = (address - found.start) // PAGE_BYTES
        pages = (found.end - found.start) // PAGE_BYTES
        return f", page {page:,} of {pages:,}, {state or 'its record is not in use'}"
    if found.kind == "stack":
        return f", {found.end - address:#x} below its base"
    if found.kind == "stack reserve":
        return f", {found.end - address:#x} below what is mapped"
    return ""


def lazy_state(kernel: Kernel, address: int) -> PageState | None:
    """The state of the lazy page at a virtual address, from its record.

    None if there is no lazy page, if its record is not in use, or if the kernel does not export the range of
    its lazy pages.
    """
    region = range_of(kernel, LAZY_PAGES)
    if region is None:
        return None
    record = lazy_record(kernel, (address - region.start) // PAGE_BYTES)
    if record.get("virtual_address") != address - address % PAGE_BYTES:
        return None
    physical = record.get("physical_address")
    return page_state(
        physical, record.get("is_allocated"), record.get("is_zero_page"), kernel.has_debugger_interface
    )


def read_objects(kernel: Kernel, symbols: Symbols) -> MemoryObjects:
    """What TinyOS has on record for all tasks; no two tasks use the same virtual addresses."""
    if not kernel.has_debugger_interface:
        return _objects_by_design(kernel, symbols)
    lazy = range_of(kernel, LAZY_PAGES)
    return MemoryObjects(
        [
            *_map_objects(kernel),
            *image_objects(symbols),
            *_stack_objects(kernel),
            *(_lazy_runs(kernel) if lazy is None else _lazy_objects(kernel, lazy)),
        ]
    )


def objects_of_program(symbols: Symbols) -> MemoryObjects:
    """The loaded sections of a program that is not TinyOS."""
    return MemoryObjects(_sections(symbols))


_IMAGE_PARTS = (
    ("kernel text", "__image_start", "__text_end"),
    ("programs as loaded", "__text_end", "__rodata_start"),
    ("kernel rodata", "__rodata_start", "__rodata_end"),
    ("kernel data", "__rodata_end", "__bss_start"),
    ("kernel bss", "__bss_start", "__bss_end"),
)
_KERNEL_STACKS = (
    ("shell stack", "__shell_stack_top"),
    ("exception stack", "__exception_stack_top"),
    ("emergency stack", "__emergency_stack_top"),
    ("stack of core 1", "__secondary_stack_top_1"),
    ("stack of core 2", "__secondary_stack_top_2"),
    ("stack of core 3", "__secondary_stack_top_3"),
)


def image_objects(symbols: Symbols) -> list[MemoryObject]:
    """The parts of the kernel's image, and its own stacks with the unmapped page below each."""
    found = []
    for name, first, last in _IMAGE_PARTS:
        start, end = symbols.address(first), symbols.address(last)
        if start is not None and end is not None and start < end:
            found.append(MemoryObject(start, end, "kernel", name))
    bottom = symbols.address("__stacks_start")
    for name, symbol in _KERNEL_STACKS:
        top = symbols.address(symbol)
        if bottom is None or top is None or top <= bottom + PAGE_BYTES:
            break
        found.append(MemoryObject(bottom, bottom + PAGE_BYTES, "guard", f"guard of the kernel's {name}"))
        found.append(MemoryObject(bottom + PAGE_BYTES, top, "kernel", name))
        bottom = top
    return found


def _sections(symbols: Symbols) -> list[MemoryObject]:
    return [
        MemoryObject(start, end, "section", f"{name} of the program")
        for start, end, name in symbols.sections()
    ]


def _objects_by_design(kernel: Kernel, symbols: Symbols) -> MemoryObjects:
    """The sections and lazy pages of a kernel without a memory map.

    Stacks are left out: the design does not define on which side of its base a stack is.
    """
    return MemoryObjects([*_sections(symbols), *_lazy_runs(kernel)])


_RANGES = {
    PROGRAMS: ("programs", "programs"),
    TASK_PAGE: ("task page", "task page"),
    LAZY_PAGES: ("unreserved", "unreserved, among the lazy pages"),
    STACKS: ("unreserved", "unreserved, among the stacks"),
    LINEAR_MAP: ("linear map", "linear map"),
    IMAGE: ("kernel", "kernel image"),
    DEVICES: ("device", "devices"),
}
"""Kind and name of the objects for the ranges of the kernel's memory map."""


def _map_objects(kernel: Kernel) -> list[MemoryObject]:
    """The ranges of the kernel's memory map; an unknown kind is used as the name as well."""
    return [
        MemoryObject(one.start, one.end, *_RANGES.get(one.kind, (one.kind, one.kind)))
        for one in read_memory_map(kernel)
    ]


def _lazy_runs(kernel: Kernel) -> list[MemoryObject]:
    """The lazy pages by their records, one object for adjacent pages of the same state."""
    runs = kernel.without_missing_notes(lambda: read_lazy_pages(kernel)).pages.runs()
    return [
        MemoryObject(run.start, run.end, "lazy page", f"lazy pages, {run.state}") for run in runs if run.start
    ]


def _stack_objects(kernel: Kernel) -> list[MemoryObject]:
    found: list[MemoryObject] = []
    for stack in kernel.without_missing_notes(lambda: read_stacks(kernel)).stacks:
        found += _objects_of_stack(stack) if stack.is_active else _objects_of_ended_stack(stack)
    return found


def _objects_of_stack(stack: DynamicStack) -> list[MemoryObject]:
    """The mapped part of a stack, the reserve that it can grow into, and its guard page."""
    base, size, guard = stack.base_address, stack.current_size, stack.guard_address
    if base is None or size is None or not 0 <= size <= LARGEST_STACK_BYTES or size > base:
        return []
    found = [MemoryObject(base - size, base, "stack", stack.label, stack.id, stack.owner)] if size else []
    if guard is None or not PAGE_BYTES <= base - size - guard <= LARGEST_STACK_BYTES:
        return found
    reserve = (guard + PAGE_BYTES, base - size)
    if reserve[0] < reserve[1]:
        name = f"reserve of {stack.label}"
        found.append(MemoryObject(*reserve, "stack reserve", name, stack.id, stack.owner))
    guard_name = f"guard of {stack.label}"
    found.append(MemoryObject(guard, guard + PAGE_BYTES, "guard", guard_name, stack.id, stack.owner))
    return found


def _objects_of_ended_stack(stack: DynamicStack) -> list[MemoryObject]:
    """The addresses of an ended stack and of its guard page; a new stack may take them."""
    base, guard = stack.base_address, stack.guard_address
    if base is None or guard is None or not PAGE_BYTES < base - guard <= LARGEST_STACK_BYTES:
        return []
    # Without a task: the record names only the last of the tasks that had the stack.
    ended = f"ended {stack.label}"
    return [
        MemoryObject(guard + PAGE_BYTES, base, "ended stack", ended, stack.id),
        MemoryObject(guard, guard + PAGE_BYTES, "guard", f"guard of {ended}", stack.id),
    ]


def _lazy_objects(kernel: Kernel, region: MemoryRange) -> list[MemoryObject]:
    """The reserved lazy ranges: record n is that of page n of the region."""
    part = kernel.read_field(MANAGER, "lazy_allocator.ranges")
    found: list[MemoryObject] = []
    for slot, entry in enumerate(part.value if part else ()):
        if entry.get("pages") == 0:
            continue
        reserved = kernel.make_record(LazyRange, entry, f"lazy range {slot}", number=slot)
        if not reserved.pages or reserved.first is None:
            continue
        start = region.start + reserved.first * PAGE_BYTES
        end = start + reserved.pages * PAGE_BYTES
        if end > region.end:
            kernel.diagnostics.add_finding(
                f"lazy range {slot}", "records within the table", f"record {reserved.first} and on"
            )
            continue
        found.append(MemoryObject(start, end, "lazy range", f"lazy range {slot}", slot, reserved.owner))
    return found
