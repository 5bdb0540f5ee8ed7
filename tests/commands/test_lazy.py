"""The JSON of lazy pages, which is written out by hand because they are many."""

import json

import pytest

from gdbplugin.commands.descriptor import members
from gdbplugin.kernel.lazy_list import read_lazy_list
from gdbplugin.kernel.lazy_table import LazyTable
from tests.commands.forms import json_of
from tests.kernel.other_designs import small_world
from tests.kernel.synthetic import LAZY_BASE, World


def corrupt_world():
    world = World()
    world.manager["lazy_allocator"]["pages"][0]["is_allocated"] = 5
    world.manager["lazy_allocator"]["pages"][1] |= {"is_allocated": 1, "is_zero_page": 1}
    return world


@pytest.mark.parametrize("make", [World, corrupt_world, small_world])
def test_pages_and_runs_have_the_json_of_the_general_rules(make):
    lazy = read_lazy_list(make().kernel()).lazy
    assert len(lazy.pages) > 2
    assert json.loads(lazy.pages.json()) == [members(page) for page in lazy.pages]
    assert json.loads(lazy.runs.json()) == [members(run) for run in lazy.runs]
    assert LazyTable([], []).json() == "[]"


def test_the_filters_select_pages_and_runs_but_not_the_totals():
    shown = json_of("lazy", read_lazy_list(World().kernel(), state="allocated", limit=1))
    assert shown["lazy"]["states"] == {"pending": 2, "zero": 1, "allocated": 2, "corrupt": 0}
    assert (shown["matching"], [page["virtual_address"] for page in shown["pages"]]) == (
        2,
        [LAZY_BASE + 3 * 4096],
    )
    assert [(run["start"], run["pages"]) for run in shown["lazy"]["runs"]] == [(LAZY_BASE + 3 * 4096, 2)]
    assert shown["page"] is None


def test_a_page_is_shown_with_its_record_range_and_walk():
    shown = json_of("lazy", read_lazy_list(World().kernel(), address=LAZY_BASE + 0x3008))
    page = shown["page"]
    assert {name: page[name] for name in shown["pages"][0]} == shown["pages"][0]
    assert (page["state"], page["record"], page["range"]["pages"], page["fault"]) == ("allocated", 3, 5, None)
    assert page["output"] == page["physical_address"] + 8
    last = page["levels"][-1]
    assert (last["kind"], last["address"]) == ("page", last["table"] + 8 * last["index"])
