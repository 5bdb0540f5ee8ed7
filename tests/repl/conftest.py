"""A real terminal for the tests that want one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repl.pane import Pane


@pytest.fixture
def pane(tmp_path: Path) -> Iterator[Pane]:
    """A terminal of the test's own, by tmux."""
    if shutil.which("tmux") is None:
        pytest.skip("there is no tmux")
    made = Pane(tmp_path)
    yield made
    made.end()
