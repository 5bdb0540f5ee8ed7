"""The kernel's counters: `DynamicMemoryStats`."""

from __future__ import annotations

from dataclasses import dataclass

from gdbplugin.kernel.target import MANAGER, Kernel


@dataclass(frozen=True)
class DynamicMemoryStats:
    """The ten counters, as the kernel keeps them."""

    total_dynamic_stacks: int | None
    active_dynamic_stacks: int | None
    total_stack_growth_events: int | None
    total_stack_shrink_events: int | None
    total_lazy_pages: int | None
    allocated_lazy_pages: int | None
    total_lazy_page_faults: int | None
    memory_pressure_events: int | None
    optimization_events: int | None
    context_switch_count: int | None


def read_statistics(kernel: Kernel) -> DynamicMemoryStats:
    """Decode the statistics."""
    part = kernel.part(MANAGER, "stats")
    return kernel.record(DynamicMemoryStats, part.value if part else None, "statistics")
