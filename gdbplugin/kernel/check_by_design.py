"""The check of another kernel of the design: compares its records with each other and with the tables.

What the design does not define, such as on which side of its base a stack is, is not compared.
"""

from __future__ import annotations

from gdbplugin.aarch64.descriptor import Kind
from gdbplugin.aarch64.walk import translate
from gdbplugin.kernel.check_state import Check, Checked, check_result
from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lazy import read_lazy_pages
from gdbplugin.kernel.lazy_table import LazyTable
from gdbplugin.kernel.stacks import Stacks, read_stacks
from gdbplugin.kernel.statistics import DynamicMemoryStats, read_statistics
from gdbplugin.kernel.variations import POOL, SPACES

_MAPPED_STATES = ("allocated", "zero")


def check_by_design(kernel: Kernel) -> Check:
    """Read and compare; findings as for `check.read_check`."""
    changing = kernel.is_changing(MANAGER)
    stacks = kernel.without_missing_notes(lambda: read_stacks(kernel))
    lazy = kernel.without_missing_notes(lambda: read_lazy_pages(kernel, whole=True))
    for name in (SPACES, "tables on record", POOL, "list of its own mappings"):
        kernel.note_missing(name)
    differences = Diagnostics()
    _check_stacks(stacks, differences)
    _check_addresses(lazy.pages, differences)
    _check_counts(read_statistics(kernel), stacks, lazy.pages, differences)
    if kernel.regime.enabled:
        mapped: int | None = _check_mappings(kernel, lazy.pages, differences)
        _check_pending(kernel, lazy.pages, differences)
    else:
        mapped = None
        _check_unmapped(lazy.pages, differences)
        kernel.diagnostics.add_note(
            "the MMU is off: every virtual address is its own physical address, also in the records"
        )
    checked = Checked(
        address_spaces=None,
        stacks=len(stacks.active),
        lazy_pages=len(lazy.pages),
        mapped_pages=mapped,
        tables=None,
        frames=None,
        kernel_mappings=None,
    )
    return check_result(kernel, differences, changing, checked)


def _check_stacks(stacks: Stacks, diagnostics: Diagnostics) -> None:
    """No stack is larger than its maximum, and no two stacks have the same ID."""
    slots: dict[int, int] = {}
    next_id = stacks.stack_manager.next_stack_id
    for stack in stacks.active:
        size, most = stack.current_size, stack.max_size
        if size is not None and most is not None and size > most:
            diagnostics.add_finding(stack.label, f"current_size of at most {most:#x}", f"{size:#x}")
        if stack.id is not None:
            slots[stack.id] = slots.get(stack.id, 0) + 1
            if next_id is not None and stack.id >= next_id:
                diagnostics.add_finding(stack.label, f"an ID below next_stack_id, {next_id}", f"{stack.id}")
    for number, count in slots.items():
        if count > 1:
            diagnostics.add_finding(f"stack {number}", "an ID of its own", f"{count} stacks of that ID")


def _check_addresses(pages: LazyTable, diagnostics: Diagnostics) -> None:
    """No lazy page has two records; the rows are in ascending order."""
    before = None
    for row in pages.rows:
        if row[0] is not None and row[0] == before:
            diagnostics.add_finding(f"lazy page {row[0]:#x}", "one record", "more than one")
        before = row[0]


def _check_counts(
    stats: DynamicMemoryStats, stacks: Stacks, pages: LazyTable, diagnostics: Diagnostics
) -> None:
    """Counters of what exists now are exact; counters since boot are not less than that."""
    states = pages.count_states()
    exact = (
        ("active_dynamic_stacks", len(stacks.active), stats.active_dynamic_stacks),
        ("allocated_lazy_pages", states["allocated"], stats.allocated_lazy_pages),
    )
    for name, counted, counter in exact:
        if counter is not None and counted != counter:
            diagnostics.add_finding(name, f"{counted:,}, as counted", f"{counter:,}")
    least = (
        ("total_dynamic_stacks", len(stacks.active), stats.total_dynamic_stacks),
        ("total_lazy_pages", len(pages), stats.total_lazy_pages),
    )
    for name, counted, counter in least:
        if counter is not None and counted > counter:
            diagnostics.add_finding(name, f"at least {counted:,}, as counted", f"{counter:,}")


def _check_unmapped(pages: LazyTable, diagnostics: Diagnostics) -> None:
    """With the MMU off the physical address of a page is its virtual address."""
    for row in pages.rows:
        virtual, physical = row[:2]
        if pages.state(row) in _MAPPED_STATES and None not in (virtual, physical) and physical != virtual:
            diagnostics.add_finding(
                f"lazy page {virtual:#x}",
                "no mapping, as the MMU is off",
                f"a record of one to {physical:#x} ({pages.state(row)})",
            )


def _check_mappings(kernel: Kernel, pages: LazyTable, diagnostics: Diagnostics) -> int:
    """Pages whose records say that they are mapped, are, and to that address; returns their number."""
    regime = kernel.regime
    compared = 0
    for row in pages.rows:
        virtual, physical = row[:2]
        if pages.state(row) not in _MAPPED_STATES or None in (virtual, physical):
            continue
        compared += 1
        output = translate(kernel.machine, regime, virtual).output
        if output is None:
            diagnostics.add_finding(
                f"lazy page {virtual:#x}", f"mapped, as it is {pages.state(row)}", "not mapped"
            )
        elif output != physical:
            diagnostics.add_finding(
                f"lazy page {virtual:#x}", f"mapped to {physical:#x}", f"mapped to {output:#x}"
            )
    return compared


def _check_pending(kernel: Kernel, pages: LazyTable, diagnostics: Diagnostics) -> None:
    """Pending pages are not mapped. Those within a block are not compared: it maps pages around them too."""
    regime = kernel.regime
    in_blocks, block_end = 0, 0
    for row in pages.rows:
        virtual = row[0]
        if virtual is None or pages.state(row) != "pending":
            continue
        # The rows are in ascending order, so one walk for each block is enough.
        walk = None if virtual < block_end else translate(kernel.machine, regime, virtual)
        if walk is None or (walk.output is not None and walk.levels[-1].kind is Kind.BLOCK):
            in_blocks += 1
            if walk is not None:
                block_end = virtual - virtual % walk.size + walk.size
        elif walk.output is not None:
            diagnostics.add_finding(
                f"lazy page {virtual:#x}", "not mapped while pending", f"mapped to {walk.output:#x}"
            )
    if in_blocks:
        which = "1 pending page was" if in_blocks == 1 else f"{in_blocks:,} pending pages were"
        kernel.diagnostics.add_note(
            f"{which} not compared with the tables: a block maps what is around them as well"
        )
