"""What a task does wrong ends that task alone; what the kernel does wrong ends the kernel, legibly."""

from __future__ import annotations

import re

import pytest

from gdbplugin.session import TinyOS
from gdbplugin.session.gdb import Gdb
from tests.integration import guest
from tests.integration.answers import Value, figures, table


def _alive(machine: TinyOS) -> dict[Value, dict[str, Value]]:
    rows = table(machine.shell("tasks"), "task")
    return {row["task"]: row for row in rows if row["state"] != "ended"}


@pytest.mark.parametrize(
    ("program", "reason", "place"),
    [
        ("runaway", "stack overflow", r"stack \d+, \d+ bytes below its end"),
        ("guard", "stack overflow", r"stack \d+, \d+ bytes below its end"),
        ("wild", "wild access", "at 0x123456789abc, user half"),
        ("below", "wild access", r"stack \d+, \d+ bytes below its end"),
        ("kernel-write", "kernel access", "at 0xffff800000080000, kernel, image"),
        ("undefined", "undefined or trapped instruction", ""),
    ],
)
def test_a_task_that_does_wrong_ends_alone(
    shared_machine: TinyOS, program: str, reason: str, place: str
) -> None:
    machine = shared_machine
    machine.shell("hold")  # The other tasks' frames would come and go meanwhile.
    others = _alive(machine)
    before = figures(machine.shell("*p"))
    machine.console.send(f"spawn {program}\r")
    number = int(machine.console.expect(rf"task (\d+) \({program}\) started")[1])
    end = rf"\ntask {number} \({program}\) ended: {reason}[^\n]*\n(?:  [^\n]*\n)*(?=tinyos> )"
    ended = machine.console.expect(end)[0]
    assert re.search(place, ended), ended
    machine.console.wait_for_prompt()

    row = next(row for row in table(machine.shell("tasks"), "task") if row["task"] == number)
    assert row["state"] == "ended"
    assert str(row["end"]).startswith(reason)
    survivors = _alive(machine)
    assert survivors.keys() == others.keys()
    after = figures(machine.shell("*p"))
    assert after["used_frames"] == before["used_frames"], "not all its frames came back"
    # The others do not only exist: they go on.
    machine.shell("go")
    machine.shell("*c", 60)
    later = _alive(machine)
    assert any(int(later[task]["switches"]) > int(others[task]["switches"]) for task in others)
    assert machine.json("check")["findings"] == []


def _function(gdb: Gdb) -> str:
    """The function that core 0 is in."""
    gdb.mi("-thread-select 1")
    return str(gdb.mi("-stack-info-frame").payload["frame"]["func"])


@pytest.mark.parametrize(
    ("command", "kind", "said"),
    [
        ("panic", 2, "requested by the shell"),
        ("crash", 1, "unexpected synchronous exception of the kernel"),
        ("overflow", 1, "unexpected synchronous exception of the kernel"),
    ],
)
def test_a_failure_of_the_kernel_is_told_recorded_and_final(
    machine: TinyOS, command: str, kind: int, said: str
) -> None:
    machine.console.send(f"{command}\r")
    machine.console.expect(rf"KERNEL FAILURE: [^\n]*{said}")
    if kind == 1:
        # The registers, decoded: class and status in words, the addresses as numbers.
        described = machine.console.expect(r"ESR_EL1(?:.*\n)+?.*SPSR_EL1[^\n]*\n")[0]
        assert "data abort from EL1" in described
        assert "translation fault" in described
        assert re.search(r"FAR_EL1\W+0xffff", described)
        assert re.search(r"ELR_EL1\W+0xffff8", described)
    with machine.stopped() as gdb:
        assert _function(gdb) == "kernel::failure::halted"
        record = guest.static(gdb, "FAILURE_RECORD", "tinyos::debugger::FailureRecord")
        assert guest.expression(gdb, f"{record}.kind") == kind
        magic = bytes(guest.expression(gdb, f"{record}.magic[{index}]") for index in range(8))
        assert magic == b"FAILURE\0"
        if command == "crash":
            assert guest.expression(gdb, f"{record}.fault_address") == 0xFFFF_FFFF_FFFF_F000
    # It stays there: typed at, it says nothing more.
    silent = machine.console.transcript
    machine.console.send("help\r")
    with machine.stopped() as gdb:
        assert _function(gdb) == "kernel::failure::halted"
    assert machine.console.transcript == silent


def test_a_failure_while_a_task_runs_names_the_task(machine: TinyOS) -> None:
    spaces = machine.json("report")["context"]["spaces"]
    tables = {space["table"]: space["number"] for space in spaces}
    with machine.stopped() as gdb:
        gdb.execute("tbreak task_synchronous")
        gdb.execute("continue")
        task = tables[guest.register(gdb, 0, "TTBR0_EL1") & 0xFFFF_FFFF_FFFF]
        assert task > 0, "a task has just called the kernel"
        gdb.execute("set $pc = 0xfffffffffffff000")
    machine.console.expect("KERNEL FAILURE: unexpected synchronous exception of the kernel")
    with machine.stopped() as gdb:
        record = guest.static(gdb, "FAILURE_RECORD", "tinyos::debugger::FailureRecord")
        assert guest.expression(gdb, f"{record}.task") == task
