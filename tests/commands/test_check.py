"""The check of a small kernel, as text and JSON."""

from gdbplugin.kernel.check import read_check
from tests.commands.forms import json_of, text_of
from tests.kernel.synthetic import World


def changed_world():
    """A kernel of which one stack has a page less than its record says: two things disagree."""
    world = World()
    world.manager["stack_manager"]["stacks"][0]["current_size"] = 0x4000
    return world


def test_a_check_counts_its_findings_on_the_last_line():
    assert text_of("check", read_check(World().kernel())).splitlines()[-1] == "0 findings"
    check = read_check(changed_world().kernel())
    assert text_of("check", check).splitlines()[-1] == "2 findings"
    shown = json_of("check", check)
    assert shown["finding_count"] == len(shown["findings"]) == 2
    assert "stack 1" in {finding["object"] for finding in shown["findings"]}
    assert shown["transient"] == []


def test_a_check_during_a_change_says_what_it_saw():
    world = changed_world()
    world.sequence = 1
    check = read_check(world.kernel())
    text = text_of("check", check)
    assert "2 disagreements during the change are not findings." in text
    assert text.endswith("0 findings\n")
    shown = json_of("check", check)
    assert shown["transient"][0]["object"] == "stack 1"
    assert (shown["changing"], shown["finding_count"]) == (True, 0)
