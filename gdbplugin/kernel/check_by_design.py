"""The check of a kernel that promises no more than the design: its records against each other, and the MMU.

Where nothing is said of a thing, such as on which side of its base a stack lies, nothing is compared.
"""

from __future__ import annotations

from gdbplugin.aarch64.descriptor import Kind
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.walk import translate
from gdbplugin.kernel.check_outcome import Check, Checked, settled
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lazy import read_lazy_pages
from gdbplugin.kernel.lazy_table import LazyTable
from gdbplugin.kernel.stacks import Stacks, read_stacks
from gdbplugin.kernel.statistics import DynamicMemoryStats, read_statistics
from gdbplugin.kernel.variations import POOL, SPACES

_CLAIMING = ("allocated", "zero")


def check_by_design(kernel: Kernel) -> Check:
    """Read and compare."""
    changing = kernel.is_changing(MANAGER)
    stacks = kernel.beside(lambda: read_stacks(kernel))
    lazy = kernel.beside(lambda: read_lazy_pages(kernel, whole=True))
    for name in (SPACES, "tables on record", POOL, "list of its own mappings"):
        kernel.lack(name)
    seen = Journal()
    _check_stacks(stacks, seen)
    _check_addresses(lazy.pages, seen)
    _check_counts(read_statistics(kernel), stacks, lazy.pages, seen)
    if kernel.regime.enabled:
        mapped: int | None = _check_mappings(kernel, lazy.pages, seen)
        _check_pending(kernel, lazy.pages, seen)
    else:
        mapped = None
        _check_unmapped(lazy.pages, seen)
        kernel.journal.note(
            "the MMU is off: a virtual address is a physical one, and no record may claim anything else"
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
    return settled(kernel, seen, changing, checked)


def _check_stacks(stacks: Stacks, journal: Journal) -> None:
    """No stack is larger than it may be, and no ID is given twice."""
    slots: dict[int, int] = {}
    next_id = stacks.stack_manager.next_stack_id
    for stack in stacks.active:
        size, most = stack.current_size, stack.max_size
        if size is not None and most is not None and size > most:
            journal.find(stack.label, f"current_size of at most {most:#x}", f"{size:#x}")
        if stack.id is not None:
            slots[stack.id] = slots.get(stack.id, 0) + 1
            if next_id is not None and stack.id >= next_id:
                journal.find(stack.label, f"an ID below next_stack_id, {next_id}", f"{stack.id}")
    for number, count in slots.items():
        if count > 1:
            journal.find(f"stack {number}", "an ID of its own", f"{count} stacks of that ID")


def _check_addresses(pages: LazyTable, journal: Journal) -> None:
    """No lazy page is on record twice. They ascend."""
    before = None
    for row in pages.rows:
        if row[0] is not None and row[0] == before:
            journal.find(f"lazy page {row[0]:#x}", "one record", "more than one")
        before = row[0]


def _check_counts(stats: DynamicMemoryStats, stacks: Stacks, pages: LazyTable, journal: Journal) -> None:
    """Counters of what there is now agree with it; those of all that ever was are not less than it."""
    states = pages.count_states()
    exact = (
        ("active_dynamic_stacks", len(stacks.active), stats.active_dynamic_stacks),
        ("allocated_lazy_pages", states["allocated"], stats.allocated_lazy_pages),
    )
    for name, counted, kept in exact:
        if kept is not None and counted != kept:
            journal.find(name, f"{counted:,}, as there are", f"{kept:,}")
    least = (
        ("total_dynamic_stacks", len(stacks.active), stats.total_dynamic_stacks),
        ("total_lazy_pages", len(pages), stats.total_lazy_pages),
    )
    for name, counted, kept in least:
        if kept is not None and counted > kept:
            journal.find(name, f"at least {counted:,}, as there are", f"{kept:,}")


def _check_unmapped(pages: LazyTable, journal: Journal) -> None:
    """With the MMU off a page can only be where its address says."""
    for row in pages.rows:
        virtual, physical = row[:2]
        if pages.state(row) in _CLAIMING and None not in (virtual, physical) and physical != virtual:
            journal.find(
                f"lazy page {virtual:#x}",
                "no mapping, as the MMU is off",
                f"a record of one to {physical:#x} ({pages.state(row)})",
            )


def _check_mappings(kernel: Kernel, pages: LazyTable, journal: Journal) -> int:
    """Pages that are on record as mapped are, and to where that says. How many were compared."""
    regime: TranslationRegime = kernel.regime
    compared = 0
    for row in pages.rows:
        virtual, physical = row[:2]
        if pages.state(row) not in _CLAIMING or None in (virtual, physical):
            continue
        compared += 1
        output = translate(kernel.machine, regime, virtual).output
        if output is None:
            journal.find(f"lazy page {virtual:#x}", f"mapped, as it is {pages.state(row)}", "not mapped")
        elif output != physical:
            journal.find(f"lazy page {virtual:#x}", f"mapped to {physical:#x}", f"mapped to {output:#x}")
    return compared


def _check_pending(kernel: Kernel, pages: LazyTable, journal: Journal) -> None:
    """Pending pages are not mapped. One within a block is mapped with all around it, which tells nothing."""
    regime: TranslationRegime = kernel.regime
    in_blocks, block_end = 0, 0
    for row in pages.rows:
        virtual = row[0]
        if virtual is None or pages.state(row) != "pending":
            continue
        # They ascend: of a block one walk is enough.
        walk = None if virtual < block_end else translate(kernel.machine, regime, virtual)
        if walk is None or (walk.output is not None and walk.levels[-1].kind is Kind.BLOCK):
            in_blocks += 1
            if walk is not None:
                block_end = virtual - virtual % walk.size + walk.size
        elif walk.output is not None:
            journal.find(f"lazy page {virtual:#x}", "not mapped while pending", f"mapped to {walk.output:#x}")
    if in_blocks:
        which = "1 pending page was" if in_blocks == 1 else f"{in_blocks:,} pending pages were"
        kernel.journal.note(
            f"{which} not compared with the tables: a block maps what is around as well, so that this says "
            "nothing of a single page"
        )
