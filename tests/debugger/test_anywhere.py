"""The report is the same wherever the CPU stopped, and on a stub that reads only virtual addresses."""

import json

import pytest

from tests.debugger.conftest import gdb

EXCEPTION_LEVEL = "python print(int(gdb.parse_and_eval('$cpsr')) >> 2 & 3)"


def test_stopped_in_a_task_at_el0(machine):
    machine.console.send("faults 2000000\r")
    for _ in range(200):
        with machine.stopped():
            machine.gdb("thread 1")
            if machine.gdb(EXCEPTION_LEVEL).strip() != "0":
                continue
            report, check = machine.json("report"), machine.json("check")
        assert report["cores"][0]["exception_level"] == 0
        assert report["cores"][0]["ttbr0"]["asid"] != 0
        assert report["findings"] == check["findings"] == []
        return
    pytest.fail("no stop in 200 was at EL0")


def objects(outcome):
    """The JSON objects that a batch printed."""
    return [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{")]


def test_a_stub_of_virtual_addresses_gives_the_same_report(shared_machine, hiding_proxy, kernel_elf):
    shared_machine.shell("hold")
    try:
        direct = gdb(
            f"target remote {shared_machine.qemu.gdb_address}", "tinyos report --json", elf=kernel_elf
        )
        hidden = gdb(f"target remote {hiding_proxy.address}", "tinyos report --json", elf=kernel_elf)
    finally:
        shared_machine.shell("go")
    assert hidden.errors == direct.errors
    (one,), (other,) = objects(direct), objects(hidden)
    assert not any("PhyMemMode:1" in packet for packet in hiding_proxy.packets)
    for name in ("stats", "stacks", "lazy", "pages", "frames", "pressure", "cores"):
        assert one[name] == other[name], name


@pytest.mark.parametrize(("thread", "move"), [(3, "frame 0"), (1, "up")])
def test_the_users_thread_and_frame_stay_selected(shared_machine, kernel_elf, thread, move):
    selected = "gdb.selected_thread().num, gdb.selected_frame().level(), gdb.selected_frame().pc()"
    outcome = gdb(
        f"target remote {shared_machine.qemu.gdb_address}",
        f"thread {thread}",
        move,
        f"python before = {selected}",
        "tinyos report --json",
        f"python print('kept', before == ({selected}), before[0])",
        elf=kernel_elf,
    )
    assert f"kept True {thread}" in outcome.output


def test_the_error_before_the_mmu_is_on(boot, kernel_elf):
    machine = boot(paused=True)
    outcome = gdb(f"target remote {machine.qemu.gdb_address}", "tinyos report", elf=kernel_elf)
    assert outcome.errors.strip().splitlines()[-1].startswith("the MMU is off on every core")
