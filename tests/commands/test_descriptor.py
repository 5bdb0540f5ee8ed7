"""From records to JSON, by the rules of the descriptors."""

from __future__ import annotations

import enum
import json

import pytest

from gdbplugin.commands.descriptor import members, text_of, to_json
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.maps import read_maps
from gdbplugin.records import NamedTuple, dataclass
from tests.kernel.stopped import stopped_world
from tests.kernel.synthetic import TASK_PAGE, World


class Colour(enum.Enum):
    """Some values with names."""

    RED = "red"


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: int | None


@dataclass(frozen=True)
class Inner:
    """A record that chooses its members."""

    json_fields = ("exception_class as class", "double", "extra")
    json_optional = ("extra",)

    exception_class: int
    hidden: str = ""
    extra: int | None = None

    @property
    def double(self):
        return 2 * self.exception_class


@dataclass(frozen=True)
class Outer(Diagnosed):
    """A record that has another's members among its own."""

    json_fields = ("name", "inner")
    json_merged = ("inner",)

    name: str
    inner: Inner


def decoded(value):
    return json.loads(text_of(value))


def test_a_field_may_have_another_name_in_json():
    assert members(Inner(4)) == {"class": 4, "double": 8}


def test_an_optional_member_is_there_when_it_has_a_value():
    assert members(Inner(4, extra=0)) == {"class": 4, "double": 8, "extra": 0}


def test_merged_members_join_those_around_them():
    assert json.loads(to_json("tinyos.test/1", Outer("one", Inner(4)))) == {
        "schema": "tinyos.test/1",
        "findings": [],
        "notes": [],
        "name": "one",
        "class": 4,
        "double": 8,
    }


def test_named_tuples_enumerations_and_collections():
    assert decoded({"pairs": (Pair(1, None),), "colour": Colour.RED, 4096: [True]}) == {
        "pairs": [{"left": 1, "right": None}],
        "colour": "red",
        "4096": [True],
    }


@pytest.mark.parametrize("limit", [None, 0, 1, 5])
@pytest.mark.parametrize("aliases", [False, True])
def test_the_mappings_own_json_is_what_the_rules_make(limit, aliases):
    world = World()
    shared = world.mappings[1][TASK_PAGE]
    world.mappings[2][TASK_PAGE + 0x5000] = shared
    sought = (shared & 0xFFFF_FFFF_F000) + 4 if aliases else None
    found = read_maps(stopped_world(world), find_physical=sought, limit=limit)
    mappings = json.loads(found.encoded_mappings.json())
    assert mappings == decoded(found.mappings)
    assert bool(mappings) == (limit != 0)
    assert all(("alias" in mapping) == aliases for mapping in mappings)
