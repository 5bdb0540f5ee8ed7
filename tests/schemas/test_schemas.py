"""The schemas themselves, and the objects of the synthetic kernel."""

import json

import pytest
from jsonschema import Draft202012Validator

from gdbplugin.kernel.backtrace import read_backtraces
from gdbplugin.kernel.check import read_check
from gdbplugin.kernel.events import read_event_list
from gdbplugin.kernel.lazy_list import read_lazy_list
from gdbplugin.kernel.pressure import read_pressure_state
from gdbplugin.kernel.snapshot import read_report
from gdbplugin.kernel.spaces import read_context
from gdbplugin.kernel.stacks import read_stack_list
from gdbplugin.kernel.statistics import read_counters
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.task_list import read_task_list
from gdbplugin.layout.types import Struct
from scripts.lib import schemas as generated
from tests.commands.forms import json_of, words
from tests.kernel.synthetic import LAZY_BASE, World
from tests.schemas.validation import DIRECTORY, file_name, schemas, validate


def of_target(read):
    """A reader of a whole target, for a kernel."""

    def reader(kernel, **options):
        return read(Target(kernel.machine, 0, kernel.diagnostics, lambda: kernel), **options)

    return reader


READERS = {
    "backtrace": (of_target(read_backtraces), [{}, {"task": 1}, {"task": 2}, {"every": True}]),
    "check": (read_check, [{}]),
    "context": (read_context, [{}]),
    "events": (read_event_list, [{}, {"n": 1, "core": 0, "since_stop": True}]),
    "lazy": (read_lazy_list, [{}, {"state": "zero", "limit": 0}, {"address": LAZY_BASE + 0x2004}]),
    "pressure": (read_pressure_state, [{}]),
    "report": (read_report, [{}]),
    "stacks": (read_stack_list, [{}, {"id": 1}]),
    "stats": (read_counters, [{}]),
    "tasks": (of_target(read_task_list), [{}, {"wanted": "worker"}]),
}
assert set(READERS) == set(words("fault", "lint", "maps", "registers"))
CASES = [(word, options) for word, (_, choices) in READERS.items() for options in choices]

# Without options; a backtrace needs no part of the manager.
BARE = [case for case in CASES if not case[1] and case[0] != "backtrace"]


def shown(word, kernel, **options):
    """What a command prints with --json, through JSON and back."""
    return json_of(word, READERS[word][0](kernel, **options))


@pytest.mark.parametrize("name", schemas())
def test_a_schema_is_one_and_says_what_it_describes(name):
    schema = schemas()[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == name
    undocumented = [
        (key, field)
        for key, definition in walk(schema)
        for field, value in definition.get("properties", {}).items()
        if "description" not in value and "$ref" not in value and "const" not in value
    ]
    assert undocumented == []


def walk(schema, name=""):
    """Every schema within a schema, with its name."""
    if isinstance(schema, dict):
        yield name, schema
        for key, value in schema.items():
            yield from walk(value, key)
    elif isinstance(schema, list):
        for value in schema:
            yield from walk(value, name)


@pytest.mark.parametrize(("word", "options"), CASES)
def test_the_objects_of_a_small_kernel(word, options):
    content = shown(word, World().kernel(), **options)
    assert file_name(content["schema"]) in schemas()
    validate(content)


@pytest.mark.parametrize(("word", "options"), BARE)
def test_the_objects_of_a_kernel_that_has_hardly_anything(word, options):
    world = World()
    ((name, type_),) = ((name, type_) for name, type_ in world.types.items() if "MANAGER" in name)
    world.types[name] = Struct(type_.name, type_.size, (type_.fields[0],))
    content = shown(word, world.kernel(), **options)
    assert content["notes"]
    validate(content)


@pytest.mark.parametrize(("word", "options"), CASES)
def test_the_objects_of_a_corrupt_kernel(word, options):
    world = World()
    world.sequence = 7
    world.manager["stack_manager"]["stacks"][1] |= {"policy": 77, "is_active": 9, "current_size": 1 << 60}
    world.manager["lazy_allocator"]["pages"][0] |= {"is_allocated": 5}
    world.manager["events"]["entries"][0] |= {"kind": 99}
    world.manager["pressure_handler"] |= {"level": 44}
    validate(shown(word, world.kernel(), **options))


def test_what_a_schema_does_not_allow_is_seen():
    content = shown("stats", World().kernel())
    content["stats"]["total_lazy_pages"] = "5"
    with pytest.raises(AssertionError, match="total_lazy_pages"):
        validate(content)
    content = shown("stacks", World().kernel())
    del content["stacks"][0]["id"]
    with pytest.raises(AssertionError, match="'id' is a required property"):
        validate(content)


def test_the_schemas_are_those_that_the_types_make():
    made = generated.schemas()
    assert made
    for name, text in made.items():
        assert (DIRECTORY / name).read_text() == text, f"{name} is stale: run scripts/schemas"


@pytest.mark.parametrize("name", generated.schemas())
def test_each_property_of_a_generated_schema_is_described(name):
    schema = json.loads(generated.schemas()[name])
    assert schema["description"]
    undescribed = [
        (where, field)
        for where, part in walk(schema)
        for field, value in part.get("properties", {}).items()
        if not value.get("description") and "const" not in value
    ]
    assert undescribed == []
    assert [name for name, part in schema["$defs"].items() if not part["description"]] == []


def test_a_generated_schema_follows_its_type():
    schema = json.loads(generated.schemas()["tinyos.stats-1.json"])
    assert schema["properties"]["stats"]["$ref"] == "#/$defs/DynamicMemoryStats"
    assert schema["properties"]["enabled"]["type"] == ["boolean", "null"]
    assert schema["$defs"]["Changes"]["properties"]["per_second"]["additionalProperties"] == {
        "type": "number"
    }
    assert "diagnostics" not in schema["properties"]


def test_an_optional_member_is_not_required():
    mapping = json.loads(generated.schemas()["tinyos.maps-1.json"])["$defs"]["Mapping"]
    assert set(mapping["properties"]) - set(mapping["required"]) == {"alias"}


def test_a_member_with_another_name_has_that_in_its_schema():
    syndrome = json.loads(generated.schemas()["tinyos.fault-1.json"])["$defs"]["Syndrome"]
    assert {"class", "status"} <= set(syndrome["required"])
    assert not {"exception_class", "status_code"} & set(syndrome["properties"])
