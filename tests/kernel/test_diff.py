"""Differences of two moments: what events explain, what they do not, and how pages are put together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.kernel.diff import compare
from gdbplugin.kernel.diff_rows import KINDS
from gdbplugin.kernel.events import Events
from gdbplugin.records import replace
from tests.commands.forms import json_of, text_of
from tests.kernel.moments import CAPACITY, OPERATIONS, PAGE, Model, of
from tests.kernel.synthetic import LAZY_BASE, READ_ONLY, READ_WRITE
from tests.schemas.validation import validate

STEPS = st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 3), st.integers(0, 1000))
HISTORIES = st.lists(STEPS, max_size=60)


def played(steps, model=None):
    """A model after some steps; two tasks run from the beginning."""
    if model is None:
        model = Model()
        for task in (1, 2):
            model.start(task, 0)
            model.reserve(task, 4)
    for step in steps:
        model.do(*step)
    return model


@given(first=HISTORIES)
def test_a_moment_differs_in_nothing_from_itself(first):
    moment = played(first).moment()
    found = compare(moment, moment)
    assert (found.rows, found.findings, found.notes, found.event_count) == ((), [], [], 0)
    assert "Nothing changed." in text_of("diff", found)


@given(first=HISTORIES, second=HISTORIES)
@settings(max_examples=300, deadline=None)
def test_what_the_kernel_did_is_explained_by_its_events(first, second):
    before = played(first)
    after = played(second, before.copy())
    found = compare(before.moment(), after.moment())
    assert found.findings == []
    assert all("was discarded" in note for note in found.notes)
    assert found.lost_events == 0
    explained = {number for row in found.rows for number in row.events}
    assert {event.sequence for event in found.events} == explained
    assert all(number > before.recorded for number in explained)


@given(first=HISTORIES, second=HISTORIES)
@settings(max_examples=200, deadline=None)
def test_every_change_of_state_is_a_row(first, second):
    """Counted from the model, not by what decides whether a row is explained."""
    before = played(first)
    after = played(second, before.copy())
    found = compare(before.moment(), after.moment())
    sizes = {row.number: (row.before, row.after) for row in of(found, "stacks", "current_size")}
    old = {number: stack["size"] for number, stack in before.stacks.items()}
    new = {number: stack["size"] for number, stack in after.stacks.items()}
    assert sizes == {
        number: (old.get(number), size) for number, size in new.items() if size != old.get(number)
    }
    states = {}
    for row in of(found, "lazy", "state"):
        states |= dict.fromkeys(range(row.start, row.end, PAGE), (row.before, row.after))
    wanted = {}
    for number in before.pages.keys() | after.pages.keys():
        pair = tuple(model.pages.get(number, {}).get("state") for model in (before, after))
        if pair[0] != pair[1]:
            wanted[LAZY_BASE + number * PAGE] = pair
    assert states == wanted
    mapped = set()
    for row in of(found, "mappings", "mapping"):
        mapped |= {(row.number, address) for address in range(row.start, row.end, PAGE)}
    differing = set()
    for number in before.maps:
        pages, pages_after = before.maps[number], after.maps[number]
        for address in pages.keys() | pages_after.keys():
            one, other = pages.get(address), pages_after.get(address)
            if one != other and (
                one is None or other is None or one.descriptor ^ other.descriptor != 1 << 10
            ):
                differing.add((number, address))
    assert mapped == differing
    assert [row for row in found.rows if row.needs_event and not row.explained] == []


@given(first=HISTORIES, second=HISTORIES)
@settings(deadline=None)
def test_the_same_backwards_is_the_rows_turned_round(first, second):
    before = played(first)
    after = played(second, before.copy())
    after.now += 1
    one, other = (
        compare(before.moment("a"), after.moment("b")),
        compare(after.moment("b"), before.moment("a")),
    )
    assert other.findings == one.findings
    assert "a is earlier than b: the changes run backwards" in other.notes
    assert (other.before, other.after, other.seconds) == (one.after, one.before, -one.seconds)
    assert [(row.before, row.after, row.events) for row in other] == [
        (row.after, row.before, row.events) for row in one
    ]


def broken_stack(model, chance):
    number = sorted(model.stacks)[chance % len(model.stacks)]
    stack = model.stacks[number]
    if not stack["is_active"]:
        return None
    stack["size"] += 21 * PAGE  # More than it can grow to.
    return "stacks", f"stack {number}: current_size"


def broken_life(model, chance):
    task = sorted(model.tasks)[chance % len(model.tasks)]
    state = model.tasks[task]["state"]
    model.tasks[task]["state"] = "Ready" if state == "Ended" else "Ended"
    return "tasks", f"task {task} (task{task}): state"


def broken_page(model, chance):
    if not model.pages:
        return None
    number = sorted(model.pages)[chance % len(model.pages)]
    model.pages[number] |= {"state": "allocated", "frame": 0x1234_5000}
    return "lazy", f"lazy pages of task {model.pages[number]['owner']} "


def broken_level(model, chance):
    model.level = (model.level + 1 + chance % 3) % 4
    return "pressure", "pressure: level"


def broken_limit(model, _):
    model.limit = 77
    return "frames", "frame pool: limit_frames"


def broken_mapping(model, chance):
    """A page is mapped to a frame of another; what was mapped read-only becomes read-write."""
    pages = [(number, address) for number, pages in model.maps.items() for address in sorted(pages)]
    if not pages:
        return None
    number, address = pages[chance % len(pages)]
    bits = READ_WRITE if chance % 2 else READ_ONLY
    model.map(number, address, 0x1234_5000, bits)
    return "mappings", f"space {number} "


def broken_hole(model, chance):
    """A page is mapped where there was nothing: below the guard page of a stack."""
    number = sorted(model.spaces)[chance % len(model.spaces)] if model.spaces else None
    if number is None:
        return None
    model.map(number, 0x6000_0000_0000, 0x1234_5000)
    return "mappings", f"space {number} 0x600000000000..0x600000001000: mapping"


BREAKS = (*(broken_stack, broken_life, broken_page, broken_level, broken_limit, broken_mapping, broken_hole),)


def value_of(model, kind):
    """What the breaks of a kind change, to tell whether they did."""
    return {
        "stacks": {number: stack["size"] for number, stack in model.stacks.items()},
        "tasks": {number: model.is_alive(number) for number in model.tasks},
        "lazy": {number: (page["state"], page["frame"]) for number, page in model.pages.items()},
        "pressure": model.level,
        "frames": model.limit,
        "mappings": {
            (number, address): leaf for number, pages in model.maps.items() for address, leaf in pages.items()
        },
    }[kind]


@pytest.mark.parametrize("break_", BREAKS)
@given(first=HISTORIES, chance=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_change_without_an_event_is_a_finding(break_, first, chance):
    before = played(first)
    after = before.copy()
    broken = break_(after, chance)
    if broken is None or value_of(before, broken[0]) == value_of(after, broken[0]):
        return
    found = compare(before.moment(), after.moment())
    assert [finding for finding in found.findings if finding.object.startswith(broken[1])], found.findings
    rows = [row for row in of(found, broken[0]) if row.explained is False]
    assert rows
    assert all(row.events == () for row in rows)
    assert compare(before.moment(), after.moment(), ("counters",)).findings == []


@pytest.mark.parametrize("break_", BREAKS)
@given(first=HISTORIES, second=HISTORIES, chance=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_false_change_among_true_ones_is_a_finding(break_, first, second, chance):
    """After a true history: the broken value differs from what the events say, and from what it was."""
    before = played(first)
    after = played(second, before.copy())
    true = after.copy()
    broken = break_(after, chance)
    if broken is None:
        return
    kind = broken[0]
    values = [value_of(model, kind) for model in (before, true, after)]
    if values[2] in values[:2] or not isinstance(values[0], dict):
        return
    changed = [key for key, value in values[2].items() if value != values[1].get(key)]
    if any(values[2][key] == values[0].get(key) for key in changed):
        return  # It is as it was: that no longer shows.
    if kind == "mappings" and any(values[1].get(key) != values[0].get(key) for key in changed):
        return  # The event of a stack's growth does not say which frames it took.
    found = compare(before.moment(), after.moment())
    assert [finding for finding in found.findings if finding.object.startswith(broken[1])], found


def grown(pages=15):
    """A stack that grew by some pages between two moments, into frames that are not adjacent."""
    model = Model()
    model.start(1, 0)
    before = model.moment()
    stack = model.stacks[1]
    for _ in range(pages):
        stack["size"] += PAGE
        model.frame()
        model.map(1, stack["base"] - stack["size"], model.frame())
    model.record("StackGrowth", 1, 1, pages)
    return before, model


def test_the_growth_of_a_stack_by_15_pages_is_one_row():
    before, model = grown()
    found = compare(before, model.moment())
    (row,) = of(found, "mappings")
    base = model.stacks[1]["base"]
    assert (row.start, row.end) == (base - 16 * PAGE, base - PAGE)
    assert (row.before, row.after) == (None, "rw- at EL0")
    assert (row.number, row.asid, row.events, row.explained) == (1, 11, (2,), True)
    assert row.frames_before is None
    assert row.frames_after == tuple(
        model.maps[1][address].physical for address in range(row.start, row.end, PAGE)
    )
    text = text_of("diff", found)
    assert "space 1" in text
    assert "rw- at EL0, 15 frames" in text
    assert "StackGrowth 2" in text
    validate(json_of("diff", found))


def test_a_page_more_than_the_event_says_is_its_own_row():
    before, model = grown()
    stack = model.stacks[1]
    stack["size"] += PAGE
    model.map(1, stack["base"] - stack["size"], model.frame())
    found = compare(before, model.moment())
    unexplained, explained = of(found, "mappings")
    assert (unexplained.explained, unexplained.size) == (False, PAGE)
    assert (explained.explained, explained.size) == (True, 15 * PAGE)
    assert [str(finding) for finding in found.findings] == [
        "stack 1: current_size: expected 0x10000, as its events say; found 0x11000, before 0x1000",
        f"space 1 {unexplained.start:#x}..{unexplained.end:#x}: mapping: expected no change, as no event is "
        f"about it; found rw- at EL0 (frame {unexplained.frames_after[0]:#x}), before nothing",
    ]
    assert "not explained" in text_of("diff", found)


def test_lost_events_are_said_once_in_place_of_findings():
    before, model = grown()
    for number in range(CAPACITY):
        model.record("StrategyRun", 0, 0, number)
    found = compare(before, model.moment())
    assert found.findings == []
    assert found.notes == [
        "the event ring has lost 1 of the 4,097 events in between: a change without an event is not a finding"
    ]
    (row,) = of(found, "mappings")
    assert (row.explained, row.events, row.needs_event) == (None, (), True)
    assert found.lost_events == 1


def test_a_hole_in_the_ring_counts_as_lost():
    before, model = grown()
    model.press(0, 1)
    moment = model.moment()
    kept = tuple(event for event in moment.events.events if event.kind != "StackGrowth")
    found = compare(before, replace(moment, events=Events(model.recorded, kept)))
    assert found.findings == []
    assert "has lost 1 of the 2 events" in found.notes[0]


@pytest.mark.parametrize("which", ["before", "after"])
def test_a_change_under_way_makes_no_findings(which):
    before, model = grown()
    moments = {"before": before, "after": replace(model.moment(), events=Events(1, ()))}
    moments[which] = replace(moments[which], changing=True)
    found = compare(**moments)
    assert found.findings == []
    assert "in the middle of a change" in found.notes[0]


def test_two_runs_of_a_kernel_are_told_apart():
    before, model = grown()
    events = tuple(replace(event, timestamp=5) for event in model.events)
    found = compare(before, replace(model.moment(), events=Events(model.recorded, events)))
    assert found.findings == []
    assert "of different runs of the kernel" in found.notes[0]


def test_a_kernel_without_events_says_so():
    before, model = grown()
    moments = [replace(one, has_events=False, events=Events(None, ())) for one in (before, model.moment())]
    found = compare(*moments)
    assert found.findings == []
    assert "records no events" in found.notes[0]
    assert of(found, "stacks", "current_size")


def test_a_discard_is_recognized_by_the_whole_range():
    model = Model()
    model.start(1, 0)
    model.reserve(1, 3)
    for chance in (1, 3, 5, 7):
        model.touch(1, chance)
    before, whole = model.moment(), model.copy()
    whole.discard(1, 0)
    found = compare(before, whole.moment())
    assert found.findings == []
    assert len(found.notes) == 1
    assert f"the lazy range at {LAZY_BASE:#x} was discarded" in found.notes[0]
    model.pages[1] |= {"state": "pending", "frame": 0}
    del model.maps[1][LAZY_BASE + PAGE]
    found = compare(before, model.moment())
    assert len(found.findings) == 2
    assert found.notes == []


def test_a_stack_whose_growth_ended_halfway_needs_its_event():
    before, model = grown(2)
    model.events[-1] = replace(
        model.events[-1], kind="OutOfMemory", first=model.stacks[1]["base"] - 3 * PAGE, second=0
    )
    found = compare(before, model.moment())
    assert found.findings == []
    assert {row.events for row in found.rows if row.explained} == {(2,)}


def test_only_the_kinds_asked_for_are_compared():
    before, model = grown()
    for kind in KINDS:
        assert {row.kind for row in compare(before, model.moment(), (kind,)).rows} <= {kind}
