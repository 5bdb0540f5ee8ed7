"""What a task may rely on at EL0, whatever other tasks do: its registers, its stack, its memory."""

from __future__ import annotations

import time

import pytest

from gdbplugin.session import TinyOS
from tests.integration import guest
from tests.integration.answers import figures, table

_SECONDS = 60.0
_WELL = {"exited with code 0"}


def _spawn(machine: TinyOS, words: str, count: int = 1) -> list[int]:
    """Start tasks of the same program at once; returns their numbers."""
    machine.console.send(f"spawn {words}\r" * count)
    started = [machine.console.expect(r"\ntask (\d+) \(\S+\) started", _SECONDS) for _ in range(count)]
    machine.console.wait_for_prompt(_SECONDS)
    return [int(found[1]) for found in started]


def _ends(machine: TinyOS, tasks: list[int]) -> set[str]:
    """Why the tasks ended; waits until all have."""
    deadline = time.monotonic() + _SECONDS
    while True:
        rows = [row for row in table(machine.shell("tasks"), "task") if row["task"] in tasks]
        if all(row["state"] == "ended" for row in rows):
            return {str(row["end"]) for row in rows}
        assert time.monotonic() < deadline, f"they go on: {rows}"


def _switches(machine: TinyOS) -> dict[object, int]:
    return {row["task"]: int(row["switches"]) for row in table(machine.shell("tasks"), "task")}


def test_the_thread_pointer_belongs_to_its_task(shared_machine: TinyOS) -> None:
    # Each task of the test counts in TPIDR_EL0, which must be 0 when it starts.
    for _ in range(2):
        answer = figures(shared_machine.shell("*c", 60))
        assert (answer["context switching test"], answer["test_failures"]) == ("passed", 0)


def test_waiting_for_an_interrupt_or_event_yields(shared_machine: TinyOS) -> None:
    machine = shared_machine
    tasks = _spawn(machine, "waiter 8000", 2)
    assert _ends(machine, tasks) == _WELL
    assert all(_switches(machine)[task] > 200 for task in tasks), (
        "they never gave up their turn to each other"
    )


def test_every_register_keeps_its_value_over_switches(shared_machine: TinyOS) -> None:
    machine = shared_machine
    tasks = _spawn(machine, "canary 100000", 4)
    assert _ends(machine, tasks) == _WELL
    assert all(_switches(machine)[task] > 100 for task in tasks), "one round in 256 yields"
    with machine.stopped() as gdb:
        for task in tasks:
            assert guest.task(gdb, task, "report[0]") == 100_000
            stack_pointer = guest.task(gdb, task, "report[1]")
            assert stack_pointer % 0x20_0000 == 0, "a stack begins at the end of its slot of 2 MiB"


def test_a_new_task_starts_with_all_registers_zero(shared_machine: TinyOS) -> None:
    """Also in the record of a task that has ended, which left its registers there."""
    machine = shared_machine
    used = {int(row["task"]) for row in table(machine.shell("tasks"), "task")}
    started: list[int] = []
    reused = 0
    while reused < 8:
        (task,) = _spawn(machine, "canary 300")
        reused += task in used
        used.add(task)
        started.append(task)
    assert _ends(machine, started) == _WELL


@pytest.mark.parametrize("pages", [1, 40], ids=["by address", "by ASID"])
def test_discarded_pages_read_zeros_in_the_same_turn(shared_machine: TinyOS, pages: int) -> None:
    """The TLB still holds the pages, unless they are invalidated: some one by one, many by their ASID."""
    machine = shared_machine
    assert _ends(machine, _spawn(machine, f"discarder {pages} {2000 // pages}")) == _WELL


def test_trimmed_stack_reads_zeros_in_the_same_turn(shared_machine: TinyOS) -> None:
    machine = shared_machine
    assert _ends(machine, _spawn(machine, "trimmer 1000")) == _WELL


def test_pressure_relief_keeps_a_stack_that_is_in_use(shared_machine: TinyOS) -> None:
    """A task that is interrupted far down in its stack has last called the kernel at the top."""
    machine = shared_machine
    (task,) = _spawn(machine, "diver 8 1000000")
    for _ in range(40):
        machine.shell("run relief")
    (row,) = [row for row in table(machine.shell("tasks"), "task") if row["task"] == task]
    assert row["state"] == "ready", row
    machine.shell(f"kill {task}")


def test_an_end_just_before_the_shell_waits_is_said_at_once(machine: TinyOS) -> None:
    (row, *_) = [row for row in table(machine.shell("tasks"), "task") if row["name"] == "checker"]
    number = int(row["task"])
    machine.interrupt()
    machine.gdb("break kernel::console::has_input")  # The shell asks this before it waits.
    machine.console.send("\r")
    machine.gdb("continue", timeout=_SECONDS)
    machine.gdb("delete")
    # As if it had ended now: its end is not reported yet.
    machine.gdb(f"set var kernel::scheduler::SCHEDULER.value.value.unannounced[0] = {1 << number}")
    machine.resume()
    assert machine.console.expect(rf"task {number} \(checker\) ended: exited with code 0", 5)
