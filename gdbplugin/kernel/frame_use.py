"""What a frame of the kernel's pool is used for, in words, by the kernel's reverse map."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gdbplugin.kernel.interface import LAZY_PAGES, TASK_PAGE, range_of
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.place import FramePlace
from gdbplugin.kernel.pressure import has_pool, read_frame_table, read_frames
from gdbplugin.kernel.stacks import DynamicStack
from gdbplugin.kernel.tasks import Names, task_words

_TEXTS = {
    "Free": "free",
    "Cached": "free, in the cache",
    "Retired": "free, beyond the pool's limit",
    "ZeroPage": "the shared zero page",
}


def read_frame_place(
    kernel: Kernel,
    physical: int,
    stacks: Callable[[], Mapping[int | None, DynamicStack]],
    names: Callable[[], Names],
) -> FramePlace | None:
    """The frame that a physical address is in; None outside the pool, and in a kernel without one.

    `stacks` and `names` are asked only for a frame of the pool.
    """
    if not has_pool(kernel):
        return None
    frames = kernel.cached("frames", lambda: read_frames(kernel))
    number = frames.number(physical)
    if number is None:
        return None
    table = kernel.cached("frame table", lambda: read_frame_table(kernel))
    use, owner, index = (None, None, None) if table is None else table.entry(number)
    virtual, words = None, _TEXTS.get(use or "", use or "its use is not known")
    if index is not None and kernel.has_debugger_interface:
        virtual, words = _meaning(kernel, use, index, stacks(), words)
    name = names().get(owner)
    if owner:
        words += f" of {task_words(owner, name)}"
    return FramePlace(number, physical & -PAGE_BYTES, use, owner, name, virtual, words)


def _meaning(
    kernel: Kernel, use: str | None, index: int, stacks: Mapping[int | None, DynamicStack], words: str
) -> tuple[int | None, str]:
    """The virtual address that an entry's `index` stands for, and its use in words.

    What the index is depends on the use: see `FrameUse` in `kernel/src/memory/frames.rs`.
    """
    if use == "LazyPage":
        lazy = range_of(kernel, LAZY_PAGES)
        address = None if lazy is None else lazy.start + index * PAGE_BYTES
        return address, "a lazy page" if address is None else f"lazy page {address:#x}"
    if use == "Stack":
        stack, page = stacks.get((index >> 16) + 1), index & 0xFFFF
        base = None if stack is None else stack.base_address
        address = None if base is None else base - (page + 1) * PAGE_BYTES
        return address, f"page {page} below the base of stack {(index >> 16) + 1}"
    if use == "Table":
        level = index & 3
        address = (index >> 2) << (48 - 9 * level) if level else 0
        return address, f"level {level} table for {address:#x}"
    if use == "TaskPage":
        page_range = range_of(kernel, TASK_PAGE)
        return None if page_range is None else page_range.start, "task page"
    return None, words
