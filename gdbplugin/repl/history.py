"""The lines typed before, on disk: for the user alone, for they may hold anything."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

_NAME = "tinyos-repl"


def history_file() -> Path:
    """Where the history is kept: the system's place for what a program remembers of its user."""
    return platformdirs.user_state_path(_NAME) / "history"


def open_history(path: Path) -> tuple[History, str]:
    """The history kept in `path`, made if it is not there; or one in memory, and why, where it cannot be."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        return InMemoryHistory(), f"the history is not kept: {path} ({error.strerror})"
    return FileHistory(str(path)), ""
