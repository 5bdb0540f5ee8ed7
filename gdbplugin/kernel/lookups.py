"""Single records of the kernel's tables, by a few small reads each."""

from __future__ import annotations

from gdbplugin.kernel.lazy import PAGE_BYTES, LazyPage
from gdbplugin.kernel.pressure import LEVELS
from gdbplugin.kernel.target import MANAGER, Kernel
from gdbplugin.layout.decode import value
from gdbplugin.layout.types import Array, unwrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def stack_bytes(kernel: Kernel, number: int) -> bytes | None:
    """The record of the dynamic stack of an id, as it lies in memory; None where there can be none."""
    return _element(kernel, "stack_manager.stacks", number - 1)


def find_lazy_page(kernel: Kernel, address: int, owner: int) -> LazyPage | None:
    """The lazy page that a task has reserved around an address."""
    part = kernel.part(MANAGER, "lazy_allocator.ranges")
    for entry in part.value if part else ():
        first, pages = entry.get("first"), entry.get("pages")
        if entry.get("owner") != owner or not pages or first is None:
            continue
        start = _lazy_record(kernel, first).get("virtual_address")
        if start is None or not start <= address < start + pages * PAGE_BYTES:
            continue
        values = _lazy_record(kernel, first + (address - start) // PAGE_BYTES)
        page = kernel.record(LazyPage, values, f"lazy page {address:#x}")
        return page if page.virtual_address == address & -PAGE_BYTES else None
    return None


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
