"""What a timeline counts: frames, the pressure level, lazy pages, and pages of stacks."""

from __future__ import annotations

from gdbplugin.kernel.design import LEVELS
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.lazy import LazyPages, read_lazy_pages
from gdbplugin.kernel.pressure import PAGE_BYTES, Frames, read_frames, read_pressure
from gdbplugin.kernel.stacks import Stacks, read_stacks
from gdbplugin.timeline.trace import Counter

FREE = Counter("free frames", "frames")
CACHED = Counter("cached frames", "frames")
LEVEL = Counter("pressure level", "0 is Low, 3 Critical")
RESERVED = Counter("lazy pages reserved", "pages")
ALLOCATED = Counter("lazy pages allocated", "pages")
ZERO = Counter("lazy pages zero", "pages")
PENDING = Counter("lazy pages pending", "pages")
STACK_PAGES = Counter("stack pages mapped", "pages")

ALL = (FREE, CACHED, LEVEL, RESERVED, ALLOCATED, ZERO, PENDING, STACK_PAGES)

PATHS = {
    FREE: "frames.free_frames",
    CACHED: "frames.cached_frames",
    RESERVED: "lazy_allocator.reserved_pages",
    ALLOCATED: "lazy_allocator.allocated_pages",
    ZERO: "lazy_allocator.zero_pages",
}
"""Where the memory manager has those that are one number of it. The level may change several times in one
change of the manager: events tell each."""

Figures = dict[Counter, int | None]
"""The counts at one moment; None for what the kernel does not say."""


def figures_of(frames: Frames | None, level: str | None, lazy: LazyPages, stacks: Stacks) -> Figures:
    """The counts by the kernel's objects."""
    mapped = [stack.current_size for stack in stacks.active]
    found: Figures = {
        FREE: None if frames is None else frames.free_frames,
        CACHED: None if frames is None else frames.cached_frames,
        LEVEL: LEVELS.index(level) if level in LEVELS else None,
        RESERVED: lazy.reserved_pages,
        ALLOCATED: lazy.allocated_pages,
        ZERO: lazy.zero_pages,
        STACK_PAGES: sum(size or 0 for size in mapped) // PAGE_BYTES,
    }
    return with_pending(found)


def read_figures(kernel: Kernel) -> Figures:
    """The counts of a stopped kernel."""
    return figures_of(
        read_frames(kernel),
        read_pressure(kernel).level,
        read_lazy_pages(kernel, records=False),
        read_stacks(kernel),
    )


def with_pending(found: Figures) -> Figures:
    """The counts and the pages that are only reserved, which the kernel does not count."""
    parts = [found.get(one) for one in (RESERVED, ALLOCATED, ZERO)]
    reserved, allocated, zero = parts
    if reserved is None or allocated is None or zero is None:
        return {**found, PENDING: None}
    return {**found, PENDING: reserved - allocated - zero}
