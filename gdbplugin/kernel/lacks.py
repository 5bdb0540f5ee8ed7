"""What a kernel of the design by another name may lack, in plain words.

Whoever looks at such a kernel does not know the names of TinyOS's own fields: only the design's are named.
"""

from __future__ import annotations

from collections.abc import Iterable

SPACES = "address spaces"
POOL = "frame pool"

_STACK_GROWTH = "details of stack growth"
_LAZY_COUNTS = "counts in the lazy allocator"
_BY_FRAMES = "pressure levels by free frames"
_INVALIDATIONS = "counts of TLB invalidations"
# By the path within the manager, or by the record and its field; what is there counts for all within it.
_WORDS = {
    "enabled": "enabled flag",
    "frames": POOL,
    "events": "event ring",
    "stack_manager.stacks": "array of stacks",
    "lazy_allocator.pages": "array of lazy pages",
    "lazy_allocator.zero_frame": "zero_page_address",
    "lazy_allocator.ranges": "ranges of lazy pages",
    "lazy_allocator": _LAZY_COUNTS,
    "context_switcher.spaces": SPACES,
    "context_switcher.current": SPACES,
    "context_switcher.asids": "ASIDs",
    "context_switcher.invalidations": _INVALIDATIONS,
    "context_switcher.fast_switch_count": _INVALIDATIONS,
    "AddressSpaces.spaces": SPACES,
    "AddressSpaces.current": SPACES,
    "AddressSpaces.asids": "ASIDs",
    "AddressSpaces.invalidations": _INVALIDATIONS,
    "AddressSpaces.fast_switch_count": _INVALIDATIONS,
    "Pressure.free_frames": _BY_FRAMES,
    "Pressure.limit_frames": _BY_FRAMES,
    "Pressure.thresholds": _BY_FRAMES,
    "Pressure.level_events": "counts by pressure level",
    "Pressure.strategies": "pressure strategies",
    "Pressure.last_change_time": "time of the last level change",
    "DynamicStack.policy": "policies of single stacks",
    "DynamicStack.owner": "owners of stacks",
    "DynamicStack.stack_pointer": "stack pointers",
    "DynamicStack.guard_address": "guard pages",
    "DynamicStack.high_water_mark": _STACK_GROWTH,
    "DynamicStack.last_growth_time": _STACK_GROWTH,
    "DynamicStack.last_growth_pages": _STACK_GROWTH,
    "DynamicStack.pages_returned": _STACK_GROWTH,
    "DynamicStack.pressure_level": "pressure_level of stacks",
    "LazyPage.owner": "owners of pages",
}


def worded(path: str) -> str:
    """What a kernel lacks that has no field of that path; where there is no word for it, the field's name."""
    within = path
    while within:
        if within in _WORDS:
            return _WORDS[within]
        within = within.rpartition(".")[0]
    return path.rpartition(".")[2]


def together(lacking: Iterable[str], names: tuple[str, ...], whole: str) -> list[str]:
    """What is lacking of the design's fields of these names: `whole` where it is all of them."""
    missing = list(lacking)
    return [whole] if len(missing) == len(names) else missing
