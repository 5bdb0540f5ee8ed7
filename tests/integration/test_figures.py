"""With the tasks held still, each figure that the kernel's shell prints is what the plugin decodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gdbplugin.session import TinyOS
from tests.integration.answers import PAGE_BYTES, Value, figures, table


@pytest.fixture(scope="module")
def held(shared_machine: TinyOS) -> Iterator[TinyOS]:
    """A machine whose tasks do not run."""
    shared_machine.shell("hold")
    yield shared_machine
    shared_machine.shell("go")


@pytest.fixture(scope="module")
def report(held: TinyOS) -> Any:
    """What the plugin decodes of it."""
    return held.json("report")


def _same(shown: dict[str, Value], decoded: dict[str, Any]) -> None:
    """Each figure of one is a figure of the other, and equal."""
    assert shown
    assert shown == {name: decoded.get(name) for name in shown}


def test_nothing_moves_while_the_tasks_are_held(held: TinyOS, report: Any) -> None:
    again = held.json("report")
    for part in ("stats", "stacks", "lazy", "pages", "pressure", "frames"):
        assert again[part] == report[part], part


def test_tasks(held: TinyOS) -> None:
    rows = table(held.shell("t"), "task")
    found = [entry for entry in held.tasks() if entry.task.is_alive]
    frequency = held.tasks().clock.frequency
    assert frequency
    assert len(rows) == len(found) > 1
    for row, entry in zip(rows, found, strict=True):
        ran = row.pop("ran_us")
        is_shell = entry.task.id == 0
        if not is_shell:
            assert entry.ran is not None
            assert ran == entry.ran * 1_000_000 // frequency > 0
        # The shell runs while it answers, and waits for input when the machine is stopped after that.
        switches = row.pop("switches")
        assert is_shell or switches == entry.task.switch_count
        waits = "-" if is_shell else entry.waits_for
        assert row == {
            "task": entry.task.id,
            "name": entry.task.name,
            "state": "ready" if is_shell else str(entry.task.state).lower(),
            "waits": waits,
            "asid": "-" if entry.asid is None else entry.asid,
            "mapped": "-" if entry.stack_size is None else entry.stack_size,
            "max": "-" if entry.stack_max_size is None else entry.stack_max_size,
            "pc": "-" if is_shell else entry.pc,
        }


def test_statistics(held: TinyOS, report: Any) -> None:
    shown = figures(held.shell("*s"))
    assert len(shown) == 10
    assert shown == report["stats"]


def test_stacks(held: TinyOS, report: Any) -> None:
    answer = held.shell("*d")
    stacks = [stack for stack in report["stacks"] if stack["is_active"]]
    assert figures(answer) == {
        "active_stacks": len(stacks),
        "mapped": sum(stack["current_size"] for stack in stacks),
        "pages_returned": sum(stack["pages_returned"] for stack in report["stacks"]),
    }
    rows = table(answer, "id")
    assert len(rows) == len(stacks) > 0
    for row, stack in zip(rows, stacks, strict=True):
        del row["gauge"]
        assert row == {
            "id": stack["id"],
            "task": stack["owner"],
            "policy": stack["policy"],
            "current": stack["current_size"],
            "maximum": stack["max_size"],
            "highest": stack["high_water_mark"],
            "growths": stack["growth_count"],
            "shrinks": stack["shrink_count"],
            "stack_pointer": stack["stack_pointer"],
            "base_address": stack["base_address"],
        }


def test_lazy_pages(held: TinyOS, report: Any) -> None:
    answer = held.shell("*l")
    lazy = report["lazy"]
    shown = figures(answer)
    pending = shown.pop("pending_pages")
    shown.pop("rows not shown", None)
    _same(shown, lazy)
    assert pending == lazy["reserved_pages"] - lazy["zero_pages"] - lazy["allocated_pages"]
    pages = {page["virtual_address"]: page for page in report["pages"]}
    assert len(pages) == lazy["reserved_pages"]
    for row in table(answer, "range"):
        addresses = range(row["range"], row["range"] + row["size"], PAGE_BYTES)  # type: ignore[operator]
        inside = [pages[address] for address in addresses]
        assert row["pages"] == len(inside)
        assert {page["owner"] for page in inside} == {row["task"]}
        assert row["allocated"] == sum(page["is_allocated"] for page in inside)
        assert row["zero"] == sum(page["is_zero_page"] for page in inside)
        assert row["pending"] == len(inside) - row["allocated"] - row["zero"]  # type: ignore[operator]
        assert row["accesses"] == sum(page["access_count"] for page in inside)
    runs = table(answer, "run")
    assert runs
    for row in runs:
        for address in range(row["run"], row["run"] + row["size"], PAGE_BYTES):  # type: ignore[operator]
            page = pages[address]
            state = "allocated" if page["is_allocated"] else "zero" if page["is_zero_page"] else "pending"
            assert (page["owner"], state) == (row["task"], row["state"])


def test_pressure(held: TinyOS, report: Any) -> None:
    answer = held.shell("*p")
    pressure, frames = report["pressure"], report["frames"]
    shown = figures(answer)
    assert shown.pop("level") == pressure["level"]
    assert str(shown.pop("used")).startswith("[")
    longest = shown.pop("longest_free_run")
    assert isinstance(longest, int)
    assert 0 < longest <= frames["free_frames"]
    counts = [frames[name] for name in ("free_frames", "cached_frames", "retired_frames")]
    assert shown.pop("used_frames") == frames["total_frames"] - sum(counts)
    _same(shown, frames)
    levels = table(answer, "level")
    assert [row["level"] for row in levels] == ["Low", "Medium", "High", "Critical"]
    assert [row["events"] for row in levels] == pressure["level_events"]
    for row, threshold in zip(levels[1:], pressure["thresholds"], strict=True):
        assert {name: row[name] for name in threshold} == threshold
    strategies = table(answer, "strategy")
    for row, strategy in zip(strategies, pressure["strategies"], strict=True):
        assert str(row["strategy"]).replace(" ", "") == strategy["strategy"]
        assert row["runs"] == strategy["run_count"]
        assert row["last_won"] == strategy["last_won"]
        assert row["total_won"] == strategy["total_won"]
        assert row["skips"] == strategy["skip_count"]
        assert row["backoff"] == strategy["backoff_left"]
