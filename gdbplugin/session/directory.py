"""A session's private directory, for its sockets and logs. It is removed when the session ends.

A session that was killed leaves its directory behind, and the next session removes it. Only a directory that
its own marker proves to be ours is removed, and only the files that a session makes: a temporary folder holds
other people's files too, under names that may look like ours.
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
RAM, ANSWER = "ram", "answer.json"
_MARKER = "lock"
"""Says that the directory is ours, and is locked while its session lives."""
_NAMES = (CONSOLE, CONSOLE_LOG, QMP, GDB, QEMU_LOG, RAM, ANSWER, _MARKER)
"""Everything that a session makes in its directory; the marker is removed last."""
_PREFIX = "tinyos-"
_PATTERN = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]+")
_FALLBACK = "/tmp"

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A new directory of mode 0700, removed at the end of the `with`.

    It is made in $TMPDIR, else in $XDG_RUNTIME_DIR, else in /tmp: the first that can be written to and whose
    path is short enough for a socket. A log message says so where that is not $TMPDIR, though it is set.
    Raises `SessionError` where there is none.
    """
    with contextlib.ExitStack() as resources:
        path = _make(resources)
        _remove_abandoned(path.parent)
        yield path


def sessions() -> list[Path]:
    """The directories of this user's sessions that are running, in the first folder that has any.

    The folders are those of `private_directory`, in its order.
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


class _Directory:
    """A directory whose marker proves it to be ours, and the two open."""

    def __init__(self, path: Path, descriptor: int, marker: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._marker = marker

    def is_abandoned(self) -> bool:
        """Whether nobody holds the lock; it is ours then."""
        try:
            fcntl.flock(self._marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # Held; or a file system that cannot say, whose directories stay.
            return False
        return True

    def remove(self) -> None:
        """Remove what a session makes, and then the directory, if nothing else is in it."""
        for name in _NAMES:
            with contextlib.suppress(OSError):  # Not there; or a folder, which is not ours.
                os.unlink(name, dir_fd=self._descriptor)
        with contextlib.suppress(OSError):
            self.path.rmdir()


def _make(resources: contextlib.ExitStack) -> Path:
    """A new directory, marked and locked, in the first folder that serves."""
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
        f"there is no folder for sockets ({'; '.join(problems)}): "
        "set TMPDIR to one that can be written to, with a short path"
    )


@contextlib.contextmanager
def _made_in(base: Path) -> Iterator[Path]:
    """A new directory in `base`. Raises `OSError` where it cannot be made, or can hold no sockets."""
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))  # mkdtemp makes it 0700.
    with contextlib.ExitStack() as resources:
        resources.callback(_remove_if_empty, path)
        descriptor = _opened(resources, path, os.O_DIRECTORY)
        marker = _opened(resources, path / _MARKER, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        resources.callback(_Directory(path, descriptor, marker).remove)
        # Locked before it is written: whoever can read it can see whether its session lives.
        fcntl.flock(marker, fcntl.LOCK_EX)
        os.write(marker, _mark_of(path))
        _require_sockets(path)
        yield path


def _require_sockets(path: Path) -> None:
    """Raise `OSError` where a socket cannot be made: its path is too long, or the file system has none."""
    if not str(path).isprintable():
        raise OSError(errno.EINVAL, "its path has characters that GDB cannot be given")
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.bind(str(path / CONSOLE))
    except OSError as error:
        # Python's own word for a path that is too long has no number, and so no text of its own.
        raise OSError(error.errno, error.strerror or str(error)) from error
    (path / CONSOLE).unlink()


def _bases() -> list[Path]:
    """The folders to make a directory in, the first that serves before the others."""
    named = next(filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))), _FALLBACK)
    bases = [named, os.environ.get("XDG_RUNTIME_DIR", ""), _FALLBACK]
    return [Path(base) for base in dict.fromkeys(os.path.abspath(base) for base in bases if base)]


def _candidates(base: Path) -> list[Path]:
    """The entries of a folder that are named as our directories are."""
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
def _marked(path: Path) -> Iterator[_Directory | None]:
    """A directory that its marker proves to be ours; None for any other. No link is followed on the way."""
    with contextlib.ExitStack() as resources:
        try:
            descriptor = _opened(resources, path, os.O_RDONLY | os.O_DIRECTORY)
            # A FIFO would wait for who writes to it.
            marker = _opened(resources, _MARKER, os.O_RDWR | os.O_NONBLOCK, dir_fd=descriptor)
            is_ours = (
                _is_private(os.fstat(descriptor), stat.S_IFDIR | 0o700)
                and _is_private(os.fstat(marker), stat.S_IFREG | 0o600)
                and os.read(marker, 4096) == _mark_of(path)
            )
        except OSError:
            is_ours = False
        yield _Directory(path, descriptor, marker) if is_ours else None


def _opened(resources: contextlib.ExitStack, path: Path | str, flags: int, dir_fd: int | None = None) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    resources.callback(os.close, descriptor)
    return descriptor


def _is_private(status: os.stat_result, mode: int) -> bool:
    return status.st_uid == os.getuid() and status.st_mode == mode


def _mark_of(path: Path) -> bytes:
    """What stands in the marker: with the directory's name, so that a copy of it is not ours."""
    return f"tinyos-gdb: {path.name} is the directory of a session and is removed with it\n".encode()


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):  # Gone; or something is in it that is not ours.
        path.rmdir()
