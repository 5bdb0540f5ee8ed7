"""The check: a consistent kernel has no findings, and each kind of disagreement has its own."""

import pytest

from gdbplugin.kernel.check import read_check
from gdbplugin.kernel.check_state import Checked
from tests.kernel.synthetic import (
    LAZY_BASE,
    POOL_BASE,
    READ_ONLY,
    READ_WRITE,
    STACK_BASE,
    ZERO_FRAME,
    World,
)

STACK_FRAME = POOL_BASE + 3 * 4096
FIRST_STACK_BASE = STACK_BASE + 0x20_0000


def findings(world):
    kernel = world.kernel()
    read_check(kernel)
    return [str(finding) for finding in kernel.diagnostics.findings]


def test_a_consistent_kernel_has_no_findings():
    kernel = World().kernel()
    check = read_check(kernel)
    assert kernel.diagnostics.findings == []
    assert kernel.diagnostics.notes == []
    assert check.checked == Checked(
        address_spaces=2,
        stacks=2,
        lazy_pages=5,
        mapped_pages=10,
        tables=17,
        frames=96,
        kernel_mappings=None,
    )


def stack(world, **values):
    world.manager["stack_manager"]["stacks"][0].update(values)


def lazy(world, number, **values):
    world.manager["lazy_allocator"]["pages"][number].update(values)


def unmap_a_stack_page(world):
    del world.mappings[1][FIRST_STACK_BASE - 0x2000]


def map_a_guard(world):
    world.mappings[1][FIRST_STACK_BASE - 0x1_1000] = world.frame("Stack", 1, 16) | READ_WRITE


def map_below_the_stack(world):
    world.mappings[1][FIRST_STACK_BASE - 0x4000] = world.frame("Stack", 1, 3) | READ_WRITE


def share_a_frame(world):
    world.mappings[2][FIRST_STACK_BASE + 0x20_0000 - 0x1000] = STACK_FRAME | READ_WRITE


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda w: stack(w, current_size=0x4000), "stack 1: expected 4 pages mapped"),
        (unmap_a_stack_page, f"{FIRST_STACK_BASE - 0x2000:#x} is not mapped"),
        (map_a_guard, "expected its guard page not mapped"),
        (map_below_the_stack, "1 pages below the mapped part not mapped"),
        (lambda w: stack(w, current_size=1 << 60, max_size=1 << 61), "stack 1: expected current_size"),
        (lambda w: stack(w, current_size=0x3001), "stack 1: expected current_size"),
        (lambda w: stack(w, guard_address=8), "stack 1: expected guard_address"),
        (lambda w: stack(w, owner=3), "an active address space of its owner, task 3"),
        (lambda w: stack(w, policy=77), "stack 1: policy: expected one of Conservative"),
        (lambda w: stack(w, is_active=5), "stack 1: is_active: expected 0 or 1; found 0x5"),
        (lambda w: stack(w, id=9), "stack slot 0: id: expected 1; found 9"),
        (
            lambda w: w.mappings[1].update({FIRST_STACK_BASE - 4096: STACK_FRAME | READ_ONLY}),
            "expected rw- at EL0; found r--",
        ),
        (lambda w: w.mappings[1].pop(LAZY_BASE + 3 * 4096), "mapped, as it is allocated; found not mapped"),
        (lambda w: w.mappings[1].pop(LAZY_BASE + 2 * 4096), "mapped, as it is on the zero page"),
        (
            lambda w: w.mappings[1].update({LAZY_BASE + 2 * 4096: ZERO_FRAME | READ_WRITE}),
            "expected r-- at EL0; found rw-",
        ),
        (
            lambda w: w.mappings[1].update({LAZY_BASE: w.frame("LazyPage", 1, 0) | READ_WRITE}),
            f"lazy page {LAZY_BASE:#x}: expected not mapped while pending",
        ),
        (lambda w: lazy(w, 3, physical_address=POOL_BASE + 0x5_0000), "expected mapped to 0x8050000"),
        (lambda w: lazy(w, 3, is_zero_page=True), "is_allocated, is_zero_page"),
        (lambda w: lazy(w, 3, is_allocated=7), "found 7 and 0"),
        (
            lambda w: w.manager["lazy_allocator"].update(ranges=[{"first": 0, "pages": 4, "owner": 1}]),
            "lazy pages: expected 4 records in use",
        ),
        (
            lambda w: w.manager["lazy_allocator"].update(ranges=[{"first": 0, "pages": 9, "owner": 1}]),
            "lazy range of 9 pages from record 0: expected 9 records in use; found 5",
        ),
        (lambda w: lazy(w, 3, owner=2), "all records owned by task 1"),
        (share_a_frame, "mapped once; found mapped in space 1"),
        (
            lambda w: w.mappings[2].update({0x5000: w.frame("LazyPage", 2, 9) | READ_WRITE}),
            "nothing mapped, as nothing is on record",
        ),
        (
            lambda w: w.frames.update({STACK_FRAME: ("LazyPage", 1, 0)}),
            "used as Stack of task 1, index 0x0",
        ),
        (lambda w: w.frames.update({STACK_FRAME: ("Stack", 2, 0)}), "found Stack of task 2, index 0x0"),
        (lambda w: w.frames.update({ZERO_FRAME: ("Free", 0, 0)}), "used as ZeroPage"),
        (lambda w: w.frame("Table", 1, 3), "a table of task 1: expected reached"),
        (lambda w: w.frames.update({w.tables[1]: ("Cached", 0, 0)}), "used as Table"),
        (lambda w: w.manager["frames"].update(free_frames=3), "free_frames: expected"),
        (lambda w: w.manager["frames"].update(cached_frames=3), "cached_frames: expected 0"),
        (lambda w: w.manager["stats"].update(active_dynamic_stacks=5), "active_dynamic_stacks: expected 2"),
        (lambda w: w.manager["lazy_allocator"].update(zero_pages=4), "zero_pages of the lazy page"),
        (lambda w: w.manager["context_switcher"]["spaces"][2].update(asid=11), "an ASID of its own"),
        (lambda w: w.manager["context_switcher"].update(current=2), "of space 2; found"),
        (lambda w: w.manager["context_switcher"].update(current=60_000), "found 60000"),
        (lambda w: w.extra.update({w.tables[1] + 8 * 100: 1 << 46 | 3}), "a well-formed table entry"),
    ],
)
def test_each_disagreement_is_found(change, expected):
    world = World()
    change(world)
    found = findings(world)
    assert any(expected in finding for finding in found), found


def test_disagreements_during_a_change_are_transient():
    world = World()
    world.sequence = 9
    stack(world, current_size=0x4000)
    kernel = world.kernel()
    check = read_check(kernel)
    assert check.changing
    assert kernel.diagnostics.findings == []
    assert any("4 pages mapped" in str(finding) for finding in check.transient)
    assert "middle of a change" in kernel.diagnostics.notes[0]


def test_a_root_table_that_contains_itself_ends():
    world = World()
    root = world.tables[2]
    world.extra.update({root + 8 * index: root | 3 for index in range(512)})
    kernel = world.kernel()
    read_check(kernel)
    (finding,) = kernel.diagnostics.findings
    assert finding.object.startswith("address space 2 at 0x")
    assert "200 tables and 50,000 pages" in finding.expected


def test_where_all_lead_back_to_themselves_the_rest_is_left_out():
    world = World()
    for number in (0, 3):
        world.mappings[number] = {}
        world.manager["context_switcher"]["spaces"][number] = world.space(number)
    for root in world.tables.values():
        world.extra.update({root + 8 * index: root | 3 for index in range(512)})
    kernel = world.kernel()
    read_check(kernel)
    endless = [finding for finding in kernel.diagnostics.findings if "tables lead back to" in finding.found]
    assert len(endless) == 3
    left_out = "the tables of 1 address spaces were not read, from space 3"
    assert any(left_out in note for note in kernel.diagnostics.notes)
    # What cannot be known of them is not held against them.
    assert not any("not mapped" in finding.found for finding in kernel.diagnostics.findings)
