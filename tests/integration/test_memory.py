"""The memory management under load: no frame is lost, no page is mixed up, levels come and go."""

from __future__ import annotations

import time

import pytest

from gdbplugin.session import TinyOS
from tests.integration import guest
from tests.integration.answers import PAGE_BYTES, Value, figures, table
from tests.integration.load import fill_pool

_LONG = 120.0


def test_a_million_faults_lose_no_frame(machine: TinyOS) -> None:
    machine.shell("hold")  # The other tasks' frames would come and go meanwhile.
    found = figures(machine.shell("faults 1000000", _LONG))
    assert found["fault test"] == "passed"
    assert int(found["faults_taken"]) >= 1_000_000
    assert int(found["faults_counted"]) >= 1_000_000
    assert found["frames_lost"] == 0
    before, after = str(found["frames_used"]).removesuffix(" after").split(" before, ")
    assert after == before
    assert machine.json("check")["findings"] == []


@pytest.mark.parametrize("bits", [2, 3])
def test_few_asids_roll_over_and_mix_nothing_up(machine: TinyOS, bits: int) -> None:
    before = figures(machine.shell("*c", _LONG))
    assert before["asid_rollover_count"] == 0, "16 bits are never used up by so few tasks"
    machine.shell(f"asid-bits {bits}")
    for _ in range(3):
        after = figures(machine.shell("*c", _LONG))
        assert after["context switching test"] == "passed"
        assert after["asid_bits"] == bits
        assert after["test_asid_rollovers"] != 0
    assert int(after["asid_rollover_count"]) > 0
    assert int(after["asid_generation"]) > int(before["asid_generation"])
    assert machine.json("check")["findings"] == []


def test_switches_invalidate_nothing_while_the_generation_holds(machine: TinyOS) -> None:
    found = figures(machine.shell("*c", _LONG))
    assert found["test_asid_rollovers"] == 0
    # The first switch to each of the test's tasks hands out its ASID; no other needs anything.
    firsts = int(str(found["test_tasks"]).split(" of ")[1])
    assert found["test_switches"] == int(found["test_switches_without_invalidation"]) + firsts
    assert str(found["test_invalidations"]).endswith(" 0 of everything")


def _wait_for(machine: TinyOS, statistic: str, wanted: int) -> dict[str, Value]:
    """Wait until a figure of `*s` has come to `wanted`; returns them all."""
    deadline = time.monotonic() + 30
    while int((found := figures(machine.shell("*s")))[statistic]) < wanted:
        assert time.monotonic() < deadline, f"{statistic} is {found[statistic]}, not {wanted}"
    assert found[statistic] == wanted
    return found


def test_a_shrinking_pool_reaches_every_level_and_comes_back(machine: TinyOS) -> None:
    def pressure() -> str:
        return str(figures(machine.shell("*p"))["level"])

    events = [int(row["events"]) for row in table(machine.shell("*p"), "level")]
    assert pressure() == "Low"
    before = int(figures(machine.shell("*s"))["allocated_lazy_pages"])
    machine.shell("spawn hog 1024 0")
    _wait_for(machine, "allocated_lazy_pages", before + 1024)
    seen = set()
    for mib in (16, 12, 9, 8, 7, 6, 5):
        machine.shell(f"pool {mib}")
        seen.add(pressure())
        assert machine.json("check")["findings"] == []
    assert "Critical" in seen
    machine.shell("pool all")
    assert pressure() == "Low"
    later = [int(row["events"]) for row in table(machine.shell("*p"), "level")]
    assert later[3] > events[3]
    assert later[0] > events[0]
    assert machine.json("check")["findings"] == []


def test_what_tasks_wrote_survives_the_strategies(machine: TinyOS) -> None:
    """`lazy` and `worker` tasks check their pages for ever, and end themselves when one is wrong."""
    alive = {row["task"] for row in table(machine.shell("tasks"), "task") if row["state"] != "ended"}
    for _ in range(3):
        for mib in (8, 3, 20, 128):
            machine.shell(f"pool {mib}")
            for strategy in ("cache", "relief", "migration", "defragmentation"):
                machine.shell(f"run {strategy}")
    machine.shell("*c", _LONG)
    assert machine.json("check")["findings"] == []
    still = {row["task"] for row in table(machine.shell("tasks"), "task") if row["state"] != "ended"}
    assert alive <= still


@pytest.mark.parametrize(("command", "test"), [("*c", "context switching test"), ("*t", "stress test")])
def test_without_room_for_its_tasks_a_test_says_so(machine: TinyOS, command: str, test: str) -> None:
    fill_pool(machine)
    tasks = "test_tasks" if command == "*c" else "stress_tasks"
    found = figures(machine.shell(command, _LONG))
    assert found[test] == "no room for its tasks: the pool has too few free frames"
    started, asked = map(int, str(found[tasks]).split(" of "))
    assert started < asked
    assert machine.json("check")["findings"] == []
    machine.shell("pool all")
    assert figures(machine.shell(command, _LONG))[test] == "passed"


def test_a_task_gives_its_unneeded_stack_back_and_grows_again(machine: TinyOS) -> None:
    def worker() -> dict[str, Value]:
        return next(row for row in table(machine.shell("*d"), "id") if row["policy"] == "Predictive")

    before = worker()
    deadline = time.monotonic() + 30
    while int(worker()["growths"]) == before["growths"] or int(worker()["shrinks"]) == before["shrinks"]:
        assert time.monotonic() < deadline, f"the worker's stack is still as it was: {worker()}"
    assert figures(machine.shell("*p"))["level"] == "Low", "it was not taken from it under pressure"
    assert machine.json("check")["findings"] == []


def test_a_page_moves_to_the_frame_that_was_named(machine: TinyOS) -> None:
    machine.shell("hold")
    report = machine.json("report")
    page = next(page for page in report["pages"] if page["is_allocated"])
    address, former = page["virtual_address"], page["physical_address"]
    space = next(space for space in report["context"]["spaces"] if space["number"] == page["owner"])
    frames = report["frames"]
    # The last frame below the limit: the defragmented pool is filled from below.
    target = frames["base"] + (frames["limit_frames"] - 1) * PAGE_BYTES
    with machine.stopped() as gdb:
        entry = guest.descriptor(gdb, space["table"], address)
        content = guest.read_physical(gdb, former, PAGE_BYTES)
    assert guest.output_address(entry) == former
    assert any(content)

    answer = machine.shell(f"migrate {address:#x} {target:#x}")
    assert answer.strip() == f"moved {address:#x} from {former:#x} to {target:#x}"

    with machine.stopped() as gdb:
        moved = guest.descriptor(gdb, space["table"], address)
        assert guest.output_address(moved) == target
        attributes = ~0x0000_FFFF_FFFF_F000
        assert moved & attributes == entry & attributes, "the attributes changed with the move"
        assert guest.read_physical(gdb, target, PAGE_BYTES) == content
    again = next(p for p in machine.json("report")["pages"] if p["virtual_address"] == address)
    assert again["physical_address"] == target
    assert machine.json("check")["findings"] == []
    machine.shell("go")
    _walker_agrees(machine, space["table"], address, target)
    tasks = {row["task"]: row for row in table(machine.shell("tasks"), "task")}
    assert tasks[page["owner"]]["state"] != "ended", "it checks what it wrote, and still finds it"


def _walker_agrees(machine: TinyOS, table: int, address: int, physical: int) -> None:
    """QEMU's own walker, asked when the task with that table calls the kernel, leads to the same place."""
    with machine.stopped() as gdb:
        gdb.execute(f"tbreak task_synchronous if ($TTBR0_EL1 & 0xffffffffffff) == {table:#x}")
        gdb.execute("continue")
        assert guest.gva2gpa(gdb, 0, address) == physical


def test_a_move_that_cannot_be_is_refused(machine: TinyOS) -> None:
    machine.shell("hold")
    report = machine.json("report")
    first, second = [page for page in report["pages"] if page["is_allocated"]][:2]
    answer = machine.shell(f"migrate {first['virtual_address']:#x} {second['physical_address']:#x}")
    assert "the frame is not free" in answer
    again = machine.json("report")
    assert again["lazy"] == report["lazy"]
    assert again["pages"] == report["pages"]


def test_dozens_of_stacks_and_ten_thousands_of_lazy_pages(machine: TinyOS) -> None:
    before = figures(machine.shell("*s"))
    for _ in range(64):
        assert "started" in machine.shell("spawn reserver 512 100")
    # Each reserves its pages when it first runs, and that is on a later tick for the last of them.
    found = _wait_for(machine, "total_lazy_pages", int(before["total_lazy_pages"]) + 32768)
    assert int(found["active_dynamic_stacks"]) >= 64
    report = machine.json("report")
    assert len(report["pages"]) >= 32768
    assert machine.json("check")["findings"] == []
