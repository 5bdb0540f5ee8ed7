"""The kernel's records held against the hardware's tables, and against each other; and its own tables.

What must hold is written in the kernel's own interface for debuggers (`kernel/src/debugger.rs`). While
the kernel is in the middle of a change it need not hold: what is seen then is transient, not a finding.
"""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.kernel.check_by_design import check_by_design
from gdbplugin.kernel.check_frames import check_frames
from gdbplugin.kernel.check_kernel_half import check_kernel_half
from gdbplugin.kernel.check_outcome import Check, Checked, settled
from gdbplugin.kernel.check_state import State, read_state
from gdbplugin.kernel.failure import note_failure
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lazy import LazyPages
from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.space_maps import MAXIMUM_SPACE_PAGES, MAXIMUM_SPACE_TABLES, SpaceMap
from gdbplugin.kernel.stacks import DynamicStack
from gdbplugin.kernel.target import Symbols
from gdbplugin.machine import MachineError, MachineGoneError

# More than any stack can have: a size beyond it is a corrupt one.
_LARGEST_STACK_BYTES = 64 * 1024 * 1024


def read_check(kernel: Kernel, symbols: Symbols | None = None) -> Check:
    """Read and compare. Findings go into the kernel's journal, unless the kernel was changing its records.

    Its own half of the address space never changes; without `symbols` that is not looked at. Where its
    records cannot be read for what was found there, those findings are all there is.
    """
    own = None
    if symbols is not None and kernel.keeps_promises:
        own = check_kernel_half(kernel, symbols)
    try:
        note_failure(kernel)
        if not kernel.keeps_promises:
            return check_by_design(kernel)
        if kernel.integer(MANAGER, "sequence") == 0:
            kernel.journal.note(
                "the kernel has not set up its memory manager yet: its records were not compared"
            )
            return Check(
                changing=False,
                checked=_checked(None, own),
                transient=(),
                transient_count=0,
                journal=kernel.journal,
            )
        changing, state = kernel.is_changing(MANAGER), read_state(kernel)
    except MachineGoneError:
        raise
    except MachineError as error:
        if not kernel.journal.finding_count:
            raise
        kernel.journal.find("the kernel's records", "readable", str(error))
        return Check(
            changing=False,
            checked=_checked(None, own),
            transient=(),
            transient_count=0,
            journal=kernel.journal,
        )
    seen = Journal()
    compare(state, seen)
    return settled(kernel, seen, changing, _checked(state, own))


def _checked(state: State | None, own: int | None) -> Checked:
    """How much was compared, of the kernel's records and of its own half, which may not have been (None)."""
    maps = list(state.maps.values()) if state is not None else []
    return Checked(
        address_spaces=len(maps),
        stacks=len(state.stacks.active) if state is not None else 0,
        lazy_pages=len(state.lazy.pages) if state is not None else 0,
        mapped_pages=sum(len(space.pages) for space in maps),
        tables=sum(len(space.tables) for space in maps),
        frames=state.frames.total_frames or 0 if state is not None else 0,
        kernel_mappings=own,
    )


def compare(state: State, journal: Journal) -> None:
    """Every comparison there is."""
    for number, space in state.maps.items():
        if space.endless_from is not None:
            journal.find(
                f"address space {number} at {space.endless_from:#x}",
                f"the end of its tables: at most {MAXIMUM_SPACE_TABLES} and {MAXIMUM_SPACE_PAGES:,} pages",
                "more of them, such as tables that lead back to themselves have",
            )
        for entry in space.malformed:
            journal.find(
                f"address space {number} at {entry.start:#x}", "a well-formed table entry", entry.reason
            )
    claimed: dict[tuple[int, int], tuple[str, int]] = {}
    for stack in state.stacks.active:
        _check_stack(state, stack, claimed, journal)
    _check_lazy_pages(state, claimed, journal)
    check_frames(state, claimed, journal)
    _check_counts(state, journal)
    _check_spaces(state, journal)


def _check_stack(
    state: State, stack: DynamicStack, claimed: dict[tuple[int, int], tuple[str, int]], journal: Journal
) -> None:
    """Exactly `current_size` mapped below the base, read-write; nothing from there down to the guard."""
    base, size, guard, owner = stack.base_address, stack.current_size, stack.guard_address, stack.owner
    if base is None or size is None or guard is None or owner is None or stack.id is None:
        return
    limit = min(stack.max_size or _LARGEST_STACK_BYTES, _LARGEST_STACK_BYTES)
    if size > limit or size % PAGE_BYTES or base % PAGE_BYTES:
        expected = f"current_size of whole pages, at most {limit:#x} bytes, below a base_address of a page"
        journal.find(stack.label, expected, f"{size:#x} below {base:#x}")
        return
    if not 0 < base - size - guard <= _LARGEST_STACK_BYTES or guard % PAGE_BYTES:
        journal.find(stack.label, f"guard_address of a page below {base - size:#x}", f"{guard:#x}")
        return
    space = state.maps.get(owner)
    if space is None:
        journal.find(stack.label, f"an address space of its owner, task {owner}", "none that is active")
        return
    for page in range(base - size, base, PAGE_BYTES):
        claimed[owner, page] = ("Stack", (stack.id - 1) << 16 | (base - page) // PAGE_BYTES - 1)
    if not space.is_known:
        return
    mapped = [page for page in range(base - size, base, PAGE_BYTES) if page in space.pages]
    if len(mapped) * PAGE_BYTES != size:
        missing = next(page for page in range(base - size, base, PAGE_BYTES) if page not in space.pages)
        journal.find(
            stack.label,
            f"{size // PAGE_BYTES} pages mapped from {base - size:#x} to {base:#x}",
            f"{len(mapped)} pages; {missing:#x} is not mapped",
        )
    for page in mapped:
        allowed = state.permissions.el0(space.pages[page])
        if allowed != "rw-":
            journal.find(f"{stack.label} at {page:#x}", "rw- at EL0", allowed)
    below = [page for page in range(guard, base - size, PAGE_BYTES) if page in space.pages]
    for page in below[:1]:
        what = "its guard page" if page == guard else f"its {len(below)} pages below the mapped part"
        journal.find(
            f"{stack.label} at {page:#x}", f"{what} not mapped", f"mapped to {space.pages[page].physical:#x}"
        )


def _check_lazy_pages(
    state: State, claimed: dict[tuple[int, int], tuple[str, int]], journal: Journal
) -> None:
    """Allocated pages map their frame, zero pages the zero frame read-only, pending pages nothing."""
    lazy = state.lazy
    _check_ranges(lazy, journal)
    empty = SpaceMap(0, {}, (), ())
    for record, row in zip(lazy.pages.records, lazy.pages.rows, strict=True):
        address, physical, allocated, zero, owner = row[:5]
        if None in (address, physical, allocated, zero, owner):
            continue
        space = state.maps.get(owner, empty)
        leaf = space.pages.get(address)
        if allocated == 1 and zero == 0:
            claimed[owner, address] = ("LazyPage", record)
            expected = ("allocated", physical, "rw-")
        elif allocated == 0 and zero == 1:
            expected = ("on the zero page", lazy.zero_frame, "r--")
            if physical != lazy.zero_frame:
                journal.find(
                    f"lazy page {address:#x}",
                    f"physical_address of the zero page, {lazy.zero_frame or 0:#x}",
                    f"{physical:#x}",
                )
        else:
            if leaf is not None and allocated == 0:
                journal.find(
                    f"lazy page {address:#x}", "not mapped while pending", f"mapped to {leaf.physical:#x}"
                )
            continue
        if not space.is_known:
            continue
        if leaf is None:
            journal.find(f"lazy page {address:#x}", f"mapped, as it is {expected[0]}", "not mapped")
        elif leaf.physical != expected[1]:
            journal.find(
                f"lazy page {address:#x}", f"mapped to {expected[1] or 0:#x}", f"mapped to {leaf.physical:#x}"
            )
        elif state.permissions.el0(leaf) != expected[2]:
            journal.find(f"lazy page {address:#x}", f"{expected[2]} at EL0", state.permissions.el0(leaf))


def _check_ranges(lazy: LazyPages, journal: Journal) -> None:
    """Every range has all its records, of its own task; and every record is of a range."""
    inside = 0
    for reserved in lazy.ranges or ():
        pages = lazy.pages_of(reserved)
        inside += len(pages)
        label = f"lazy range of {reserved.pages} pages from record {reserved.first}"
        if len(pages) != reserved.pages:
            journal.find(label, f"{reserved.pages} records in use", f"{len(pages)}")
        elif pages.owners() != {reserved.owner}:
            journal.find(label, f"records of its owner, task {reserved.owner}", "one of another task")
    if lazy.ranges and inside != len(lazy.pages):
        journal.find("lazy pages", f"{inside:,} records in use, as the ranges have", f"{len(lazy.pages):,}")


def _check_counts(state: State, journal: Journal) -> None:
    """Counters that count the same thing."""
    for name, counted, kept in _pairs(state):
        if kept is not None and counted != kept:
            journal.find(name, f"{counted:,}, as there are", f"{kept:,}")


def _pairs(state: State) -> Iterator[tuple[str, int, int | None]]:
    """A counter's name, the number of what it counts, and what it says."""
    stats, lazy = state.stats, state.lazy
    states = lazy.pages.count_states()
    active = len(state.stacks.active)
    yield "active_dynamic_stacks", active, stats.active_dynamic_stacks
    yield "total_lazy_pages", len(lazy.pages), stats.total_lazy_pages
    yield "allocated_lazy_pages", states["allocated"], stats.allocated_lazy_pages
    yield "reserved_pages of the lazy page allocator", len(lazy.pages), lazy.reserved_pages
    yield "allocated_pages of the lazy page allocator", states["allocated"], lazy.allocated_pages
    yield "zero_pages of the lazy page allocator", states["zero"], lazy.zero_pages


def _check_spaces(state: State, journal: Journal) -> None:
    """No ASID is used twice in a generation, and core 0's TTBR0 holds the current space."""
    spaces = state.spaces
    holders: dict[int, int] = {}
    for space in spaces.active:
        if not space.is_active or space.asid is None or space.generation != spaces.generation:
            continue
        if space.asid in holders:
            journal.find(
                f"address space {space.number}",
                "an ASID of its own",
                f"{space.asid}, that of space {holders[space.asid]}",
            )
        holders[space.asid] = space.number
    current = spaces.of(spaces.current)
    register = state.cores[0].ttbr0 if state.cores else None
    if spaces.current is not None and current is None:
        journal.find("current address space", "an active one", f"{spaces.current}")
    if current is not None and register is not None:
        if register.base != current.table:
            journal.find(
                "TTBR0_EL1 of core 0",
                f"table {current.table or 0:#x} of space {current.number}",
                f"{register.base:#x}",
            )
        elif register.asid != current.asid:
            journal.find(
                "TTBR0_EL1 of core 0", f"ASID {current.asid} of space {current.number}", f"{register.asid}"
            )
