"""Differences that the events between two moments do not lead to, one by one."""

from __future__ import annotations

from gdbplugin.aarch64.tables import Leaf, Malformed
from gdbplugin.kernel.diff import compare
from gdbplugin.kernel.moment import KERNEL_HALF, read_moment
from gdbplugin.kernel.spaces import SpaceMap
from gdbplugin.records import replace
from tests.commands.forms import json_of, text_of
from tests.kernel.moments import PAGE, Model, of
from tests.kernel.other_designs import put, small_world
from tests.kernel.synthetic import LAZY_BASE, READ_WRITE, STACK_BASE
from tests.schemas.validation import validate

SECOND_STACK = {"base": STACK_BASE + 0x40_0000, "size": 0, "growths": 0}


def with_page(pages=4):
    """A task with a lazy range of some pages."""
    model = Model()
    model.start(1, 0)
    model.reserve(1, pages - 1)
    return model


def found_after(model, change):
    """The difference that a change of a copy makes."""
    after = model.copy()
    change(after)
    return compare(model.moment(), after.moment())


def said(found):
    return [str(finding) for finding in found.findings]


def test_pages_with_a_gap_between_them_are_two_rows():
    model = with_page()
    model.touch(1, 2)

    def touch_both_sides(after):
        after.touch(1, 0)
        after.touch(1, 4)

    rows = of(found_after(model, touch_both_sides), "lazy", "state")
    assert [(row.start - LAZY_BASE, row.size) for row in rows] == [(0, PAGE), (2 * PAGE, PAGE)]


def test_a_mapping_that_its_events_do_not_lead_to_is_a_finding():
    model = with_page()
    model.touch(1, 0)
    place = f"space 1 {LAZY_BASE:#x}..{LAZY_BASE + PAGE:#x}: mapping: expected"

    def lose(after):
        after.touch(1, 1)
        del after.maps[1][LAZY_BASE]

    assert said(found_after(model, lose)) == [
        f"{place} a mapping, as its events say; found nothing, before r-- at EL0"
    ]

    def map_another(after):
        after.touch(1, 1)
        after.map(1, LAZY_BASE, 0x1234_5000)

    (finding,) = said(found_after(model, map_another))
    assert finding.startswith(f"{place} a mapping to {model.next_frame + PAGE:#x}, as its events say")

    def leave_writable(after):
        after.fold(1, 0)
        after.map(1, LAZY_BASE, after.pages[0]["frame"], READ_WRITE)

    model.touch(1, 1)
    (finding,) = said(found_after(model, leave_writable))
    assert finding.startswith(f"{place} r-- at EL0, as its events say; found rw- at EL0")


def test_a_mapping_in_the_space_of_a_former_owner_is_a_finding():
    model = with_page()
    model.start(2, 0)

    def change_hands(after):
        after.release(1, 0)
        after.reserve(2, 3)
        after.touch(2, 1)
        after.map(1, LAZY_BASE, after.pages[0]["frame"])

    found = found_after(model, change_hands)
    (finding,) = said(found)
    assert finding.startswith(f"space 1 {LAZY_BASE:#x}..{LAZY_BASE + PAGE:#x}: mapping: expected no mapping")
    (row,) = of(found, "lazy", "owner")
    assert (row.before, row.after, row.explained, row.size) == ("task 1", "task 2", True, 4 * PAGE)


def test_any_change_of_the_kernels_own_half_is_a_finding():
    model, address = with_page(), 0xFFFF_8000_0020_0000
    before = model.moment()
    maps = [
        {**before.maps, KERNEL_HALF: SpaceMap(KERNEL_HALF, {address: leaf}, (), ())}
        for leaf in (
            Leaf(address, 0x20_0000, 2 << 20, 2, 0x20_0000 | bits, 0) for bits in (0x783, 0x783 | 1 << 6)
        )
    ]
    found = compare(replace(before, maps=maps[0]), replace(before, maps=maps[1]))
    (row,) = found.rows
    assert (row.object, row.size, row.number) == ("kernel half", 2 << 20, None)
    (finding,) = said(found)
    assert "expected no change, as the kernel's own half never changes" in finding


def test_an_entry_that_became_malformed_is_a_finding():
    model = with_page()
    model.touch(1, 1)
    moment = model.moment()
    bad = Malformed(LAZY_BASE, PAGE, 3, 0x9000, 0, 0x1, "a reserved descriptor")
    pages = {address: leaf for address, leaf in model.maps[1].items() if address != LAZY_BASE}
    found = compare(moment, replace(moment, maps={**moment.maps, 1: SpaceMap(1, pages, (bad,), ())}))
    (row,) = found.rows
    assert (row.before, row.after) == ("rw- at EL0", "malformed: a reserved descriptor")
    assert len(found.findings) == 1


def test_a_task_that_ended_without_its_event_is_a_finding():
    model = with_page()

    def start_and_stop(after):
        after.start(2, 0)
        after.tasks[2]["state"] = "Ended"

    assert said(found_after(model, start_and_stop)) == [
        "task 2 (task2): state: expected alive, as its events say; found Ended, before nothing"
    ]

    def end_for_another_reason(after):
        after.end(1, 0)
        after.tasks[1]["reason"] = "Killed"

    assert said(found_after(model, end_for_another_reason)) == [
        "task 1 (task1): end_reason: expected Exited, as its events say; found Killed, before None"
    ]


def test_a_stack_that_never_lived_needs_no_event():
    """The kernel makes the stack of a task before the task, which may then find no memory."""
    ended = SECOND_STACK | {"is_active": False, "owner": 3}
    found = found_after(with_page(), lambda after: after.stacks.update({2: ended}))
    assert found.findings == []
    assert "is_active" in [row.field for row in of(found, "stacks")]


def test_a_stack_that_begins_without_an_event_is_said_once():
    model = with_page()
    found = found_after(
        model,
        lambda after: after.stacks.update({2: SECOND_STACK | {"is_active": True, "owner": 1}}),
    )
    assert [finding.partition(": expected")[0] for finding in said(found)] == [
        "stack 2: is_active",
        "stack 2: current_size",
    ]


def test_a_level_other_than_its_last_event_says_is_a_finding():
    def press_and_change(after):
        after.press(0, 2)
        after.level = 3

    assert said(found_after(with_page(), press_and_change)) == [
        "pressure: level: expected High, as its events say; found Critical, before Low"
    ]


def test_another_kernel_of_the_design_is_compared_without_events():
    before, after = small_world(), small_world()
    put(after, {"stack_manager": {"stacks": [{}, {"growth_count": 8, "current_size": 0x3000}]}})
    found = compare(read_moment(before.kernel(), "a"), read_moment(after.kernel(), "b"))
    assert found.findings == []
    assert found.notes[0] == "this kernel records no events: a change without an event is not a finding"
    assert ("stack 7", "current_size", 0x2000, 0x3000) in [
        (row.object, row.field, row.before, row.after) for row in found
    ]
    assert "8 KiB" in text_of("diff", found)
    validate(json_of("diff", found))
