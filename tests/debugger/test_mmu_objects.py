"""The objects of translate, maps, registers and fault on a live machine."""

import json
import time

import pytest

from tests.schemas.validation import validate

IMAGE = 0xFFFF_8000_0008_0000
COMMANDS = (
    f"translate {IMAGE:#x}",
    "translate 0x123456789abc",
    "translate $pc --el 0",
    "maps",
    "maps --asid 2",
    "maps --core 3",
    "maps --el 2",
    f"maps --range {IMAGE:#x}+0x1000 --permissions el1:r-x --owner text --limit 5",
    "maps --find-physical 0x8000000",
    "registers",
    "lint --ignore wxn",
    "registers ESR",
    "fault",
    "fault --core 1",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_object_has_its_schema_and_its_text_fits(shared_machine, command):
    with shared_machine.stopped() as debugger:
        content = json.loads(debugger.execute(f"tinyos {command} --json"))
        text = debugger.execute(f"tinyos {command}")
        by_mi = json.loads(debugger.mi(f"-tinyos-{command}").payload["json"])
    validate(content)
    assert by_mi == content
    assert content["findings"] == []
    assert text.strip()
    assert max(map(len, text.splitlines())) <= 100


def test_the_map_names_the_kernels_areas(shared_machine):
    with shared_machine.stopped():
        report = shared_machine.json("report")
        stack = next(entry for entry in report["stacks"] if entry["is_active"])
        space = next(entry for entry in report["context"]["spaces"] if entry["number"] == stack["owner"])
        found = shared_machine.json(f"maps --asid {space['asid']}")
    mappings = found["mappings"]
    assert found["regime"]["task"] == stack["owner"]
    own = [mapping for mapping in mappings if mapping["owner"] == f"stack {stack['id']}"]
    assert own[-1]["end"] == stack["base_address"]
    assert sum(mapping["size"] for mapping in own) == stack["current_size"]
    assert {mapping["el0"] for mapping in own} == {"rw-"}
    owners = {mapping["owner"]: mapping for mapping in mappings}
    assert owners["kernel text"]["start"] == IMAGE
    assert (owners["kernel text"]["el1"], owners["kernel data"]["el1"]) == ("r-x", "rw-")
    assert owners["devices"]["memory_type"].startswith("Device")
    assert "task page" in owners
    assert "linear map" in owners
    # Nothing is both writable and executable, at either level.
    assert [mapping for mapping in mappings if "wx" in mapping["el0"] + mapping["el1"]] == []


def test_every_alias_of_a_frame_is_found(shared_machine):
    with shared_machine.stopped():
        report = shared_machine.json("report")
        page = next(entry for entry in report["pages"] if entry["is_allocated"])
        physical = page["physical_address"] + 0x18
        found = shared_machine.json(f"maps --find-physical {physical:#x}")
    aliases = {mapping["alias"]: mapping for mapping in found["mappings"]}
    assert set(aliases) == {page["virtual_address"] + 0x18, 0xFFFF_0000_0000_0000 + physical}
    assert aliases[page["virtual_address"] + 0x18]["task"] == page["owner"]


def test_registers_have_gdbs_values(shared_machine):
    with shared_machine.stopped() as debugger:
        found = shared_machine.json("registers --core 0")
        debugger.execute("thread 1")
        for name in ("TTBR1_EL1", "TCR_EL1", "MAIR_EL1"):
            value = int(debugger.execute(f"python print(int(gdb.parse_and_eval('${name}')) % 2**64)"))
            (register,) = [entry for entry in found["registers"] if entry["name"] == name]
            assert register["values"][0]["value"] == value
    fields = {
        field["name"]: field["value"]
        for register in found["registers"]
        if register["name"] == "TCR_EL1"
        for field in register["values"][0]["fields"]
    }
    assert (fields["T0SZ"], fields["T1SZ"], fields["TG1"]) == (16, 16, 2)


def wait_until(machine, holds):
    """The first object of `fault --core 0` for which `holds` is true; any core may be selected."""
    deadline = time.monotonic() + 20
    while not holds(found := machine.json("fault --core 0")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(
    ("command", "kind", "where", "instruction"),
    [
        ("overflow", "exception", "guard", "stp"),
        ("crash", "exception", None, "ldr"),
        ("panic", "panic", None, None),
    ],
)
def test_what_stopped_the_kernel_is_explained(machine, command, kind, where, instruction):
    machine.shell("spawn guard")
    wait_until(machine, lambda found: found["ended_tasks"])
    machine.console.send(f"{command}\r")
    found = wait_until(machine, lambda found: found["failure"])
    validate(found)
    failure = found["failure"]
    assert (failure["kind"], failure["core"]) == (kind, 0)
    assert (failure["place"] and failure["place"]["kind"]) == where
    report = found["exceptions"][0]
    if instruction is not None:
        assert report["remarks"] == ["TinyOS halted on this exception"]
        assert (report["taken_to"], report["taken_from"]) == (1, 1)
        assert report["instruction"]["text"].startswith(instruction)
        assert report["address"] == failure["fault_address"]
    (end,) = [entry for entry in found["ended_tasks"] if entry["name"] == "guard"]
    assert end["end_reason"] == "StackOverflow"
    assert end["explained"]["access"] == "write"
    assert "stack" in end["place"]["text"]
