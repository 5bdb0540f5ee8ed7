"""The kernel's shell on its serial console."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from gdbplugin.session import TinyOS
from tests.integration.answers import figures, table
from tests.kernel.synthetic import STATISTICS

_TEST_SECONDS = 60.0


def _statistics(answer: str) -> None:
    assert list(figures(answer)) == list(STATISTICS)


def _stacks(answer: str) -> None:
    assert len(table(answer, "id")) == figures(answer)["active_stacks"]


def _lazy_pages(answer: str) -> None:
    assert sum(int(row["pages"]) for row in table(answer, "range")) == figures(answer)["reserved_pages"]


def _pressure(answer: str) -> None:
    assert figures(answer)["level"] in ("Low", "Medium", "High", "Critical")
    assert len(table(answer, "strategy")) == 4


def _context_test(answer: str) -> None:
    found = figures(answer)
    assert found["context switching test"] == "passed"
    assert found["test_failures"] == 0
    assert int(found["test_switches"]) >= int(found["test_rounds"]) > 0


def _stress_test(answer: str) -> None:
    found = figures(answer)
    assert found["stress test"] == "passed"
    assert (found["stress_peak_pressure"], found["stress_last_pressure"]) == ("Critical", "Low")
    assert found["stress_frames_lost"] == found["stress_failed_tasks"] == 0


def _report(answer: str) -> None:
    headings = re.findall(r"^\[(.+)\]$", answer, re.MULTILINE)
    assert headings == ["statistics", "memory pressure", "dynamic stacks", "lazy pages", "address spaces"]


_ANSWERS: dict[str, Callable[[str], None]] = {
    "s": _statistics,
    "d": _stacks,
    "l": _lazy_pages,
    "p": _pressure,
    "c": _context_test,
    "t": _stress_test,
    "r": _report,
}


@pytest.mark.parametrize("letter", _ANSWERS)
def test_each_command_of_the_submenu_answers_as_one_word(shared_machine: TinyOS, letter: str) -> None:
    _ANSWERS[letter](shared_machine.shell(f"*{letter}", _TEST_SECONDS))


@pytest.mark.parametrize("letter", _ANSWERS)
def test_each_command_answers_within_the_submenu(shared_machine: TinyOS, letter: str) -> None:
    assert shared_machine.shell("*") == ""
    assert shared_machine.console.transcript.endswith("\ntinyos*> ")
    _ANSWERS[letter](shared_machine.shell(letter, _TEST_SECONDS))
    _statistics(shared_machine.shell("*s"))
    assert shared_machine.console.transcript.endswith("\ntinyos*> ")
    shared_machine.shell("q")
    assert shared_machine.console.transcript.endswith("\ntinyos> ")


@pytest.mark.parametrize("word", ["help", "h", "?"])
def test_help_names_every_command(shared_machine: TinyOS, word: str) -> None:
    answer = shared_machine.shell(word)
    for command in [
        "help",
        "tasks",
        "spawn",
        "hold",
        "go",
        "pool",
        "*",
        *(f"*{letter}" for letter in _ANSWERS),
    ]:
        assert re.search(rf"^ *{re.escape(command)}(?!\S)", answer, re.MULTILINE), command


@pytest.mark.parametrize("text", ["frobnicate", "*x", "*sd", "S", "**", "~", "0x", "x y z"])
def test_unknown_input_gets_a_one_line_answer(shared_machine: TinyOS, text: str) -> None:
    answer = shared_machine.shell(text)
    last = answer.splitlines()[-1]
    assert "unknown command" in last
    assert re.search(r"\bh\b", last), "it says how to learn the right ones"


@pytest.mark.parametrize("text", ["\x1b[A", "\x00?\x01!", "\xe9\xffe", "x" * 500])
def test_keys_that_are_no_letters_and_lines_too_long_do_no_harm(shared_machine: TinyOS, text: str) -> None:
    shared_machine.console.send(f"{text}\r")
    assert "unknown command" in shared_machine.console.wait_for_prompt()


def test_an_empty_line_only_prompts_again(shared_machine: TinyOS) -> None:
    assert shared_machine.shell("") == ""
    assert shared_machine.shell("   ") == ""


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_any_line_end_ends_a_command_once(shared_machine: TinyOS, end: str) -> None:
    prompts = shared_machine.console.transcript.count("tinyos> ")
    shared_machine.console.send(f"hold{end}go{end}")
    shared_machine.console.expect("all tasks are stopped\ntinyos> go\nall tasks continue\ntinyos> $")
    assert shared_machine.shell("uptime")
    assert shared_machine.console.transcript.count("tinyos> ") == prompts + 3


def test_what_is_typed_can_be_mended(shared_machine: TinyOS) -> None:
    shared_machine.console.send("holx\x7fd\r")
    assert "all tasks are stopped" in shared_machine.console.wait_for_prompt()
    shared_machine.console.send("nonsense\x15go\r")
    assert "all tasks continue" in shared_machine.console.wait_for_prompt()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("spawn", "a program is missing"),
        ("spawn nothing", "no such program"),
        ("kill", "a number is missing"),
        ("kill 95", "no such task"),
        ("kill 99999999999999999999999", "not a whole number"),
        ("pool 0", "from 1 MiB"),
        ("pool 100000", "from 1 MiB"),
        ("asid-bits 1", "must be from 2 to 16"),
        ("asid-bits 17", "must be from 2 to 16"),
        ("faults 0", "from 1 to"),
        ("migrate", "a number is missing"),
        ("migrate 0x1000", "a number is missing"),
        ("migrate 0x1000 0x8000000", "no task has a page"),
        ("migrate 0x200000000000 12", "not in the pool"),
        ("run", "cache, relief, migration or defragmentation"),
    ],
)
def test_wrong_words_are_named_with_the_usage(shared_machine: TinyOS, command: str, said: str) -> None:
    answer = shared_machine.shell(command)
    assert said in answer
    assert f"usage: {command.split()[0]}" in answer


def test_the_boot_workload_leaves_something_to_look_at(machine: TinyOS) -> None:
    assert "workload:" not in machine.console.transcript, "a part of the workload did not come about"
    stacks = table(machine.shell("*d"), "id")
    for policy in ("Conservative", "Aggressive", "Predictive"):
        assert any(row["policy"] == policy and int(row["growths"]) > 0 for row in stacks), policy
    assert any(int(row["shrinks"]) > 0 for row in stacks)
    lazy = figures(machine.shell("*l"))
    assert all(int(lazy[f"{state}_pages"]) > 0 for state in ("pending", "zero", "allocated"))
    assert all(int(row["events"]) > 0 for row in table(machine.shell("*p"), "level"))
    first = int(figures(machine.shell("*s"))["context_switch_count"])
    assert first >= 200
    alive = [row for row in table(machine.shell("tasks"), "task") if row["state"] != "ended"]
    assert len(alive) > 3
    machine.shell("*c")
    assert int(figures(machine.shell("*s"))["context_switch_count"]) > first
