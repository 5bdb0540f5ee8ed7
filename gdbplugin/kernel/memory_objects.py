"""What lies at an address: what TinyOS has on record there, or what the program's symbols say."""

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
from gdbplugin.kernel.lazy import LazyRange, read_lazy_pages
from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.stacks import DynamicStack, read_stacks
from gdbplugin.kernel.target import Symbols
from gdbplugin.layout.decode import Invalid, value
from gdbplugin.layout.types import Array, unwrap
from gdbplugin.records import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    PageState = Literal["pending", "zero", "allocated", "corrupt"]

_RANGES = {
    PROGRAMS: ("programs", "programs"),
    TASK_PAGE: ("task page", "task page"),
    LAZY_PAGES: ("unreserved", "unreserved, among the lazy pages"),
    STACKS: ("unreserved", "unreserved, among the stacks"),
    LINEAR_MAP: ("linear map", "linear map"),
    IMAGE: ("kernel", "kernel image"),
    DEVICES: ("device", "devices"),
}
"""Kind and name of the ranges of the kernel's memory map."""

NULL_END = 0x1_0000
"""An address below this is what a null pointer with an offset reaches."""

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
# A `max_size` or a guard further away than this is a corrupt one.
_LARGEST_STACK_BYTES = 64 * 1024 * 1024


class MemoryObject(NamedTuple):
    """A range of virtual addresses (`end` exclusive), of a `kind`, and what a person calls it.

    `number` is the stack's id or the lazy range's slot; `task` its owner.
    """

    start: int
    end: int
    kind: str
    name: str
    number: int | None = None
    task: int | None = None


class MemoryObjects:
    """Memory objects without overlaps, in order; found by address, and by range."""

    def __init__(self, objects: Sequence[MemoryObject]) -> None:
        self.objects = _flattened(objects)
        self._starts = [entry.start for entry in self.objects]

    def at(self, address: int) -> MemoryObject | None:
        """The object that lies at an address."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self.objects[index].end:
            return None
        return self.objects[index]

    def split(self, start: int, end: int) -> Iterator[tuple[int, int, MemoryObject | None]]:
        """The parts of a range, each with the object that lies there."""
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


def _flattened(objects: Sequence[MemoryObject]) -> list[MemoryObject]:
    """The objects without overlaps: where two overlap, the smaller one counts."""
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


def read_objects(kernel: Kernel, symbols: Symbols) -> MemoryObjects:
    """What TinyOS has on record, by virtual address, of all tasks: their addresses are never the same."""
    if not kernel.keeps_promises:
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


def _sections(symbols: Symbols) -> list[MemoryObject]:
    return [
        MemoryObject(start, end, "section", f"{name} of the program")
        for start, end, name in symbols.sections()
    ]


def _objects_by_design(kernel: Kernel, symbols: Symbols) -> MemoryObjects:
    """Of a kernel whose memory map is not known: its sections, and the lazy pages, neighbours together.

    Not its stacks: the design does not say on which side of its base a stack lies.
    """
    sections = [
        MemoryObject(*entry[:2], "section", f"{entry[2]} of the program") for entry in symbols.sections()
    ]
    return MemoryObjects([*sections, *_lazy_runs(kernel)])


def _map_objects(kernel: Kernel) -> list[MemoryObject]:
    """The ranges of the kernel's memory map; one of a kind that is not known here has that as its name."""
    return [
        MemoryObject(one.start, one.end, *_RANGES.get(one.kind, (one.kind, one.kind)))
        for one in read_memory_map(kernel)
    ]


def _lazy_runs(kernel: Kernel) -> list[MemoryObject]:
    """The lazy pages by their records alone, neighbours of the same state together."""
    runs = kernel.beside(lambda: read_lazy_pages(kernel)).pages.runs()
    return [
        MemoryObject(run.start, run.end, "lazy page", f"lazy pages, {run.state}") for run in runs if run.start
    ]


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


def _stack_objects(kernel: Kernel) -> list[MemoryObject]:
    found: list[MemoryObject] = []
    for stack in kernel.beside(lambda: read_stacks(kernel)).stacks:
        found += _objects_of_stack(stack) if stack.is_active else _objects_of_ended_stack(stack)
    return found


def _objects_of_stack(stack: DynamicStack) -> list[MemoryObject]:
    """A stack's mapped part, what it may still grow into, and its guard page."""
    base, size, guard = stack.base_address, stack.current_size, stack.guard_address
    if base is None or size is None or not 0 <= size <= _LARGEST_STACK_BYTES or size > base:
        return []
    found = [MemoryObject(base - size, base, "stack", stack.label, stack.id, stack.owner)] if size else []
    if guard is None or not PAGE_BYTES <= base - size - guard <= _LARGEST_STACK_BYTES:
        return found
    reserve = (guard + PAGE_BYTES, base - size)
    if reserve[0] < reserve[1]:
        name = f"reserve of {stack.label}"
        found.append(MemoryObject(*reserve, "stack reserve", name, stack.id, stack.owner))
    guard_name = f"guard of {stack.label}"
    found.append(MemoryObject(guard, guard + PAGE_BYTES, "guard", guard_name, stack.id, stack.owner))
    return found


def _objects_of_ended_stack(stack: DynamicStack) -> list[MemoryObject]:
    """What a stack was, until another takes its addresses."""
    base, guard = stack.base_address, stack.guard_address
    if base is None or guard is None or not PAGE_BYTES < base - guard <= _LARGEST_STACK_BYTES:
        return []
    # Of the tasks that had it the record knows only the last.
    ended = f"ended {stack.label}"
    return [
        MemoryObject(guard + PAGE_BYTES, base, "ended stack", ended, stack.id),
        MemoryObject(guard, guard + PAGE_BYTES, "guard", f"guard of {ended}", stack.id),
    ]


def _lazy_objects(kernel: Kernel, region: MemoryRange) -> list[MemoryObject]:
    """Reserved ranges. The address of record 0 tells those of all: a record's is found by a subtraction."""
    part = kernel.part(MANAGER, "lazy_allocator.ranges")
    found: list[MemoryObject] = []
    for slot, entry in enumerate(part.value if part else ()):
        if entry.get("pages") == 0:
            continue
        reserved = kernel.record(LazyRange, entry, f"lazy range {slot}", number=slot)
        if not reserved.pages or reserved.first is None:
            continue
        start = region.start + reserved.first * PAGE_BYTES
        end = start + reserved.pages * PAGE_BYTES
        if end > region.end:
            kernel.journal.find(f"lazy range {slot}", "records that there are", f"{reserved.first} and on")
            continue
        found.append(MemoryObject(start, end, "lazy range", f"lazy range {slot}", slot, reserved.owner))
    return found


@dataclass(frozen=True)
class Description:
    """What lies at an address."""

    json_fields = ("text", "kind", "name", "number", "task", "state", "symbol")

    address: int
    object: MemoryObject | None
    state: PageState | None
    """The state of a lazy page; null for anything else."""
    symbol: str | None
    """The symbol there, as name + offset; null where there is none."""
    text: str
    """All of it in words."""

    @property
    def kind(self) -> str | None:
        """The kind of what lies there, such as stack, guard, lazy range; null where nothing is known."""
        return None if self.object is None else self.object.kind

    @property
    def name(self) -> str | None:
        """Its name."""
        return None if self.object is None else self.object.name

    @property
    def number(self) -> int | None:
        """The ID of a stack, or the slot of a lazy range; null for anything else."""
        return None if self.object is None else self.object.number

    @property
    def task(self) -> int | None:
        """The TinyOS task it belongs to; null where there is none, or not known."""
        return None if self.object is None else self.object.task


def describe(address: int, objects: MemoryObjects, symbols: Symbols, kernel: Kernel | None) -> Description:
    """What lies at an address, in as much detail as there is."""
    found = objects.at(address)
    symbol = symbols.name(address)
    state: PageState | None = None
    if found is not None and found.kind == "lazy range" and kernel is not None:
        state = lazy_state(kernel, address)
    if found is None:
        known = "nothing is known to lie there"
        if kernel is not None:
            name = "TinyOS" if kernel.keeps_promises else "this kernel"
            known = f"nothing that {name} has on record"
        return Description(address, None, None, symbol, symbol or ("null" if address < NULL_END else known))
    text = found.name if found.task is None else f"{found.name} of task {found.task}"
    text += _detail(found, address, state)
    return Description(address, found, state, symbol, f"{text}: {symbol}" if symbol else text)


def _detail(found: MemoryObject, address: int, state: str | None) -> str:
    if found.kind == "lazy range":
        page = (address - found.start) // PAGE_BYTES
        pages = (found.end - found.start) // PAGE_BYTES
        return f", page {page:,} of {pages:,}, {state or 'whose record is not in use'}"
    if found.kind == "stack":
        return f", {found.end - address:#x} below its base"
    if found.kind == "stack reserve":
        return f", {found.end - address:#x} below what is mapped"
    return ""


def lazy_state(kernel: Kernel, address: int) -> PageState | None:
    """The state of the lazy page at a virtual address, by its record: pending, zero, allocated, corrupt.

    None for an address that is not a lazy page's, or whose record is not in use; None as well where the
    kernel does not export where its lazy pages are.
    """
    region = range_of(kernel, LAZY_PAGES)
    place = kernel.place(MANAGER, "lazy_allocator.pages")
    array = unwrap(place.type) if place else None
    if region is None:
        return None
    index = (address - region.start) // PAGE_BYTES
    if place is None or not isinstance(array, Array) or not 0 <= index < array.count:
        return None
    size = array.element.size
    record = value(array.element, kernel.memory.read(place.address + index * size, size))
    if record.get("virtual_address") != address - address % PAGE_BYTES:
        return None
    allocated, zero = record.get("is_allocated"), record.get("is_zero_page")
    if isinstance(allocated, Invalid) or isinstance(zero, Invalid) or (allocated and zero):
        return "corrupt"
    return "allocated" if allocated else "zero" if zero else "pending"
