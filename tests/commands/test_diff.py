"""Differences of a small kernel, as text and JSON, and the words for moments."""

import pytest

from gdbplugin.commands import diff
from gdbplugin.commands.parsing import FILE, WordError, complete, parse, split
from gdbplugin.kernel.diff_rows import KINDS as OBJECTS
from gdbplugin.machine import MachineError, SelectionError
from gdbplugin.moments import KINDS, read_difference
from gdbplugin.render import Style
from tests.commands.forms import json_of, text_of
from tests.kernel.stopped import stopped_world
from tests.kernel.synthetic import World
from tests.schemas.validation import validate


def grown_world():
    """The small kernel, in which the stack of task 1 has one page more, and the ring says so."""
    world = World()
    stack = world.manager["stack_manager"]["stacks"][0]
    page = stack["base_address"] - stack["current_size"] - 4096
    world.mappings[1][page] = world.frame("Stack", 1, 3) | 0x0060_0000_0000_0F43
    stack |= {"current_size": 0x4000, "growth_count": 4, "high_water_mark": 0x4000}
    entries = world.manager["events"]["entries"]
    entries.append(
        {"sequence": 3, "kind": "StackGrowth", "asid": 11, "first": 1, "second": 1, "timestamp": 9}
    )
    world.manager["events"]["recorded"] = 3
    return world


def moment(world):
    return KINDS[0].read(stopped_world(world), "now")


def difference(before, after, **words):
    target = stopped_world(after)
    return read_difference(target, moment(before), None, **words)


def test_the_kinds_that_are_offered_are_those_that_are_compared():
    (option,) = [option for option in diff.OPTIONS if option.name == "--kind"]
    assert option.choices == OBJECTS


def test_a_small_kernel_does_not_differ_from_itself():
    found = difference(World(), World())
    assert text_of("diff", found).splitlines() == [
        "Difference from now to now (0 events)",
        "  Nothing changed.",
        "0 findings",
    ]


def test_a_growth_beside_its_event():
    found = difference(World(), grown_world())
    assert found.findings == []
    text = text_of("diff", found)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "Difference from now to now (1 event)" in lines
    assert "stack 1 current_size 12 KiB 16 KiB StackGrowth 3" in lines
    assert any(
        line.startswith("space 1 0x7000003fc000 4 K mapping - rw- at EL0, 0x8") and "StackGrowth 3" in line
        for line in lines
    )
    assert "stack 1 growth_count 3 4 StackGrowth 3" in lines
    assert lines[-1] == "0 findings"
    content = json_of("diff", found)
    validate(content)
    assert content["counts"]["mappings"] == 1
    assert [event["sequence"] for event in content["events"]] == [3]


def test_the_same_without_its_event_is_two_findings():
    world = grown_world()
    world.manager["events"]["recorded"] = 2
    world.manager["events"]["entries"].pop()
    found = difference(World(), world)
    text = text_of("diff", found, Style("ascii", colour=True))
    assert text.count("\033[31mnot explained\033[0m") == 2
    assert text.endswith("2 findings\n")
    validate(json_of("diff", found))


def test_no_more_rows_than_the_limit():
    text = text_of("diff", difference(World(), grown_world(), limit=1))
    assert "--limit N shows N" in text
    assert text.count("stack 1 ") == 2  # One in each table.


def test_a_kind_alone():
    found = difference(World(), grown_world(), kinds=("frames",))
    assert {row.kind for row in found} == {"frames"}


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_line_is_as_wide_as_it_may_be(width):
    text = text_of("diff", difference(World(), grown_world()), Style("ascii", width=width))
    title = text.splitlines()[0]
    assert len(title) <= width
    assert width < 100 or max(map(len, text.splitlines())) <= width


def test_many_events_are_said_as_ranges():
    assert diff._ranges([3]) == "3"
    assert diff._ranges([3, 4, 5, 9]) == "3-5, 9"
    assert diff._ranges(range(1, 21, 2)) == "1, 3, 5, 7 and 6 more"


def test_moments_are_words_of_the_command():
    values = parse(diff.COMMAND, split("$tinyos_stop(-1) 'a file' --kind lazy --kind stacks --strict"))
    assert values == {"a": "$tinyos_stop(-1)", "b": "a file", "kind": ("lazy", "stacks"), "strict": True}
    with pytest.raises(WordError, match="is not one of stacks, lazy"):
        parse(diff.COMMAND, split("now now --kind stack"))


def test_a_stop_that_was_not_kept_says_what_keeps_one():
    target = stopped_world()
    with pytest.raises(MachineError, match="no earlier stop was kept: nothing keeps any here"):
        read_difference(target, None, None)
    with pytest.raises(SelectionError, match="give a negative number"):
        read_difference(target, "$tinyos_stop(0)", None)


def test_a_dump_without_a_program_is_one_sentence(tmp_path):
    with pytest.raises(MachineError, match="no kernel is loaded"):
        read_difference(stopped_world(), str(tmp_path / "dump"), None)


def test_the_stops_that_were_kept_are_offered():
    target = stopped_world()
    history = target.required_kernel().history
    assert diff.offered_moments(target) == ["now"]
    history.keep_most(2)
    history.keep_moment(moment(World()))
    history.keep_moment(moment(World()))
    history.ran()
    assert diff.offered_moments(target) == ["now", "$tinyos_stop(-1)"]
    for _ in range(3):
        history.ran()
        history.keep_moment(moment(World()))
        history.keep_most(2)
    history.ran()
    assert diff.offered_moments(target) == ["now", "$tinyos_stop(-1)", "$tinyos_stop(-2)"]

    def offered(typed):
        return complete(diff.COMMAND, typed, lambda parameter: parameter.complete(target))

    assert offered("$tin") == ["$tinyos_stop(-1)", "$tinyos_stop(-2)"]
    assert offered("now n") == ["now"]
    assert offered("now ") is FILE
    assert offered("no/file") is FILE
    history.clear()
    assert diff.offered_moments(target) == ["now"]


def test_a_kernel_that_is_not_set_up_has_no_moment():
    world = World()
    world.sequence = 0
    with pytest.raises(MachineError, match="the kernel has not set up its memory yet"):
        moment(world)


def test_a_change_under_way_is_noted():
    world = grown_world()
    world.sequence = 9
    found = difference(World(), world)
    assert found.findings == []
    assert "a change without an event is not a finding" in found.notes[0]
