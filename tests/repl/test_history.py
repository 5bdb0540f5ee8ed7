"""The history file."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.history import FileHistory, InMemoryHistory

from gdbplugin.repl.prompt import open_history


def test_history_keeps_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_bytes(b"# 2026\n+caf\xe9\n")
    history, _ = open_history(path, pytest.fail)
    history.append_string("b\udcff")
    again, _ = open_history(path, pytest.fail)
    assert list(again.load_history_strings()) == ["b\\xff", "caf\ufffd"]


def test_failing_history_is_reported_once_and_kept_in_memory(tmp_path: Path) -> None:
    told: list[str] = []
    history, problem = open_history(tmp_path / "history", told.append)
    assert problem == ""
    (tmp_path / "history").unlink()
    (tmp_path / "history").mkdir()
    history.append_string("one")
    history.append_string("two")
    assert told == [f"tinyos: the history is not saved: {tmp_path / 'history'} (Is a directory)"]
    assert history.get_strings() == ["one", "two"]


def test_history_is_readable_by_the_user_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "tinyos-repl" / "history"
    history, problem = open_history(path, pytest.fail)
    assert isinstance(history, FileHistory)
    assert problem == ""
    history.append_string("*s")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    again, _ = open_history(path, pytest.fail)
    assert list(again.load_history_strings()) == ["*s"]


def test_unusable_history_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history, problem = open_history(tmp_path / "file" / "history", pytest.fail)
    assert isinstance(history, InMemoryHistory)
    assert "the history is not saved" in problem
    assert "\n" not in problem
