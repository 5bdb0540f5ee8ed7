"""Whether every frame is accounted for: those in use against all that owns frames.

The same sum as the kernel's own, in `kernel/src/memory/audit.rs`, but with the hardware's tables walked
from here.
"""

from __future__ import annotations

from gdbplugin.kernel.check_state import State, read_state
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class Accounting:
    """Frames of the pool by what the reverse map says, and those that something owns."""

    json_fields = (
        *("total", "free", "cached", "retired", "used"),
        *("tables", "lazy_pages", "stack_pages", "task_pages", "zero_pages", "owned", "lost"),
    )

    total: int
    """All frames of the pool."""
    free: int
    """Free frames."""
    cached: int
    """Frames that are kept ready, and available as well."""
    retired: int
    """Frames beyond the limit of the pool."""
    used: int
    """Frames in use."""
    tables: int
    """Frames of translation tables."""
    lazy_pages: int
    """Frames of lazy pages."""
    stack_pages: int
    """Frames of stacks."""
    task_pages: int
    """Frames of the tasks' own pages."""
    zero_pages: int
    """Frames of the shared zero page."""

    @property
    def owned(self) -> int:
        """Frames that something owns."""
        return self.tables + self.lazy_pages + self.stack_pages + self.task_pages + self.zero_pages

    @property
    def lost(self) -> int:
        """Frames in use that nothing owns."""
        return max(0, self.used - self.owned)

    @property
    def is_sound(self) -> bool:
        """Whether every frame is in just one state, and every one in use has an owner."""
        states = self.free + self.cached + self.retired + self.used
        return self.used == self.owned and states == self.total


def read_accounting(kernel: Kernel) -> Accounting | None:
    """Count; None where this kernel has no reverse map."""
    return account(read_state(kernel))


def account(state: State) -> Accounting | None:
    """Count the frames of a state."""
    table = state.frame_table
    if table is None:
        return None
    uses = table.count()
    free, cached, retired = uses["Free"], uses["Cached"], uses["Retired"]
    walked = {address for space in state.maps.values() for address in space.tables}
    tables = sum(state.frames.number(address) is not None for address in walked)
    stack_bytes = sum(stack.current_size or 0 for stack in state.stacks.active)
    # Every space but the shell's, which is number 0, has one page of the task's own.
    task_pages = sum(bool(space.is_active) and space.number != 0 for space in state.spaces.active)
    return Accounting(
        total=len(table.uses),
        free=free,
        cached=cached,
        retired=retired,
        used=len(table.uses) - free - cached - retired,
        tables=tables,
        lazy_pages=state.lazy.pages.count_states()["allocated"],
        stack_pages=stack_bytes // 4096,
        task_pages=task_pages,
        zero_pages=int(bool(state.lazy.zero_frame)),
    )
