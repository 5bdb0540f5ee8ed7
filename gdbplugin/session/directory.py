"""A session's private directory, for its sockets and logs. It is removed when the session ends.

A killed session leaves its directory, and the next session removes it. Only a directory whose marker file
proves that a session made it is removed, and in it only the files that a session makes: a temporary folder
has other people's files too, and their names may look like ours.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gdbplugin.session.errors import SessionError
from gdbplugin.session.streams import one_line

CONSOLE, CONSOLE_LOG, QMP, GDB, QEMU_LOG = "console", "console.log", "qmp", "gdb", "qemu.log"
RAM, ANSWER, RECORDING = "ram", "answer.json", "recording"
SERIAL, TRAVEL, SNAPSHOTS, CHECKPOINTS = "serial", "travel", "snapshots", "checkpoints"
FAILURE_DUMP, FAILURE_REPORT = "failure.dump", "failure.html"
"""The pytest plugin makes them, and moves them away."""
_MARKER = "lock"
"""The marker file: it proves that a session made the directory, and is locked while that session lives."""
_NAMES = (
    CONSOLE,
    CONSOLE_LOG,
    QMP,
    GDB,
    QEMU_LOG,
    RAM,
    ANSWER,
    RECORDING,
    SERIAL,
    TRAVEL,
    SNAPSHOTS,
    CHECKPOINTS,
    FAILURE_DUMP,
    FAILURE_REPORT,
    _MARKER,
)
"""All files that a session makes in its directory; the marker is removed last."""
_PREFIX = "tinyos-"
_PATTERN = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]+")
_FALLBACK = "/tmp"

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A new directory of mode 0700, removed at the end of the `with`.

    It is made in $TMPDIR, $XDG_RUNTIME_DIR or /tmp: the first that is writable and whose path is short enough
    for a socket. If $TMPDIR is set but cannot be used, a log message says so. Raises `SessionError` if none
    can be used.
    """
    with contextlib.ExitStack() as resources:
        path = _make(resources)
        _remove_abandoned(path.parent)
        yield path


def sessions() -> list[Path]:
    """The directories of this user's running sessions, in the first folder that has any.

    The folders are those of `private_directory`, in the same order.
    """
    for base in _bases():
        found = []
        for path in _candidates(base):
            with _marked(path) as directory:
                if directory is not None and not directory.is_abandoned():
                    found.append(path)
        if found:
            return found
    return []


class _SessionDirectory:
    """A directory that a session made, as its marker proves; both are open."""

    def __init__(self, path: Path, descriptor: int, marker: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._marker = marker

    def is_abandoned(self) -> bool:
        """Whether its session is gone. If so, this process now holds the lock."""
        try:
            fcntl.flock(self._marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # Locked; or the file system has no locks: then its directories stay.
            return False
        return True

    def remove(self) -> None:
        """Remove a session's files, and then the directory if it is empty."""
        for name in _NAMES:
            with contextlib.suppress(OSError):  # Missing; or a folder, which is not ours.
                os.unlink(name, dir_fd=self._descriptor)
        with contextlib.suppress(OSError):
            self.path.rmdir()


def _make(resources: contextlib.ExitStack) -> Path:
    """A new directory, marked and locked, in the first folder that can be used."""
    problems = []
    for base in _bases():
        try:
            path = resources.enter_context(_made_in(base))
        except OSError as error:
            problems.append(one_line(f"{base}: {error.strerror or error}"))
            continue
        if problems:
            _log.warning("no sockets can be made in %s; using %s", "; ".join(problems), base)
        return path
    raise SessionError(
        f"no folder for sockets ({'; '.join(problems)}): set TMPDIR to a writable folder with a short path"
    )


@contextlib.contextmanager
def _made_in(base: Path) -> Iterator[Path]:
    """A new directory in `base`. Raises `OSError` if it cannot be made, or cannot have sockets."""
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))  # mkdtemp makes it 0700.
    with contextlib.ExitStack() as resources:
        resources.callback(_remove_if_empty, path)
        descriptor = _opened(resources, path, os.O_DIRECTORY)
        marker = _opened(resources, path / _MARKER, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        resources.callback(_SessionDirectory(path, descriptor, marker).remove)
        # Locked before it is written: a complete marker always has the lock of its session.
        fcntl.flock(marker, fcntl.LOCK_EX)
        os.write(marker, _mark_of(path))
        _require_sockets(path)
        yield path


def _require_sockets(path: Path) -> None:
    """Raise `OSError` if a socket cannot be made: the path is too long, or the file system has no sockets."""
    if not str(path).isprintable():
        raise OSError(errno.EINVAL, "its path has characters that GDB does not take")
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(str(path / CONSOLE))
    except OSError as error:
        # Python's error for a path that is too long has no number, and so no `strerror`.
        raise OSError(error.errno, error.strerror or str(error)) from error
    (path / CONSOLE).unlink()


def _bases() -> list[Path]:
    """The folders to try for a directory, in order."""
    named = next(filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))), _FALLBACK)
    bases = [named, os.environ.get("XDG_RUNTIME_DIR", ""), _FALLBACK]
    return [Path(base) for base in dict.fromkeys(os.path.abspath(base) for base in bases if base)]


def _candidates(base: Path) -> list[Path]:
    """The entries of a folder that are named like a session's directory."""
    try:
        names = os.listdir(base)
    except OSError:
        return []
    return [base / name for name in names if _PATTERN.fullmatch(name)]


def _remove_abandoned(base: Path) -> None:
    for path in _candidates(base):
        with _marked(path) as directory:
            if directory is not None and directory.is_abandoned():
                directory.remove()


@contextlib.contextmanager
def _marked(path: Path) -> Iterator[_SessionDirectory | None]:
    """The directory, if its marker proves that a session made it, else None. No link is followed."""
    with contextlib.ExitStack() as resources:
        try:
            descriptor = _opened(resources, path, os.O_RDONLY | os.O_DIRECTORY)
            # Non-blocking, as opening a FIFO would wait for a writer.
            marker = _opened(resources, _MARKER, os.O_RDWR | os.O_NONBLOCK, dir_fd=descriptor)
            is_ours = (
                _is_private(os.fstat(descriptor), stat.S_IFDIR | 0o700)
                and _is_private(os.fstat(marker), stat.S_IFREG | 0o600)
                and os.read(marker, 4096) == _mark_of(path)
            )
        except OSError:
            is_ours = False
        yield _SessionDirectory(path, descriptor, marker) if is_ours else None


def _opened(resources: contextlib.ExitStack, path: Path | str, flags: int, dir_fd: int | None = None) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    resources.callback(os.close, descriptor)
    return descriptor


def _is_private(status: os.stat_result, mode: int) -> bool:
    return status.st_uid == os.getuid() and status.st_mode == mode


def _mark_of(path: Path) -> bytes:
    """The marker's content, with the directory's name, so that a copy of the directory does not count."""
    return f"tinyos-gdb: {path.name} is the directory of a session and is removed with it\n".encode()


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):  # Removed already; or it has files that are not ours.
        path.rmdir()
