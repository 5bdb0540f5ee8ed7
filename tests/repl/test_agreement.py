"""The REPL, GDB, the library and the kernel's own shell agree about the same moment.

tests/integration/test_figures.py compares the figures of plugin and kernel one by one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdbplugin.render import Style
from gdbplugin.repl.output import Output
from gdbplugin.repl.repl import Outcome, Repl, ReplOptions, SessionOptions
from tests.integration.answers import figures

_LETTERS = {"s": "stats", "d": "stacks", "l": "lazy", "p": "pressure", "c": "context", "r": "report"}


class Batch:
    """A REPL without a person; a call returns what a line prints."""

    def __init__(self, kernel: Path) -> None:
        self._out = io.StringIO()
        output = Output(self._out, self._out, Style(), for_person=False)
        self.repl = Repl(SessionOptions(kernel), output, ReplOptions())

    def __call__(self, line: str) -> str:
        start = len(self._out.getvalue())
        assert self.repl.run(line) is Outcome.DONE, self._out.getvalue()[start:]
        return self._out.getvalue()[start:]


@pytest.fixture(scope="module")
def batch(kernel_elf: Path) -> Iterator[Batch]:
    """A REPL whose kernel's tasks do not run."""
    made = Batch(kernel_elf)
    made("console hold")
    yield made
    made.repl.close()


@pytest.mark.parametrize("letter", _LETTERS)
def test_letter_prints_exactly_what_the_gdb_command_prints(batch: Batch, letter: str) -> None:
    gdbs = batch.repl.session.gdb
    shown = batch(f"*{letter}")
    assert shown == gdbs(f"tinyos {_LETTERS[letter]}") == batch(f"*{_LETTERS[letter]}")
    assert len(shown.splitlines()) > 4


@pytest.mark.parametrize("letter", _LETTERS)
def test_letter_with_json_is_the_librarys_json(batch: Batch, letter: str) -> None:
    assert json.loads(batch(f"*{letter} --json")) == batch.repl.session.json(_LETTERS[letter])


@pytest.mark.parametrize("letter", "sdlp")
def test_console_returns_the_kernels_answer_unchanged(batch: Batch, letter: str) -> None:
    answer = batch(f"console *{letter}")
    again = batch.repl.session.shell(f"*{letter}")
    counts = ("context_switch_count",)  # The kernel switches to its shell for each line.
    assert {name: number for name, number in figures(answer).items() if name not in counts} == {
        name: number for name, number in figures(again).items() if name not in counts
    }
    assert figures(answer)


def test_kernel_and_repl_show_the_same_figures(batch: Batch) -> None:
    kernels = figures(batch("console *s"))
    shown = json.loads(batch("*s --json"))["stats"]
    assert kernels == shown
