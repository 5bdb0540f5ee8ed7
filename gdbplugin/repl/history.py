"""The lines typed before, on disk: for the user alone, for they may hold anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import platformdirs
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from gdbplugin.session.streams import escaped

_NAME = "tinyos-repl"


def history_file() -> Path:
    """Where the history is kept: the system's place for what a program remembers of its user."""
    return platformdirs.user_state_path(_NAME) / "history"


class _History(FileHistory):
    """A history that goes on in memory where its file can no longer be read or written."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        super().__init__(str(path))
        self._path = path
        self._tell = tell
        self._is_lost = False

    def load_history_strings(self) -> Iterable[str]:
        """The lines, the latest first; bytes that are not UTF-8 are shown as U+FFFD."""
        try:
            return list(super().load_history_strings())
        except OSError as error:
            self._lose(error)
            return []

    def store_string(self, string: str) -> None:
        """Append a line; bytes in it that are not text are kept as escapes."""
        if self._is_lost:
            return
        try:
            super().store_string(escaped(string))
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._is_lost = True
        self._tell(_lack(self._path, error))


def open_history(path: Path, tell: Callable[[str], None]) -> tuple[History, str]:
    """The history kept in `path`, made if it is not there; or one in memory, and why, where it cannot be.

    `tell` is told in a line where the file fails later.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        return InMemoryHistory(), _lack(path, error)
    return _History(path, tell), ""


def _lack(path: Path, error: OSError) -> str:
    return f"tinyos: the history is not kept: {path} ({error.strerror})"
