"""A random sequence of everything the shell can do to the memory management, checked after each step."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from gdbplugin.session import TinyOS
from tests.integration.answers import figures

_STEPS = 18
_LONG = 60.0
_HARMLESS = ("worker", "lazy", "hog", "reserver", "checker", "faults")
_HARMFUL = ("runaway", "guard", "wild", "below", "kernel-write", "undefined")
_OWN_FAULT = {
    "StackOverflow",
    "WildAccess",
    "KernelAccess",
    "UndefinedInstruction",
    "UnexpectedException",
}
_OUT_OF_MEMORY = 2
"""The exit code of a program that could not reserve what it needs."""


def _command(choose: random.Random, report: Any) -> str:
    """Something to type, given what there is."""
    pages = [page for page in report["pages"] if page["is_allocated"]]
    frames = report["frames"]
    frame = frames["base"] + 4096 * choose.randrange(frames["limit_frames"])
    return choose.choice(
        [
            f"pool {choose.choice([2, 4, 8, 16, 64])}",
            "pool all",
            f"run {choose.choice(['cache', 'relief', 'migration', 'defragmentation'])}",
            f"spawn {choose.choice(_HARMLESS)} {choose.choice(['conservative', 'aggressive', 'predictive'])}",
            f"spawn {choose.choice(_HARMLESS)}",
            f"spawn {choose.choice(_HARMFUL)}",
            f"kill {choose.randrange(1, 30)}",
            f"asid-bits {choose.choice([2, 3, 4, 16])}",
            f"faults {choose.randrange(1, 10000)}",
            f"migrate {choose.choice(pages)['virtual_address']:#x} {frame:#x}" if pages else "*l",
            "hold",
            "go",
            "*c",
        ]
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_that_is_typed_breaks_the_books(machine: TinyOS, seed: int) -> None:
    choose = random.Random(seed)
    report = machine.json("report")
    for step in range(_STEPS):
        command = _command(choose, report)
        answer = machine.shell(command, _LONG)
        if command == "*c" and " of 8" in answer and figures(answer)["test_tasks"] == "8 of 8":
            assert figures(answer)["context switching test"] == "passed", f"step {step}"
        report = machine.json("report")
        assert report["findings"] == [], f"step {step}: {command}"
        assert machine.json("check")["findings"] == [], f"step {step}: {command}"
        for task in report["tasks"]:
            assert task["end_reason"] not in _OWN_FAULT or task["name"] in _HARMFUL, f"step {step}: {command}"
    assert "KERNEL FAILURE" not in machine.console.transcript
    # A task that finds its memory not as it left it exits with code 1.
    for code in re.findall(r"ended: exited with code (\d+)", machine.console.transcript):
        assert int(code) == _OUT_OF_MEMORY
