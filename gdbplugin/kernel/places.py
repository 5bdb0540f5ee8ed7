"""What lies at an address: what TinyOS has on record there, or what the program's symbols say."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import pairwise

from gdbplugin.kernel.exports import (
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
from gdbplugin.kernel.lazy import PAGE_BYTES, LazyRange, read_lazy_pages
from gdbplugin.kernel.stacks import DynamicStack, read_stacks
from gdbplugin.kernel.target import Symbols
from gdbplugin.layout.decode import Invalid, value
from gdbplugin.layout.types import Array, unwrap
from gdbplugin.records import NamedTuple, dataclass

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


class Place(NamedTuple):
    """A range of virtual addresses (`end` exclusive), of a `kind`, and what a person calls it.

    `number` is the stack's id or the lazy range's slot; `task` its owner.
    """

    start: int
    end: int
    kind: str
    name: str
    number: int | None = None
    task: int | None = None


class Places:
    """Places that do not overlap, in order; found by address, and by range."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = _flattened(places)
        self._starts = [place.start for place in self.places]

    def at(self, address: int) -> Place | None:
        """The place that an address lies in."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self.places[index].end:
            return None
        return self.places[index]

    def split(self, start: int, end: int) -> Iterator[tuple[int, int, Place | None]]:
        """The parts of a range, each with the place that it lies in."""
        index = max(bisect_right(self._starts, start) - 1, 0)
        position = start
        while position < end:
            while index < len(self.places) and self.places[index].end <= position:
                index += 1
            if index == len(self.places) or self.places[index].start >= end:
                yield position, end, None
                return
            place = self.places[index]
            if place.start > position:
                yield position, place.start, None
                position = place.start
            stop = min(place.end, end)
            yield position, stop, place
            position = stop


def _flattened(places: Sequence[Place]) -> list[Place]:
    """The places without overlaps: where two lie over each other, the smaller one is what shows."""
    pending = sorted(places, key=lambda place: place.start, reverse=True)
    edges = sorted({edge for place in places for edge in (place.start, place.end)})
    here: list[tuple[int, int, Place]] = []
    flat: list[Place] = []
    for start, end in pairwise(edges):
        while pending and pending[-1].start <= start:
            place = pending.pop()
            heappush(here, (place.end - place.start, len(pending), place))
        while here and here[0][2].end <= start:
            heappop(here)
        if not here:
            continue
        place = here[0][2]
        if flat and flat[-1].end == start and flat[-1]._replace(start=place.start, end=place.end) == place:
            flat[-1] = flat[-1]._replace(end=end)
        else:
            flat.append(place._replace(start=start, end=end))
    return flat


def read_places(kernel: Kernel, symbols: Symbols) -> Places:
    """What TinyOS has on record, by virtual address, of all tasks: their addresses are never the same."""
    if not kernel.keeps_promises:
        return _places_by_design(kernel, symbols)
    lazy = range_of(kernel, LAZY_PAGES)
    return Places(
        [
            *_map_places(kernel),
            *image_places(symbols),
            *_stack_places(kernel),
            *(_lazy_runs(kernel) if lazy is None else _lazy_places(kernel, lazy)),
        ]
    )


def places_of_program(symbols: Symbols) -> Places:
    """The loaded sections of a program that is not TinyOS."""
    return Places(
        [Place(start, end, "section", f"{name} of the program") for start, end, name in symbols.sections()]
    )


def _places_by_design(kernel: Kernel, symbols: Symbols) -> Places:
    """Of a kernel whose memory map is not known: its sections, and the lazy pages, neighbours together.

    Not its stacks: the design does not say on which side of its base a stack lies.
    """
    sections = [Place(*entry[:2], "section", f"{entry[2]} of the program") for entry in symbols.sections()]
    return Places([*sections, *_lazy_runs(kernel)])


def _map_places(kernel: Kernel) -> list[Place]:
    """The ranges of the kernel's memory map; one of a kind that is not known here has that as its name."""
    return [
        Place(one.start, one.end, *_RANGES.get(one.kind, (one.kind, one.kind)))
        for one in read_memory_map(kernel)
    ]


def _lazy_runs(kernel: Kernel) -> list[Place]:
    """The lazy pages by their records alone, neighbours of the same state together."""
    runs = kernel.beside(lambda: read_lazy_pages(kernel)).pages.runs()
    return [Place(run.start, run.end, "lazy page", f"lazy pages, {run.state}") for run in runs if run.start]


def image_places(symbols: Symbols) -> list[Place]:
    """The parts of the kernel's image, and its own stacks with the unmapped page below each."""
    found = []
    for name, first, last in _IMAGE_PARTS:
        start, end = symbols.address(first), symbols.address(last)
        if start is not None and end is not None and start < end:
            found.append(Place(start, end, "kernel", name))
    bottom = symbols.address("__stacks_start")
    for name, symbol in _KERNEL_STACKS:
        top = symbols.address(symbol)
        if bottom is None or top is None or top <= bottom + PAGE_BYTES:
            break
        found.append(Place(bottom, bottom + PAGE_BYTES, "guard", f"guard of the kernel's {name}"))
        found.append(Place(bottom + PAGE_BYTES, top, "kernel", name))
        bottom = top
    return found


def _stack_places(kernel: Kernel) -> list[Place]:
    found: list[Place] = []
    for stack in kernel.beside(lambda: read_stacks(kernel)).stacks:
        found += _places_of_stack(stack) if stack.is_active else _places_of_ended_stack(stack)
    return found


def _places_of_stack(stack: DynamicStack) -> list[Place]:
    """A stack's mapped part, what it may still grow into, and its guard page."""
    base, size, guard = stack.base_address, stack.current_size, stack.guard_address
    if base is None or size is None or not 0 <= size <= _LARGEST_STACK_BYTES or size > base:
        return []
    places = [Place(base - size, base, "stack", stack.label, stack.id, stack.owner)] if size else []
    if guard is None or not PAGE_BYTES <= base - size - guard <= _LARGEST_STACK_BYTES:
        return places
    reserve = (guard + PAGE_BYTES, base - size)
    if reserve[0] < reserve[1]:
        name = f"reserve of {stack.label}"
        places.append(Place(*reserve, "stack reserve", name, stack.id, stack.owner))
    guard_name = f"guard of {stack.label}"
    places.append(Place(guard, guard + PAGE_BYTES, "guard", guard_name, stack.id, stack.owner))
    return places


def _places_of_ended_stack(stack: DynamicStack) -> list[Place]:
    """What a stack was, as long as no other has taken its place."""
    base, guard = stack.base_address, stack.guard_address
    if base is None or guard is None or not PAGE_BYTES < base - guard <= _LARGEST_STACK_BYTES:
        return []
    # Of the tasks that had it the record knows only the last.
    ended = f"ended {stack.label}"
    return [
        Place(guard + PAGE_BYTES, base, "ended stack", ended, stack.id),
        Place(guard, guard + PAGE_BYTES, "guard", f"guard of {ended}", stack.id),
    ]


def _lazy_places(kernel: Kernel, region: MemoryRange) -> list[Place]:
    """Reserved ranges. The address of record 0 tells those of all: a record's is found by a subtraction."""
    part = kernel.part(MANAGER, "lazy_allocator.ranges")
    found: list[Place] = []
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
        found.append(Place(start, end, "lazy range", f"lazy range {slot}", slot, reserved.owner))
    return found


@dataclass(frozen=True)
class Description:
    """What lies at one address. `state` is a lazy page's: pending, zero, allocated or corrupt."""

    address: int
    place: Place | None
    state: str | None
    symbol: str | None
    text: str


def describe(address: int, places: Places, symbols: Symbols, kernel: Kernel | None) -> Description:
    """What lies at an address, in as much detail as there is."""
    place = places.at(address)
    symbol = symbols.name(address)
    state = None
    if place is not None and place.kind == "lazy range" and kernel is not None:
        state = lazy_state(kernel, address)
    if place is None:
        known = "nothing is known to lie there"
        if kernel is not None:
            name = "TinyOS" if kernel.keeps_promises else "this kernel"
            known = f"nothing that {name} has on record"
        return Description(address, None, None, symbol, symbol or ("null" if address < NULL_END else known))
    text = place.name if place.task is None else f"{place.name} of task {place.task}"
    text += _detail(place, address, state)
    return Description(address, place, state, symbol, f"{text}: {symbol}" if symbol else text)


def _detail(place: Place, address: int, state: str | None) -> str:
    if place.kind == "lazy range":
        page = (address - place.start) // PAGE_BYTES
        pages = (place.end - place.start) // PAGE_BYTES
        return f", page {page:,} of {pages:,}, {state or 'whose record is not in use'}"
    if place.kind == "stack":
        return f", {place.end - address:#x} below its base"
    if place.kind == "stack reserve":
        return f", {place.end - address:#x} below what is mapped"
    return ""


def lazy_state(kernel: Kernel, address: int) -> str | None:
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
