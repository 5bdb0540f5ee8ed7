"""The frame pool against what is mapped: the reverse map, the counters, and frames mapped twice."""

from __future__ import annotations

from gdbplugin.kernel.check_state import State
from gdbplugin.kernel.frames import FrameTable
from gdbplugin.kernel.journal import Journal

Claims = dict[tuple[int, int], tuple[str, int]]
"""By space and page: the use that the kernel's records give its frame, and the index within that use."""


def check_frames(state: State, claimed: Claims, journal: Journal) -> None:
    """Compare the pool with the tables."""
    _check_mapped(state, claimed, journal)
    table = state.frame_table
    if table is None:
        return
    _check_counters(state, table, journal)
    _check_tables(state, table, journal)
    zero = state.lazy.zero_frame
    number = state.frames.number(zero) if zero is not None else None
    if number is not None and table.uses[number] != "ZeroPage":
        journal.find(f"frame {number}, the zero page", "used as ZeroPage", f"{table.uses[number]}")


def _check_mapped(state: State, claimed: Claims, journal: Journal) -> None:
    """Every mapped frame of the pool is mapped once, is on record, and its reverse map leads back."""
    frames, table, zero = state.frames, state.frame_table, state.lazy.zero_frame
    holders: dict[int, tuple[int, int]] = {}
    for space, mapping in state.maps.items():
        for address, leaf in mapping.pages.items():
            number = frames.number(leaf.physical)
            if number is None or leaf.physical == zero:
                continue
            if leaf.size != 4096:
                journal.find(
                    f"address space {space} at {address:#x}", "a page", f"a block of {leaf.size:#x} bytes"
                )
                continue
            if number in holders:
                other, where = holders[number]
                journal.find(
                    f"frame {number} at {leaf.physical:#x}",
                    "mapped once",
                    f"mapped in space {other} at {where:#x} and in space {space} at {address:#x}",
                )
            holders[number] = (space, address)
            claim = claimed.get((space, address))
            if claim is None and _is_task_page(table, number, space):
                continue
            if claim is None:
                journal.find(
                    f"address space {space} at {address:#x}",
                    "nothing mapped, as nothing is on record",
                    f"mapped to {leaf.physical:#x}",
                )
            elif table is not None:
                _check_reverse(table, number, space, claim, journal)


def _is_task_page(table: FrameTable | None, number: int, space: int) -> bool:
    """Whether a frame is a task's own page, of which the reverse map is the only record."""
    return table is not None and (table.uses[number], table.owners[number]) == ("TaskPage", space)


def _check_reverse(
    table: FrameTable, number: int, space: int, claim: tuple[str, int], journal: Journal
) -> None:
    found = (table.uses[number], table.owners[number], table.indexes[number])
    expected = (claim[0], space, claim[1])
    if None not in found and found != expected:
        journal.find(
            f"frame {number}",
            "used as {} of task {}, index {:#x}".format(*expected),
            "{} of task {}, index {:#x}".format(*found),
        )


def _check_counters(state: State, table: FrameTable, journal: Journal) -> None:
    """The counters count what the reverse map holds; stacks and lazy pages own as many frames as they say."""
    uses = table.count()
    frames = state.frames
    stack_bytes = sum(stack.current_size or 0 for stack in state.stacks.active)
    pairs = (
        ("free_frames", uses["Free"], frames.free_frames),
        ("cached_frames", uses["Cached"], frames.cached_frames),
        ("retired_frames", uses["Retired"], frames.retired_frames),
        ("frames", len(table.uses), frames.total_frames),
        ("frames of allocated lazy pages", uses["LazyPage"], state.lazy.pages.count_states()["allocated"]),
        ("frames of stacks", uses["Stack"], stack_bytes // 4096),
    )
    for name, counted, kept in pairs:
        if kept is not None and counted != kept:
            journal.find(name, f"{counted:,}, as the reverse map has", f"{kept:,}")


def _check_tables(state: State, table: FrameTable, journal: Journal) -> None:
    """The frames used as translation tables are the tables of the address spaces."""
    walked: set[int] = set()
    for mapping in state.maps.values():
        walked.update(
            number for address in mapping.tables if (number := state.frames.number(address)) is not None
        )
    unknown = {number for number, mapping in state.maps.items() if not mapping.is_known}
    recorded = {number for number, use in enumerate(table.uses) if use == "Table"}
    for number in sorted(walked - recorded):
        journal.find(
            f"frame {number}",
            "used as Table, as an address space's tables lead to it",
            f"{table.uses[number]}",
        )
    for number in sorted(recorded - walked):
        if table.owners[number] in unknown:
            continue
        journal.find(
            f"frame {number}, a table of task {table.owners[number]}",
            "reached from an address space",
            "not reached",
        )
