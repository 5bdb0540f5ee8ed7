"""Standard input, output and error of our programs: a stream that fails is one line and an exit status.

Bytes that are not text, and characters that a stream's encoding lacks, are shown as hexadecimal escapes, and
do not end a program. Such bytes are read so that they can be passed on unchanged.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, TextIO

from gdbplugin.session.errors import SessionError

_ESCAPED = "tinyos.escaped"
_NAMES = ("standard input", "standard output", "standard error")
_READ_ERRORS = "surrogateescape"
# Python's own choices; any other comes from PYTHONIOENCODING.
_USUAL_ERRORS = ("strict", "surrogateescape", "backslashreplace")


class StreamError(Exception):
    """A standard stream can no longer be used.

    Neither an `OSError` nor a `SessionError`, so that handlers of a target's, a file's or a socket's errors
    do not catch it. `is_gone`: the reader of our output has ended, as in `| head`.
    """

    def __init__(self, descriptor: int, error: OSError) -> None:
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror
        verb = "read" if descriptor == 0 else "write to"
        super().__init__(f"cannot {verb} {_NAMES[descriptor]}: {reason}")
        self.descriptor = descriptor
        self.is_gone = error.errno == errno.EPIPE


def escaped(text: str) -> str:
    """The text with bytes that were not UTF-8 when they were read as hexadecimal escapes."""
    return text.encode("utf-8", _ESCAPED).decode()


def one_line(text: str) -> str:
    """The text with everything escaped that would end a line or move a terminal's cursor."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def run(name: str, program: Callable[[], int]) -> int:
    """Run a program; returns its exit status.

    After a `SessionError`, and if standard input cannot be read or standard output cannot be written, one
    line that begins with `name` is printed, and the status is 1. If the reader of our output has ended
    (`| head`), nothing is printed, and the status is 128 + SIGPIPE, as in a shell; after Ctrl-C 128 + SIGINT.
    """
    with _own_streams():
        try:
            status = _status(name, program)
            sys.stdout.flush()  # Also what was written before `sys.exit`.
            return status
        except StreamError as error:
            _discard(error.descriptor)
            if error.is_gone:
                return 128 + signal.SIGPIPE
            _complain(f"{name}: error: {error}")
            return 1


def _status(name: str, program: Callable[[], int]) -> int:
    try:
        status = program()
        sys.stdout.flush()
        return status
    except SessionError as error:
        sys.stdout.flush()
        _complain(f"{name}: error: {one_line(error.message)}")
        if error.evidence:
            _complain(error.evidence)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as end:  # From argparse, or from a signal handler.
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# A subclass of the buffer, not of `FileIO`: if a signal handler raised after a Python `write` of the raw
# file, the buffer would write the same data again.
class _Output(io.BufferedWriter):
    """Standard output or error, whose errors are `StreamError`s.

    If the descriptor is non-blocking, it waits.
    """

    def write(self, data: Any, /) -> int:
        """As in `BufferedWriter`, but always writes everything."""
        left = memoryview(data).cast("B")
        count = len(left)
        while left:
            try:
                left = left[super().write(left) :]
            except BlockingIOError as error:
                left = left[error.characters_written :]
                select.select([], [self], [])
            except OSError as error:
                self._fail(error)
        return count

    def flush(self) -> None:
        """As in `BufferedWriter`."""
        while True:
            try:
                return super().flush()
            except BlockingIOError:
                select.select([], [self], [])
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        descriptor = self.fileno()
        if descriptor != 2:
            raise StreamError(descriptor, error) from error
        # Standard error cannot report its own failure: the program goes on, and its exit status stays.
        _discard(descriptor)


class _Input(io.BufferedReader):
    """Standard input, whose errors are `StreamError`s."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As in `BufferedReader`."""
        try:
            return super().read(size)
        except OSError as error:
            raise StreamError(self.fileno(), error) from error

    def read1(self, size: int = -1, /) -> bytes:
        """As in `BufferedReader`; waits if the descriptor is non-blocking."""
        try:
            if not os.get_blocking(self.fileno()):
                select.select([self], [], [])
            return super().read1(size)
        except OSError as error:
            raise StreamError(self.fileno(), error) from error


@contextlib.contextmanager
def _own_streams() -> Iterator[None]:
    """Replace `sys.stdin`, `sys.stdout`, `sys.stderr` in the `with`, except those replaced already."""
    before = sys.stdin, sys.stdout, sys.stderr
    for descriptor in range(3):
        _occupy(descriptor)
    if sys.stdin is sys.__stdin__:
        sys.stdin = _stream(0, before[0], _Input(io.FileIO(0, "r", closefd=False)))
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(1, before[1], _Output(io.FileIO(1, "w", closefd=False)))
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, before[2], _Output(io.FileIO(2, "w", closefd=False)))
    try:
        yield
    finally:
        # If an output has failed, the rest of it goes to /dev/null by now.
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdin, sys.stdout, sys.stderr = before


def _stream(descriptor: int, usual: TextIO | None, buffer: IO[bytes]) -> TextIO:
    """A stream like Python's `usual` one (None: it was closed), except for what it does with errors."""
    errors = _READ_ERRORS if descriptor == 0 else _ESCAPED
    if usual is None:
        return io.TextIOWrapper(buffer, encoding="utf-8", errors=errors)
    return io.TextIOWrapper(
        buffer,
        encoding=usual.encoding,
        errors=errors if usual.errors in _USUAL_ERRORS else usual.errors,
        line_buffering=descriptor == 2 or usual.isatty(),
    )


def _occupy(descriptor: int) -> None:
    """Open a closed standard descriptor, so that no file or socket of ours gets its number.

    It is opened so that reading input and writing output fail; standard error goes to /dev/null.
    """
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_RDONLY if descriptor == 1 else os.O_WRONLY)
        os.dup2(opened, descriptor)
        if opened != descriptor:
            os.close(opened)
        else:
            os.set_inheritable(descriptor, True)


def _discard(descriptor: int) -> None:
    """Send what is still to be written there to /dev/null."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _escape(text: str) -> str:
    """Characters as Python escapes them in ASCII; bytes that were not text by their value."""
    return "".join(
        f"\\x{ord(char) - 0xDC00:02x}"
        if "\udc80" <= char <= "\udcff"
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def _escape_error(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return _escape(error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPED, _escape_error)
