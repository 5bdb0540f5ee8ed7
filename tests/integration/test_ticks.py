"""What the tick does: it ends turns, has pages age, and runs the strategies while the pressure stays high."""

from __future__ import annotations

import time
from collections.abc import Callable

from gdbplugin.session import TinyOS
from tests.integration import guest
from tests.integration.answers import Value, figures, table
from tests.integration.load import end_tasks

_SECONDS = 30.0


def _spawn(machine: TinyOS, words: str) -> int:
    """Start a task; returns its number."""
    answer = machine.shell(f"spawn {words}")
    assert "started" in answer, answer
    return int(answer.split()[1])


def _row(machine: TinyOS, task: int) -> dict[str, Value]:
    return next(row for row in table(machine.shell("tasks"), "task") if row["task"] == task)


def _wait(machine: TinyOS, condition: Callable[[], bool], command: str) -> None:
    """Wait until a condition is true; an answer of the shell says how things are if it never is."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, machine.shell(command)


def test_tasks_that_never_yield_are_preempted_and_all_go_on(machine: TinyOS) -> None:
    tasks = [_spawn(machine, "spinner") for _ in range(2)]

    def counts() -> list[int]:
        """What each has counted up to in X0, when it was last preempted."""
        with machine.stopped() as gdb:
            return [guest.task(gdb, task, "context.x[0]") for task in tasks]

    def turns() -> int:
        return min(int(_row(machine, task)["switches"]) for task in tasks)

    for wanted in (5, 15, 25):
        before = counts()
        _wait(machine, lambda wanted=wanted: turns() >= wanted, "tasks")
        assert all(after > known for after, known in zip(counts(), before, strict=True))


def test_pages_age_and_are_counted_when_used_again(machine: TinyOS) -> None:
    def count() -> int:
        return int(figures(machine.shell("*l"))["access_flag_count"])

    # The resident tasks check their pages all the time.
    before = count()
    _wait(machine, lambda: count() >= before + 20, "*l")


def test_strategies_run_again_while_the_pressure_stays_high(machine: TinyOS) -> None:
    """Without a change of level, which runs them as well. What a spinning task has on its stack stays."""
    end_tasks(machine)
    _spawn(machine, "hog 1024 0")
    _wait(machine, lambda: figures(machine.shell("*s"))["allocated_lazy_pages"] == 1024, "*s")
    diver = _spawn(machine, "diver 8 1000000")
    _wait(machine, lambda: int(_row(machine, diver)["switches"]) > 4, "tasks")
    machine.shell("pool 5")
    level = figures(machine.shell("*p"))["level"]
    assert level in ("High", "Critical")

    def runs() -> list[int]:
        """How often the strategies that free frames ran, or were skipped, for they had no gain."""
        time.sleep(0.2)  # A command of the shell is a switch, at which the diver's stack pointer is noted.
        rows = table(machine.shell("*p"), "strategy")
        return [int(row["runs"]) + int(row["skips"]) for row in rows if row["unit"] == "frames"]

    changes = figures(machine.shell("*s"))["memory_pressure_events"]
    before = runs()
    _wait(machine, lambda: all(now >= known + 3 for now, known in zip(runs(), before, strict=True)), "*p")
    found = figures(machine.shell("*s"))
    assert found["memory_pressure_events"] == changes
    assert _row(machine, diver)["state"] == "ready", _row(machine, diver)
