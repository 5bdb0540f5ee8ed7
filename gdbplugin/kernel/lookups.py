"""Single records of the kernel's tables, by a few small reads each."""

from __future__ import annotations

from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lazy import read_lazy_pages
from gdbplugin.kernel.lazy_table import PAGE_BYTES, STATES, LazyPage, LazyTable
from gdbplugin.kernel.pressure import LEVELS
from gdbplugin.layout.decode import value
from gdbplugin.layout.types import Array, Field, Option, locate_held, unwrap

_STACKS = "stack_manager.stacks"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def stack_bytes(kernel: Kernel, number: int) -> bytes | None:
    """The record of the dynamic stack of an id, as it lies in memory; None where there can be none."""
    if kernel.keeps_promises:
        return _element(kernel, _STACKS, number - 1)
    type_ = stack_type(kernel)
    part = kernel.part(MANAGER, _STACKS)
    for slot, values in enumerate(part.value if part else ()):
        if isinstance(values, dict) and values.get("id") == number and type_ is not None:
            raw = _element(kernel, _STACKS, slot) or b""
            return raw[type_.offset : type_.offset + type_.type.size]
    return None


def stack_type(kernel: Kernel) -> Field | None:
    """The type of a record of a stack, by its name in the program; and where it is within a slot."""
    static = kernel.static(MANAGER)
    field, _ = locate_held(static.type, _STACKS)
    array = unwrap(field.type) if field is not None else None
    element = array.element if isinstance(array, Array) else None
    if isinstance(element, Option):
        return element.value
    return None if element is None else Field("", 0, element)


def find_lazy_page(kernel: Kernel, address: int, owner: int | None) -> LazyPage | None:
    """The lazy page that a task has reserved around an address; without tasks, the one there."""
    if not kernel.keeps_promises:
        pages = read_lazy_pages(kernel, whole=True).pages
        return next((page for page in pages if page.virtual_address == address & -PAGE_BYTES), None)
    part = kernel.part(MANAGER, "lazy_allocator.ranges")
    for entry in part.value if part else ():
        first, reserved = entry.get("first"), entry.get("pages")
        if owner is None or entry.get("owner") != owner or not reserved or first is None:
            continue
        start = _lazy_record(kernel, first).get("virtual_address")
        if start is None or not start <= address < start + reserved * PAGE_BYTES:
            continue
        values = _lazy_record(kernel, first + (address - start) // PAGE_BYTES)
        page = kernel.record(LazyPage, values, f"lazy page {address:#x}")
        return page if page.virtual_address == address & -PAGE_BYTES else None
    return None


def lazy_state_number(kernel: Kernel, page: LazyPage) -> int:
    """The state of a page as a number: 0 pending, 1 zero, 2 allocated; -1 for one that is corrupt."""
    row = (page.virtual_address, page.physical_address, page.is_allocated, page.is_zero_page)
    state = LazyTable([], [], kernel.keeps_promises).state(row)
    return STATES.index(state) if state != "corrupt" else -1


def current_space(kernel: Kernel) -> int | None:
    """The number of the address space, and task, that TTBR0 holds."""
    part = kernel.part(MANAGER, "context_switcher.current")
    return part.value if part is not None and isinstance(part.value, int) else None


def pressure_level(kernel: Kernel) -> int | None:
    """The level of memory pressure as a number, from 0; None where it is none."""
    part = kernel.part(MANAGER, "pressure_handler.level")
    return LEVELS.index(part.value) if part is not None and part.value in LEVELS else None


def _lazy_record(kernel: Kernel, number: int) -> dict[str, Any]:
    place = kernel.place(MANAGER, "lazy_allocator.pages")
    array = unwrap(place.type) if place else None
    raw = _element(kernel, "lazy_allocator.pages", number)
    found = value(array.element, raw) if isinstance(array, Array) and raw is not None else None
    return found if isinstance(found, dict) else {}


def _element(kernel: Kernel, path: str, index: int) -> bytes | None:
    place = kernel.place(MANAGER, path)
    array = unwrap(place.type) if place else None
    if place is None or not isinstance(array, Array) or not 0 <= index < array.count:
        return None
    size = array.element.size
    return kernel.memory.read(place.address + index * size, size)
