"""The commands on TinyOS's objects, on the live kernel."""

import json

import pytest

from gdbplugin.session.errors import CommandFailedError
from tests.commands.forms import words
from tests.schemas.validation import validate

WORDS = words("fault", "lint", "maps", "registers")
VARIANTS = (
    *WORDS,
    "stacks 1",
    "lazy --state zero --limit 3",
    "events 5 --kind StackGrowth",
    "events --stack 1",
)


@pytest.mark.parametrize("command", VARIANTS)
def test_an_object_has_its_schema_and_its_text_fits(shared_machine, command):
    word, *rest = command.split()
    with shared_machine.stopped() as gdb:
        content = json.loads(gdb.execute(f"tinyos {command} --json"))
        by_mi = gdb.mi(" ".join([f"-tinyos-{word}", *rest])).payload
        text = gdb.execute(f"tinyos {command}")
    validate(content)
    assert content["findings"] == []
    assert set(by_mi) == {"json"}
    assert json.loads(by_mi["json"]) == content
    assert text.endswith("\n")
    assert "\033" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_stack_pointer_of_a_running_task_is_its_cores(machine):
    machine.console.send("faults 2000000\r")
    for _ in range(300):
        with machine.stopped():
            machine.gdb("thread 1")
            state = int(machine.gdb("python print(int(gdb.parse_and_eval('$cpsr')))"))
            running = machine.json("stacks")["running"]
            if state >> 2 & 3 == 0 and running:
                pointer = int(machine.gdb("python print(int(gdb.parse_and_eval('$sp')))"))
                shown = machine.gdb("tinyos stacks")
                break
    else:
        pytest.fail("no stop in 300 was in a task")
    assert [(entry["core"], entry["stack_pointer"]) for entry in running] == [(0, pointer)]
    assert f" {pointer & 0xFF_FFFF:06x}*" in shown
    assert max(map(len, shown.splitlines())) <= 100


MANAGER = "tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER.value.value"
FIELDS = {
    "stats": {"stats": "stats"},
    "stacks": {"stacks.0": "stack_manager.stacks[0]"},
    "lazy": {"lazy": "lazy_allocator", "pages.0": "lazy_allocator.pages[0]"},
    "pressure": {"pressure": "pressure_handler"},
    "report": {
        "stats": "stats",
        "stacks.0": "stack_manager.stacks[0]",
        "lazy": "lazy_allocator",
        "pages.0": "lazy_allocator.pages[0]",
        "pressure": "pressure_handler",
    },
}


def test_the_objects_have_what_gdb_itself_reads(shared_machine):
    """For each part of an object, the fields of the kernel's struct, read by GDB through a parked core."""
    with shared_machine.stopped() as gdb:
        objects = {word: shared_machine.json(word) for word in FIELDS}
        gdb.execute("thread 2")
        gdb.execute("set language rust")
        read = {
            path: by_gdb(gdb, f"{MANAGER}.{path}") for parts in FIELDS.values() for path in parts.values()
        }
    for word, parts in FIELDS.items():
        for name, path in parts.items():
            part = objects[word]
            for step in name.split("."):
                part = part[int(step) if step.isdigit() else step]
            compared = {field for field in read[path] if type(part.get(field)) in (bool, int)}
            assert len(compared) >= 3, (word, name)
            assert {field: part[field] for field in compared} == {
                field: read[path][field] for field in compared
            }


def by_gdb(gdb, expression):
    """The integers and booleans among the fields of a struct."""
    codes = "(gdb.TYPE_CODE_INT, gdb.TYPE_CODE_BOOL)"
    fields = f"[field for field in value.type.fields() if field.type.code in {codes}]"
    numbers = f"{{field.name: int(value[field]) for field in {fields}}}"
    script = f"value = gdb.parse_and_eval('{expression}'); print(__import__('json').dumps({numbers}))"
    return json.loads(gdb.execute(f"python (lambda: exec({script!r}, dict(gdb=gdb)))()"))


def test_one_stack_has_the_pages_that_its_record_says(shared_machine):
    with shared_machine.stopped():
        (stack, *_) = [entry for entry in shared_machine.json("stacks")["stacks"] if entry["is_active"]]
        shown = shared_machine.json(f"stacks {stack['id']}")
    assert shown["stacks"] == [stack]
    pages = [page["virtual_address"] for page in shown["mapped_pages"]]
    base, size = stack["base_address"], stack["current_size"]
    assert pages == list(range(base - 4096, base - size - 4096, -4096))
    assert {page["el0"] for page in shown["mapped_pages"]} == {"rw-"}
    assert shown["events"]


def test_one_lazy_page_and_its_descriptor(shared_machine):
    with shared_machine.stopped() as gdb:
        page = next(page for page in shared_machine.json("lazy")["pages"] if page["is_allocated"])
        # An expression, for an address within the page.
        shown = shared_machine.json(f"lazy {page['virtual_address']} + 0x123")
        text = gdb.execute(f"tinyos lazy {page['virtual_address'] + 8:#x}")
    detail = shown["page"]
    assert {name: detail[name] for name in page} == page
    assert shown["pages"] == [page]
    assert detail["output"] == page["physical_address"] + 0x123
    assert detail["levels"][-1]["kind"] == "page"
    assert detail["levels"][-1]["descriptor"] & 0xFFFF_FFFF_F000 == page["physical_address"]
    assert f"{detail['levels'][-1]['descriptor']:#018x}" in text


@pytest.mark.parametrize("state", ["pending", "zero", "allocated"])
def test_lazy_pages_by_state_and_address_space(shared_machine, state):
    flags = {"pending": (False, False), "zero": (False, True), "allocated": (True, False)}[state]
    with shared_machine.stopped():
        whole = shared_machine.json("lazy")
        chosen = shared_machine.json(f"lazy --state {state}")
        spaces = {
            space["number"]: space["asid"] for space in shared_machine.json("context")["context"]["spaces"]
        }
        owner = whole["pages"][0]["owner"]
        of_one = shared_machine.json(f"lazy --state {state} --asid {spaces[owner]} --limit 2")
    matching = [page for page in whole["pages"] if (page["is_allocated"], page["is_zero_page"]) == flags]
    assert chosen["pages"] == matching
    assert chosen["matching"] == whole["lazy"]["states"][state] == len(matching)
    assert of_one["pages"] == [page for page in matching if page["owner"] == owner][:2]
    assert of_one["matching"] == len([page for page in matching if page["owner"] == owner])


def test_events_newest_last_and_filtered(shared_machine):
    with shared_machine.stopped():
        whole = shared_machine.json("events 5000")
        last = shared_machine.json("events 7")
        some = shared_machine.json("events 5000 --kind StackGrowth --stack 1")
        none = shared_machine.json("events 0")
    numbers = [event["sequence"] for event in whole["events"]]
    assert numbers == sorted(numbers)
    assert numbers[-1] == whole["recorded"]
    assert len(numbers) == whole["kept"] == whole["matching"]
    assert last["events"] == whole["events"][-7:]
    growths = [event for event in whole["events"] if (event["kind"], event["first"]) == ("StackGrowth", 1)]
    assert some["events"] == growths
    assert none["events"] == []


def test_rates_and_events_since_the_last_look(machine):
    with machine.stopped():
        first = machine.json("stats")
        again = machine.json("stats")
    assert first["since"] is None
    assert again == first
    machine.shell("spawn lazy 100")
    with machine.stopped() as gdb:
        second = machine.json("stats")
        events = machine.json("events 5000 --since-stop")
        text = gdb.execute("tinyos stats")
    since = second["since"]
    passed = (second["time"]["now"] - first["time"]["now"]) / second["time"]["frequency"]
    assert 0 < since["seconds"] < 60
    assert since["seconds"] == pytest.approx(passed)
    for name, change in since["changes"].items():
        counters = {**second["stats"], **second["counters"]}
        before = {**first["stats"], **first["counters"]}
        assert change == counters[name] - before[name]
        assert since["per_second"][name] == pytest.approx(change / passed)
    assert since["changes"]["total_dynamic_stacks"] >= 1
    assert events["since_stop"] == first["counters"]["events_recorded"]
    assert [event["sequence"] for event in events["events"]] == list(
        range(events["since_stop"] + 1, events["recorded"] + 1)
    )
    assert "TaskStarted" in {event["kind"] for event in events["events"]}
    assert "per second" in text


def test_a_strict_check_fails_where_there_are_findings(machine):
    # With its tasks held the kernel itself runs, so its memory can be written to here.
    machine.shell("hold")
    counter = "tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER.value.value.stats.total_lazy_pages"
    with machine.stopped() as gdb:
        assert gdb.execute("tinyos check --strict").endswith("\n0 findings\n")
        gdb.execute("set language rust")
        gdb.execute(f"set var {counter} = {counter} + 1")
        assert gdb.execute("tinyos check").endswith("\n1 finding\n")
        with pytest.raises(CommandFailedError, match="tinyos check: 1 finding") as failure:
            gdb.execute("tinyos check --strict")
        assert "total_lazy_pages: expected" in failure.value.output
        with pytest.raises(CommandFailedError, match="1 finding"):
            gdb.mi("-tinyos-check --strict")
