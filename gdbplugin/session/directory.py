"""A session's private directory, for its sockets and logs. It is gone with the session.

One whose program was killed outright is removed by the next session: the lock on it, which the dead cannot
hold, tells it from one in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "tinyos-"
_LOCK = "lock"
_SETTLED_SECONDS = 60.0


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A new directory of mode 0700, removed at the end of the `with`."""
    _remove_abandoned()
    path = Path(tempfile.mkdtemp(prefix=PREFIX))  # mkdtemp makes it 0700.
    try:
        with (path / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path
    finally:
        shutil.rmtree(path)


def sessions() -> list[Path]:
    """The directories of this user's sessions, those abandoned included."""
    found = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{_LOCK}"):
        with contextlib.suppress(FileNotFoundError):  # It ended while we looked.
            if path.stat().st_uid == os.getuid():
                found.append(path.parent)
    return found


def _remove_abandoned() -> None:
    for path in sessions():
        with contextlib.suppress(FileNotFoundError), (path / _LOCK).open() as lock:
            # A younger one may not have its lock yet.
            if time.time() - (path / _LOCK).stat().st_mtime < _SETTLED_SECONDS:
                continue
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
