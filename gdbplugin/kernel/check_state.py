"""What the check compares: the state, with the accounting of its frames; and the check's result.

The kernel accounts for its frames itself (`kernel/src/memory/audit.rs`); here the tables are walked from
outside.
"""

from __future__ import annotations

from gdbplugin.aarch64.registers import Core, read_cores
from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics, Finding
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.lazy import LazyPages, read_lazy_pages
from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.pressure import Frames, FrameTable, read_frame_table, read_frames
from gdbplugin.kernel.spaces import AddressSpaces, El0Permissions, SpaceMap, read_space_maps, read_spaces
from gdbplugin.kernel.stacks import Stacks, read_stacks
from gdbplugin.kernel.statistics import DynamicMemoryStats, read_statistics
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class State:
    """Everything that is compared: the kernel's records and the translation tables."""

    stats: DynamicMemoryStats
    stacks: Stacks
    lazy: LazyPages
    frames: Frames
    frame_table: FrameTable | None
    spaces: AddressSpaces
    cores: tuple[Core, ...]
    maps: dict[int, SpaceMap]
    permissions: El0Permissions


def read_state(kernel: Kernel) -> State:
    """Read everything that is to be compared."""
    spaces = read_spaces(kernel)
    return State(
        stats=read_statistics(kernel),
        stacks=read_stacks(kernel),
        lazy=read_lazy_pages(kernel, whole=True),
        frames=read_frames(kernel),
        frame_table=read_frame_table(kernel),
        spaces=spaces,
        cores=read_cores(kernel.machine),
        maps=read_space_maps(kernel, spaces),
        permissions=El0Permissions(kernel.regime),
    )


Claims = dict[tuple[int, int], tuple[str, int]]
"""By address space and page: the use of its frame according to the records, and the index within that use."""


@dataclass(frozen=True)
class Accounting:
    """Number of frames of the pool by their use."""

    json_fields = (
        *("total", "free", "cached", "retired", "used"),
        *("tables", "lazy_pages", "stack_pages", "task_pages", "zero_pages", "owned", "lost"),
    )

    total: int
    """All frames of the pool."""
    free: int
    """Free frames."""
    cached: int
    """Free frames that are kept ready for fast allocation."""
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
    """Frames of the shared zero page: 0 or 1."""

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
        """Whether every frame is in exactly one state, and every frame in use has an owner."""
        states = self.free + self.cached + self.retired + self.used
        return self.used == self.owned and states == self.total


def read_accounting(kernel: Kernel) -> Accounting | None:
    """Read the state and count its frames; None if this kernel has no reverse map."""
    return account(read_state(kernel))


def account(state: State) -> Accounting | None:
    """Count the frames of a state; None without a reverse map."""
    table = state.frame_table
    if table is None:
        return None
    uses = table.count()
    free, cached, retired = uses["Free"], uses["Cached"], uses["Retired"]
    walked = {address for space in state.maps.values() for address in space.tables}
    tables = sum(state.frames.number(address) is not None for address in walked)
    # Every address space except number 0, the shell's, has one page of the task's own.
    task_pages = sum(bool(space.is_active) and space.number != 0 for space in state.spaces.active)
    return Accounting(
        total=len(table.uses),
        free=free,
        cached=cached,
        retired=retired,
        used=len(table.uses) - free - cached - retired,
        tables=tables,
        lazy_pages=state.lazy.pages.count_states()["allocated"],
        stack_pages=_stack_pages(state),
        task_pages=task_pages,
        zero_pages=int(bool(state.lazy.zero_frame)),
    )


def check_frames(state: State, claims: Claims, diagnostics: Diagnostics) -> None:
    """Compare the frame pool with the tables; each difference becomes a finding in `diagnostics`."""
    _check_mapped(state, claims, diagnostics)
    table = state.frame_table
    if table is None:
        return
    _check_counters(state, table, diagnostics)
    _check_tables(state, table, diagnostics)
    zero = state.lazy.zero_frame
    number = state.frames.number(zero) if zero is not None else None
    use = table.entry(number)[0] if number is not None else "ZeroPage"
    if use != "ZeroPage":
        diagnostics.add_finding(f"frame {number}, the zero page", "used as ZeroPage", f"{use}")


def _check_mapped(state: State, claims: Claims, diagnostics: Diagnostics) -> None:
    """Every mapped frame of the pool is mapped once and on record, and the reverse map agrees."""
    frames, table, zero = state.frames, state.frame_table, state.lazy.zero_frame
    holders: dict[int, tuple[int, int]] = {}
    for space, mapping in state.maps.items():
        for address, leaf in mapping.pages.items():
            number = frames.number(leaf.physical)
            if number is None or leaf.physical == zero:
                continue
            if leaf.size != PAGE_BYTES:
                diagnostics.add_finding(
                    f"address space {space} at {address:#x}", "a page", f"a block of {leaf.size:#x} bytes"
                )
                continue
            if number in holders:
                other, where = holders[number]
                diagnostics.add_finding(
                    f"frame {number} at {leaf.physical:#x}",
                    "mapped once",
                    f"mapped in space {other} at {where:#x} and in space {space} at {address:#x}",
                )
            holders[number] = (space, address)
            claim = claims.get((space, address))
            if claim is None and _is_task_page(table, number, space):
                continue
            if claim is None:
                diagnostics.add_finding(
                    f"address space {space} at {address:#x}",
                    "nothing mapped, as nothing is on record",
                    f"mapped to {leaf.physical:#x}",
                )
            elif table is not None:
                _check_reverse(table, number, space, claim, diagnostics)


def _is_task_page(table: FrameTable | None, number: int, space: int) -> bool:
    """Whether a frame is a task's own page; only the reverse map records that."""
    return table is not None and table.entry(number)[:2] == ("TaskPage", space)


def _check_reverse(
    table: FrameTable, number: int, space: int, claim: tuple[str, int], diagnostics: Diagnostics
) -> None:
    found = table.entry(number)
    expected = (claim[0], space, claim[1])
    if None not in found and found != expected:
        diagnostics.add_finding(
            f"frame {number}",
            "used as {} of task {}, index {:#x}".format(*expected),
            "{} of task {}, index {:#x}".format(*found),
        )


def _check_counters(state: State, table: FrameTable, diagnostics: Diagnostics) -> None:
    """The counters, and the sizes of stacks and lazy pages, agree with the reverse map."""
    uses = table.count()
    frames = state.frames
    pairs = (
        ("free_frames", uses["Free"], frames.free_frames),
        ("cached_frames", uses["Cached"], frames.cached_frames),
        ("retired_frames", uses["Retired"], frames.retired_frames),
        ("frames", len(table.uses), frames.total_frames),
        ("frames of allocated lazy pages", uses["LazyPage"], state.lazy.pages.count_states()["allocated"]),
        ("frames of stacks", uses["Stack"], _stack_pages(state)),
    )
    for name, counted, counter in pairs:
        if counter is not None and counted != counter:
            diagnostics.add_finding(name, f"{counted:,}, as in the reverse map", f"{counter:,}")


def _check_tables(state: State, table: FrameTable, diagnostics: Diagnostics) -> None:
    """The frames used as translation tables are the tables of the address spaces."""
    walked: set[int] = set()
    for mapping in state.maps.values():
        walked.update(
            number for address in mapping.tables if (number := state.frames.number(address)) is not None
        )
    unknown = {number for number, mapping in state.maps.items() if not mapping.is_known}
    recorded = {number for number, use in enumerate(table.uses) if use == "Table"}
    for number in sorted(walked - recorded):
        diagnostics.add_finding(
            f"frame {number}",
            "used as Table, as an address space's tables lead to it",
            f"{table.entry(number)[0]}",
        )
    for number in sorted(recorded - walked):
        if table.owners[number] in unknown:
            continue
        diagnostics.add_finding(
            f"frame {number}, a table of task {table.owners[number]}",
            "reached from an address space",
            "not reached",
        )


def _stack_pages(state: State) -> int:
    return sum(stack.current_size or 0 for stack in state.stacks.active) // PAGE_BYTES


@dataclass(frozen=True)
class Checked:
    """How much was compared; null for what this kernel does not have or what could not be compared."""

    address_spaces: int | None
    """Address spaces that were compared; null in a kernel without records of them."""
    stacks: int
    """Stacks that were compared."""
    lazy_pages: int
    """Lazy pages that were compared."""
    mapped_pages: int | None
    """Mapped pages that were compared; null if the kernel has no address spaces and the MMU is off."""
    tables: int | None
    """Translation tables that were compared; null in a kernel without records of them."""
    frames: int | None
    """Frames that were compared; null in a kernel without records of them."""
    kernel_mappings: int | None
    """Blocks and pages of the kernel's own half that were compared; null if none were: see the note."""


@dataclass(frozen=True)
class Check(Diagnosed):
    """The result of the check: how much was compared, and the transient differences."""

    json_fields = ("changing", "checked", "finding_count", "transient")

    changing: bool
    """Whether the kernel was stopped in the middle of a change: records may contradict each other."""
    checked: Checked
    """How much was compared."""
    transient: tuple[Finding, ...]
    """Differences during a change by the kernel, which are not findings."""
    transient_count: int

    @property
    def finding_count(self) -> int:
        """Number of findings, including those that are not listed."""
        return self.diagnostics.finding_count


def check_result(kernel: Kernel, differences: Diagnostics, changing: bool, checked: Checked) -> Check:
    """The result: the differences are findings, or transient if the kernel was changing its records."""
    if changing:
        kernel.note_change()
    else:
        for finding in differences.findings:
            kernel.diagnostics.add_finding(finding.object, finding.expected, finding.found)
        kernel.diagnostics.finding_count += differences.finding_count - len(differences.findings)
    return Check(
        changing=changing,
        checked=checked,
        transient=tuple(differences.findings) if changing else (),
        transient_count=differences.finding_count if changing else 0,
        diagnostics=kernel.diagnostics,
    )
