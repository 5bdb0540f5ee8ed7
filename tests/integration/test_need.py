"""What the kernel does before and when a task ends for lack of memory."""

from __future__ import annotations

import time
from collections.abc import Callable

from gdbplugin.session import TinyOS
from tests.integration import guest
from tests.integration.answers import Value, figures, table

_SECONDS = 60.0


def _spawn(machine: TinyOS, words: str) -> int:
    """Start a task; returns its number."""
    answer = machine.shell(f"spawn {words}")
    assert "started" in answer, answer
    return int(answer.split()[1])


def _write(machine: TinyOS, pages: int) -> int:
    """Start a task that writes so many pages while no other takes faults; returns its number at the end."""
    before = int(figures(machine.shell("*s"))["total_lazy_page_faults"])
    task = _spawn(machine, f"hog {pages} 0")
    deadline = time.monotonic() + _SECONDS
    while int(figures(machine.shell("*s"))["total_lazy_page_faults"]) < before + pages:
        assert _row(machine, task)["state"] != "ended", _row(machine, task)
        assert time.monotonic() < deadline, machine.shell("*s")
    return task


def _row(machine: TinyOS, task: int) -> dict[str, Value]:
    return next(row for row in table(machine.shell("tasks"), "task") if row["task"] == task)


def test_before_a_task_ends_every_strategy_that_frees_frames_runs(machine: TinyOS) -> None:
    machine.shell("hold")  # No tick runs the strategies then.
    machine.shell("pool 16")
    for _ in range(5):
        # There is nothing to free, so the strategy is skipped eight times from now on.
        machine.shell("run cache")
    allocated = int(figures(machine.shell("*s"))["allocated_lazy_pages"])
    # 1,000 pages with a pattern, 1,000 with zeros, which need no frames.
    _spawn(machine, "lazy 6000 60000")
    deadline = time.monotonic() + _SECONDS
    while int(figures(machine.shell("*s"))["allocated_lazy_pages"]) < allocated + 2000:
        assert time.monotonic() < deadline, machine.shell("*s")
    _write(machine, 2500)
    assert machine.json("check")["findings"] == []


def test_gains_are_in_one_unit_for_each_need_with_their_average(machine: TinyOS) -> None:
    machine.shell("hold")
    for strategy in ("cache", "migration", "relief", "migration", "defragmentation", "cache"):
        machine.shell(f"run {strategy}")
    rows = table(machine.shell("*p"), "strategy")
    assert [row["unit"] for row in rows] == ["frames", "frames", "frames in one run", "frames in one run"]
    state = machine.json("pressure")
    records = {record["strategy"]: record for record in state["pressure"]["strategies"]}
    for row in rows:
        name = str(row["strategy"]).replace(" ", "")
        record = records[name]
        assert state["units"][name] == row["unit"]
        found = (record["last_won"], record["average_won"] // 16, record["total_won"], record["pages_moved"])
        assert found == (row["last_won"], row["average_won"], row["total_won"], row["moved"])
    assert any(record["average_won"] for record in records.values())


def test_the_boot_workload_migrates_pages_and_replaces_zero_pages(machine: TinyOS) -> None:
    assert "workload:" not in machine.console.transcript
    rows = {row["strategy"]: row for row in table(machine.shell("*p"), "strategy")}
    assert int(rows["Page Migration"]["moved"]) > 0
    assert int(rows["Page Migration"]["total_won"]) > 0
    assert int(figures(machine.shell("*l"))["upgrade_fault_count"]) > 0
    assert any(event["kind"] == "PageMoved" for event in machine.json("events 4096")["events"])


def test_the_boot_workload_succeeds_on_a_slow_host(boot: Callable[..., TinyOS]) -> None:
    # An instruction takes 512 ns: there are 32 times fewer between two ticks than in the tests of costs.
    machine = boot(icount_shift=9)
    assert "workload:" not in machine.console.transcript
    assert "boot took" in machine.console.transcript


def _locations(machine: TinyOS, task: int) -> dict[int, tuple[int, int]]:
    """The frame that the record of each lazy page of a task names, and the one that its descriptor does."""
    report = machine.json("report")
    space = next(one for one in report["context"]["spaces"] if one["number"] == task)
    pages = [page for page in report["pages"] if page["owner"] == task and page["is_allocated"]]
    with machine.stopped() as gdb:
        return {
            page["virtual_address"]: (
                page["physical_address"],
                guest.output_address(guest.descriptor(gdb, space["table"], page["virtual_address"])),
            )
            for page in pages
        }


def test_scattered_pages_migrate_by_themselves_and_descriptors_follow(machine: TinyOS) -> None:
    machine.shell("hold")
    task = _spawn(machine, "scatter 3200 64")
    deadline = time.monotonic() + _SECONDS
    while _row(machine, task)["state"] != "sleeping":
        assert time.monotonic() < deadline, machine.shell("tasks")
    machine.shell("pool 14")
    before = _locations(machine, task)
    assert len(before) == 50
    moved_before = int(table(machine.shell("*p"), "strategy")[2]["moved"])
    # At boot it may have won nothing the last time: then it is skipped for some rises of the pressure.
    for _ in range(5):
        hog = _write(machine, 2200)
        moved = int(table(machine.shell("*p"), "strategy")[2]["moved"])
        if moved > moved_before:
            break
        machine.shell(f"kill {hog}")
    assert moved > moved_before
    after = _locations(machine, task)
    assert after.keys() == before.keys()
    assert all(record == descriptor for record, descriptor in after.values())
    assert any(after[address] != before[address] for address in before)
    assert _row(machine, task)["state"] != "ended", "it checks its pages, and ends if one is wrong"
    assert machine.json("check")["findings"] == []


def test_the_task_that_owns_the_most_frames_ends_for_another(machine: TinyOS) -> None:
    machine.shell("hold")
    machine.shell("pool 16")
    largest = _write(machine, 3000)
    before = machine.json("pressure")
    owned = next(one["frames"]["used"] for one in before["quotas"] if one["task"] == largest)
    row = next(row for row in table(machine.shell("quota"), "task") if row["task"] == largest)
    assert (row["frames"], row["max_frames"], row["ranges"], row["max_ranges"]) == (owned, 3840, 1, 64)
    assert (row["pages"], row["max_pages"]) == (3000, 38400)
    needing = _write(machine, 1000)
    assert _row(machine, needing)["state"] != "ended"
    assert _row(machine, largest)["end"] == "out of memory"
    ended = next(task for task in machine.json("report")["tasks"] if task["id"] == largest)
    assert (ended["end_reason"], ended["ended_for"]) == ("OwnedMost", needing)
    # The strategies ran before, and may have taken a page of its stack.
    assert 3000 < (frames := ended["end_frames"]) <= owned
    found = machine.json("events 4000")["events"]
    chosen = [(one["first"], one["second"]) for one in found if one["kind"] == "VictimChosen"]
    assert chosen == [(largest, frames)]
    with machine.stopped() as gdb:
        assert f"task {largest}, {frames} frames, the most" in gdb.execute(
            "tinyos events --kind VictimChosen"
        )
    assert machine.json("check")["findings"] == []


def test_a_task_ends_at_its_own_quota_and_no_other_does(machine: TinyOS) -> None:
    machine.shell("hold")
    before = len([row for row in table(machine.shell("tasks"), "task") if row["state"] != "ended"])
    writer = _spawn(machine, "hog 2000 10")
    row = next(
        row for row in table(machine.shell(f"quota {writer} 200 1 3000"), "task") if row["task"] == writer
    )
    assert (row["max_frames"], row["max_ranges"], row["max_pages"]) == (200, 1, 3000)
    deadline = time.monotonic() + _SECONDS
    while _row(machine, writer)["state"] != "ended":
        assert time.monotonic() < deadline, machine.shell("quota")
    assert str(_row(machine, writer)["end"]).startswith("quota reached at 0x2000")
    events = machine.json("events 4000")["events"]
    assert [(one["first"], one["second"]) for one in events if one["kind"] == "FrameQuota"] == [(writer, 200)]
    assert len([row for row in table(machine.shell("tasks"), "task") if row["state"] != "ended"]) == before
    assert machine.json("check")["findings"] == []
