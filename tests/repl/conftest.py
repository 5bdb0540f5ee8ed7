"""Fixtures: a real terminal, and tinyos-repl without a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repl.pane import Pane
from tests.repl.runner import Runner


@pytest.fixture
def pane(tmp_path: Path) -> Iterator[Pane]:
    """A terminal in tmux, for this test only."""
    if shutil.which("tmux") is None:
        pytest.skip("there is no tmux")
    made = Pane(tmp_path)
    yield made
    made.end()


@pytest.fixture
def run(kernel_elf: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """tinyos-repl, as scripts/run starts it after its set-up and build."""
    return Runner(kernel_elf, tmp_path_factory.mktemp("run"))
