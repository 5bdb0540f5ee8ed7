"""Beside tasks that never give up their turn, the shell answers, and a test that ran out of time says so."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from gdbplugin.session import TinyOS
from tests.integration.answers import figures, table

_SPINNERS = 20
_SECONDS = 120.0
_TICK_MS = 4


@pytest.fixture(scope="module")
def loaded(shared_machine: TinyOS) -> TinyOS:
    """A machine with tasks that spin."""
    for _ in range(_SPINNERS):
        assert "started" in shared_machine.shell("spawn spinner", _SECONDS)
    return shared_machine


def _milliseconds(machine: TinyOS) -> int:
    return int(machine.shell("uptime", _SECONDS).split()[0])


def test_the_shell_answers_beside_spinning_tasks(loaded: TinyOS) -> None:
    # The quickest of some, for the host may be busy. In turn with all tasks it would take 80 ms or more.
    times = [_milliseconds(loaded) for _ in range(12)]
    quickest = min(after - before for before, after in pairwise(times))
    assert quickest < _SPINNERS * _TICK_MS / 2


def test_the_context_test_out_of_time_says_so(loaded: TinyOS) -> None:
    answer = loaded.shell("*c", _SECONDS)
    found = figures(answer)
    said = re.fullmatch(
        r"out of time: (\d+) of 8 tasks did not finish in 10 s", str(found["context switching test"])
    )
    assert said, answer
    assert 0 < int(said[1]) <= 8
    assert found["test_failures"] == 0


def test_the_debugger_says_that_the_context_test_ran_out_of_time(loaded: TinyOS) -> None:
    with loaded.stopped():
        run = loaded.json("context --test", timeout=_SECONDS)
    assert run["result"] == "out of time"
    (finding,) = run["findings"]
    assert "out of time" in str(finding)


def _switches(machine: TinyOS) -> dict[object, int]:
    rows = table(machine.shell("tasks", _SECONDS), "task")
    return {row["task"]: int(row["switches"]) for row in rows if row["name"] == "spinner"}


def test_every_spinning_task_gets_its_turn_while_the_shell_is_busy(loaded: TinyOS) -> None:
    before = _switches(loaded)
    for _ in range(8):
        loaded.shell("*r", _SECONDS)
    after = _switches(loaded)
    assert len(before) == _SPINNERS
    grown = [after[task] - before[task] for task in before]
    assert min(grown) > 0
    assert max(grown) - min(grown) <= 2, "some get more turns than others"
