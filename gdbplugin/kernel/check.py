"""The check: compares the kernel's records with each other and with the translation tables.

The kernel's interface for debuggers (`kernel/src/debugger.rs`) defines what must hold. While the kernel is in
the middle of a change it need not hold: differences are then transient, not findings.
"""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.kernel.check_by_design import check_by_design
from gdbplugin.kernel.check_kernel_half import check_kernel_half
from gdbplugin.kernel.check_state import Check, Checked, Claims, State, check_frames, check_result, read_state
from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.interface import note_failure
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lazy import LazyPages
from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.memory_objects import LARGEST_STACK_BYTES
from gdbplugin.kernel.spaces import MAXIMUM_SPACE_PAGES, MAXIMUM_SPACE_TABLES, SpaceMap
from gdbplugin.kernel.stacks import DynamicStack
from gdbplugin.kernel.target import Symbols
from gdbplugin.machine import MachineError, MachineGoneError


def read_check(kernel: Kernel, symbols: Symbols | None = None) -> Check:
    """Read and compare. Findings go to the kernel's diagnostics, unless it was changing its records.

    The kernel's own half of the address space never changes; it is compared only if there are `symbols`.
    Raises `MachineError` if the records cannot be read; after earlier findings that is one more finding.
    """
    kernel_mappings = None
    if symbols is not None and kernel.has_debugger_interface:
        kernel_mappings = check_kernel_half(kernel, symbols)
    try:
        note_failure(kernel)
        if not kernel.has_debugger_interface:
            return check_by_design(kernel)
        if kernel.read_integer(MANAGER, "sequence") == 0:
            kernel.diagnostics.add_note(
                "the kernel has not set up its memory manager yet: its records were not compared"
            )
            return check_result(kernel, Diagnostics(), False, _checked(None, kernel_mappings))
        changing, state = kernel.is_changing(MANAGER), read_state(kernel)
    except MachineGoneError:
        raise
    except MachineError as error:
        if not kernel.diagnostics.finding_count:
            raise
        kernel.diagnostics.add_finding("the kernel's records", "readable", str(error))
        return check_result(kernel, Diagnostics(), False, _checked(None, kernel_mappings))
    differences = Diagnostics()
    _compare(state, differences)
    return check_result(kernel, differences, changing, _checked(state, kernel_mappings))


def _checked(state: State | None, kernel_mappings: int | None) -> Checked:
    """How much was compared; `state` and `kernel_mappings` are None if they were not compared."""
    maps = list(state.maps.values()) if state is not None else []
    return Checked(
        address_spaces=len(maps),
        stacks=len(state.stacks.active) if state is not None else 0,
        lazy_pages=len(state.lazy.pages) if state is not None else 0,
        mapped_pages=sum(len(space.pages) for space in maps),
        tables=sum(len(space.tables) for space in maps),
        frames=state.frames.total_frames or 0 if state is not None else 0,
        kernel_mappings=kernel_mappings,
    )


def _compare(state: State, diagnostics: Diagnostics) -> None:
    """Make all comparisons; each difference becomes a finding in `diagnostics`."""
    for number, space in state.maps.items():
        if space.endless_from is not None:
            diagnostics.add_finding(
                f"address space {number} at {space.endless_from:#x}",
                f"at most {MAXIMUM_SPACE_TABLES} tables and {MAXIMUM_SPACE_PAGES:,} pages",
                "more, possibly because tables lead back to themselves",
            )
        for entry in space.malformed:
            diagnostics.add_finding(
                f"address space {number} at {entry.start:#x}", "a well-formed table entry", entry.reason
            )
    claims: Claims = {}
    for stack in state.stacks.active:
        _check_stack(state, stack, claims, diagnostics)
    _check_lazy_pages(state, claims, diagnostics)
    check_frames(state, claims, diagnostics)
    _check_counts(state, diagnostics)
    _check_spaces(state, diagnostics)


def _check_stack(state: State, stack: DynamicStack, claims: Claims, diagnostics: Diagnostics) -> None:
    """Exactly `current_size` bytes are mapped below the base, read-write; nothing below them to the guard."""
    base, size, guard, owner = stack.base_address, stack.current_size, stack.guard_address, stack.owner
    if base is None or size is None or guard is None or owner is None or stack.id is None:
        return
    limit = min(stack.max_size or LARGEST_STACK_BYTES, LARGEST_STACK_BYTES)
    if size > limit or size % PAGE_BYTES or base % PAGE_BYTES:
        expected = f"current_size of whole pages, at most {limit:#x}, below a page-aligned base_address"
        diagnostics.add_finding(stack.label, expected, f"{size:#x} below {base:#x}")
        return
    if not 0 < base - size - guard <= LARGEST_STACK_BYTES or guard % PAGE_BYTES:
        diagnostics.add_finding(
            stack.label, f"guard_address below {base - size:#x}, page-aligned", f"{guard:#x}"
        )
        return
    space = state.maps.get(owner)
    if space is None:
        diagnostics.add_finding(stack.label, f"an active address space of its owner, task {owner}", "none")
        return
    for page in range(base - size, base, PAGE_BYTES):
        claims[owner, page] = ("Stack", (stack.id - 1) << 16 | (base - page) // PAGE_BYTES - 1)
    if not space.is_known:
        return
    mapped = [page for page in range(base - size, base, PAGE_BYTES) if page in space.pages]
    if len(mapped) * PAGE_BYTES != size:
        missing = next(page for page in range(base - size, base, PAGE_BYTES) if page not in space.pages)
        diagnostics.add_finding(
            stack.label,
            f"{size // PAGE_BYTES} pages mapped from {base - size:#x} to {base:#x}",
            f"{len(mapped)} pages; {missing:#x} is not mapped",
        )
    for page in mapped:
        allowed = state.permissions.el0(space.pages[page])
        if allowed != "rw-":
            diagnostics.add_finding(f"{stack.label} at {page:#x}", "rw- at EL0", allowed)
    below = [page for page in range(guard, base - size, PAGE_BYTES) if page in space.pages]
    for page in below[:1]:
        what = "its guard page" if page == guard else f"its {len(below)} pages below the mapped part"
        diagnostics.add_finding(
            f"{stack.label} at {page:#x}", f"{what} not mapped", f"mapped to {space.pages[page].physical:#x}"
        )


def _check_lazy_pages(state: State, claims: Claims, diagnostics: Diagnostics) -> None:
    """Allocated pages map their frame, zero pages map the zero page read-only, pending pages map nothing."""
    lazy = state.lazy
    _check_ranges(lazy, diagnostics)
    empty = SpaceMap(0, {}, (), ())
    for record, row in zip(lazy.pages.records, lazy.pages.rows, strict=True):
        address, physical, allocated, zero, owner = row[:5]
        if None in (address, physical, allocated, zero, owner):
            continue
        space = state.maps.get(owner, empty)
        leaf = space.pages.get(address)
        if allocated == 1 and zero == 0:
            claims[owner, address] = ("LazyPage", record)
            expected = ("allocated", physical, "rw-")
        elif allocated == 0 and zero == 1:
            expected = ("on the zero page", lazy.zero_frame, "r--")
            if physical != lazy.zero_frame:
                diagnostics.add_finding(
                    f"lazy page {address:#x}",
                    f"physical_address of the zero page, {lazy.zero_frame or 0:#x}",
                    f"{physical:#x}",
                )
        else:
            if leaf is not None and allocated == 0:
                diagnostics.add_finding(
                    f"lazy page {address:#x}", "not mapped while pending", f"mapped to {leaf.physical:#x}"
                )
            continue
        if not space.is_known:
            continue
        if leaf is None:
            diagnostics.add_finding(
                f"lazy page {address:#x}", f"mapped, as it is {expected[0]}", "not mapped"
            )
        elif leaf.physical != expected[1]:
            diagnostics.add_finding(
                f"lazy page {address:#x}", f"mapped to {expected[1] or 0:#x}", f"mapped to {leaf.physical:#x}"
            )
        elif state.permissions.el0(leaf) != expected[2]:
            diagnostics.add_finding(
                f"lazy page {address:#x}", f"{expected[2]} at EL0", state.permissions.el0(leaf)
            )


def _check_ranges(lazy: LazyPages, diagnostics: Diagnostics) -> None:
    """Every range has all of its records, with its owner; and every record is in a range."""
    inside = 0
    for reserved in lazy.ranges or ():
        pages = lazy.pages_of(reserved)
        inside += len(pages)
        label = f"lazy range of {reserved.pages} pages from record {reserved.first}"
        if len(pages) != reserved.pages:
            diagnostics.add_finding(label, f"{reserved.pages} records in use", f"{len(pages)}")
        elif pages.owners() != {reserved.owner}:
            diagnostics.add_finding(
                label, f"all records owned by task {reserved.owner}", "one of another owner"
            )
    if lazy.ranges and inside != len(lazy.pages):
        diagnostics.add_finding(
            "lazy pages", f"{inside:,} records in use, as in the ranges", f"{len(lazy.pages):,}"
        )


def _check_counts(state: State, diagnostics: Diagnostics) -> None:
    """Every counter has the number of the records that it counts."""
    for name, counted, counter in _counters(state):
        if counter is not None and counted != counter:
            diagnostics.add_finding(name, f"{counted:,}, as counted", f"{counter:,}")


def _counters(state: State) -> Iterator[tuple[str, int, int | None]]:
    """The name of each counter, the number of records that it counts, and its value."""
    stats, lazy = state.stats, state.lazy
    states = lazy.pages.count_states()
    active = len(state.stacks.active)
    yield "active_dynamic_stacks", active, stats.active_dynamic_stacks
    yield "total_lazy_pages", len(lazy.pages), stats.total_lazy_pages
    yield "allocated_lazy_pages", states["allocated"], stats.allocated_lazy_pages
    yield "reserved_pages of the lazy page allocator", len(lazy.pages), lazy.reserved_pages
    yield "allocated_pages of the lazy page allocator", states["allocated"], lazy.allocated_pages
    yield "zero_pages of the lazy page allocator", states["zero"], lazy.zero_pages


def _check_spaces(state: State, diagnostics: Diagnostics) -> None:
    """Address spaces of one generation have different ASIDs; TTBR0_EL1 of core 0 has the current one."""
    spaces = state.spaces
    holders: dict[int, int] = {}
    for space in spaces.active:
        if not space.is_active or space.asid is None or space.generation != spaces.generation:
            continue
        if space.asid in holders:
            diagnostics.add_finding(
                f"address space {space.number}",
                "an ASID of its own",
                f"{space.asid}, the ASID of space {holders[space.asid]}",
            )
        holders[space.asid] = space.number
    current = spaces.of(spaces.current)
    register = state.cores[0].ttbr0 if state.cores else None
    if spaces.current is not None and current is None:
        diagnostics.add_finding("current address space", "an active one", f"{spaces.current}")
    if current is not None and register is not None:
        if register.base != current.table:
            diagnostics.add_finding(
                "TTBR0_EL1 of core 0",
                f"table {current.table or 0:#x} of space {current.number}",
                f"{register.base:#x}",
            )
        elif register.asid != current.asid:
            diagnostics.add_finding(
                "TTBR0_EL1 of core 0", f"ASID {current.asid} of space {current.number}", f"{register.asid}"
            )
