"""`translate` and `maps` compared with QEMU's own walker on the running kernel, and the packets they take."""

import itertools
import json
from pathlib import Path

import pytest

from tests.aarch64 import stub
from tests.debugger.conftest import gdb
from tests.debugger.test_packets import MARK, between_marks, memory
from tests.integration.load import stop_at_el0, tasks_at_el0, write_physical
from tests.schemas.validation import validate

IMAGE = 0xFFFF_8000_0008_0000
LAZY_REGION = 0x2000
ACCESS_FLAG = 1 << 10
SCRIPT = Path(__file__).with_name("inside_mmu.py")


def compared_at(machine, level):
    """The script's result at a stop in a task's address space, at an exception level."""
    if level == 0:
        tasks_at_el0(machine)
    else:
        machine.console.send("faults 2000000\r")
    for _ in range(300):
        with machine.stopped():
            machine.gdb("thread 1")
            if level == 0:
                stop_at_el0(machine)
            state = int(machine.gdb("python print(int(gdb.parse_and_eval('$cpsr')))"))
            if state >> 2 & 3 != level or not machine.json("translate 0")["regime"]["asid"]:
                continue
            if not clear_access_flags(machine):
                continue
            machine.gdb("thread 1")
            return json.loads(machine.gdb(f"source {SCRIPT}", timeout=60))
    pytest.fail(f"no stop in 300 was at EL{level} in a task's address space with lazy pages")


def clear_access_flags(machine):
    """As the kernel does from time to time, for the first page of each lazy range; returns their number."""
    lazy = [one["start"] for one in machine.json("maps")["mappings"] if one["start"] >> 32 == LAZY_REGION]
    leaves = [machine.json(f"translate {start:#x}")["levels"][-1] for start in lazy]
    for leaf in leaves:
        cleared = leaf["descriptor"] & ~ACCESS_FLAG
        write_physical(machine, leaf["address"], cleared.to_bytes(8, "little"))
    return len(leaves)


@pytest.mark.parametrize("level", [0, 1])
def test_no_answer_differs_from_qemus(machine, level):
    compared = compared_at(machine, level)
    assert compared["level"] == level
    translated = compared["translated"]
    assert [row for row in translated if row[1] != row[2]] == []
    faults = [row for row in translated if row[3] is not None]
    of_access_flags = [row for row in faults if row[3]["kind"] == "access flag"]
    assert of_access_flags
    assert [row for row in translated if (row[1] is None) != (row in faults)] == of_access_flags
    # At EL0 a task has at least 48 ranges: three of every six pages. At EL1 the kernel alone has 13.
    ranges = {0: 48, 1: 13}[level]
    # The script probes five addresses in each.
    assert sum(output is not None for _, output, *_ in translated) >= 5 * ranges
    # And 100 random numbers, which are hardly ever mapped.
    assert sum(output is None for _, output, *_ in translated) > 95
    mapped = compared["mapped"]
    # At EL0 QEMU answers for EL0: None for what only the kernel may read. QEMU 11 answers for EL1 then.
    readable = [row for row in mapped if level == 1 or row[3][0] == "r"]
    assert [row for row in readable if row[1] != row[2]] == []
    others = [row for row in mapped if row not in readable]
    assert [row for row in others if row[2] != (row[1] if compared["answers_for_el1"] else None)] == []
    assert len(readable) >= 4 * ranges
    assert [row for row in compared["gaps"] if row[1] is not None] == []
    # At least before and after each of the kernel's 13.
    assert len(compared["gaps"]) >= 3 * 13


def test_a_translation_costs_no_more_packets_than_levels(proxy, kernel_elf):
    addresses = ("0xffff800000080000", "0xffff000001234567", "0xffffc000fe201000", "0x400000", "0xdeadbeef")
    commands = itertools.chain.from_iterable(
        (MARK, f"tinyos translate {where}", MARK, "stepi") for where in addresses
    )
    outcome = gdb(f"target remote {proxy.address}", *commands, elf=kernel_elf)
    assert "Python" not in outcome.errors
    spans = between_marks(proxy.packets)
    sent = [memory(span) for span in spans[0::2]]
    assert len(sent) == len(addresses)
    assert max(map(len, sent)) <= 4
    assert len(sent[0]) == 4
    assert all(
        not packet.startswith(("M", "X", "G", "P"))
        for span in spans
        for packet in span
        if "MemMode" not in packet
    )


def test_a_second_map_at_the_same_stop_sends_no_packet(shared_machine, proxy, kernel_elf):
    commands = [
        "maps",
        "maps --json",
        "translate 0xffff800000080000",
        "registers",
        "fault",
        "registers",
        "fault",
    ]
    # Stopped in the kernel, GDB has no reason to read the core's code by itself.
    shared_machine.shell("hold")
    try:
        outcome = gdb(
            f"target remote {proxy.address}",
            *itertools.chain.from_iterable((MARK, f"tinyos {command}") for command in commands),
            MARK,
            elf=kernel_elf,
        )
    finally:
        shared_machine.shell("go")
    assert "Python" not in outcome.errors
    first, second, third, *_, registers, fault = between_marks(proxy.packets)[-len(commands) :]
    assert memory(first)
    assert second == third == registers == []
    assert memory(fault) == []


def objects_of(outcome):
    """The JSON objects that a batch printed."""
    return [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{")]


def test_another_program_changes_only_the_owners(shared_machine, kernel_elf, tmp_path):
    other = tmp_path / "other.elf"
    other.write_bytes(stub.elf(0x10_0000, stub.code(0x11_0000)))
    commands = ("maps", f"translate {IMAGE:#x}", "registers", "fault", "maps --asid 999")
    shared_machine.shell("hold")
    try:
        runs = [
            gdb(
                f"target remote {shared_machine.qemu.gdb_address}",
                *(f"tinyos {command} --json" for command in commands),
                elf=elf,
            )
            for elf in (kernel_elf, other, None)
        ]
    finally:
        shared_machine.shell("go")
    known, *others = [
        [json.loads(line) for line in run.output.splitlines() if line.startswith("{")] for run in runs
    ]
    assert len(known) == 4
    for run, objects in zip(runs[1:], others, strict=True):
        assert "Python" not in run.errors
        assert "no address space with ASID 999" in run.errors
        for content in objects:
            validate(content)
        assert objects[1] == known[1]
        assert objects[2] == known[2]
        assert objects[0]["leaves"] == known[0]["leaves"]
        assert all(mapping["owner"] in ("", "linear map", "device") for mapping in objects[0]["mappings"])
        assert (objects[3]["failure"], objects[3]["ended_tasks"]) == (None, [])


def test_spaces_and_registers_are_completed(shared_machine, kernel_elf):
    outcome = gdb(
        f"target remote {shared_machine.qemu.gdb_address}",
        "complete tinyos maps --asid ",
        "complete tinyos registers TCR",
        "complete tinyos translate 0 --co",
        elf=kernel_elf,
    )
    offered = outcome.output.splitlines()
    assert "tinyos maps --asid 2" in offered
    assert "tinyos registers TCR_EL2" in offered
    assert "tinyos translate 0 --core" in offered
