"""Standard input, output and error of our programs: what goes wrong with them is one line and a status.

Bytes that are not text, and characters that a stream cannot hold, are shown as hexadecimal escapes: none of
them ends a program. What was read comes back as the same bytes where it is handed on.
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
# What Python chooses by itself; anything else was asked for by PYTHONIOENCODING.
_USUAL_ERRORS = ("strict", "surrogateescape", "backslashreplace")


class StreamError(Exception):
    """A standard stream can no longer be used.

    Neither an `OSError` nor a `SessionError`: whoever handles what goes wrong with a target, a file or a
    socket is not to take this for it. `is_gone`: whoever read our output has gone, as in `| head`.
    """

    def __init__(self, descriptor: int, error: OSError) -> None:
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror
        verb = "read" if descriptor == 0 else "write to"
        super().__init__(f"cannot {verb} {_NAMES[descriptor]}: {reason}")
        self.descriptor = descriptor
        self.is_gone = error.errno == errno.EPIPE


def escaped(text: str) -> str:
    """Text that is UTF-8: bytes that were not when they were read stand in it as hexadecimal escapes."""
    return text.encode("utf-8", _ESCAPED).decode()


def one_line(text: str) -> str:
    """Text with everything escaped that would begin a line or move a terminal's cursor."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def run(name: str, program: Callable[[], int]) -> int:
    """Run a program; returns its exit status.

    A `SessionError` is told in one line that begins with `name`, and is status 1; so is standard input that
    cannot be read, and standard output that cannot be written. Where the reader of our output has gone
    (`| head`) nothing is said, and the status is 128 + SIGPIPE, as a shell has it; at Ctrl-C 128 + SIGINT.
    """
    with _own_streams():
        try:
            status = _status(name, program)
            sys.stdout.flush()  # What was written before an exit, too.
            return status
        except StreamError as error:
            _give_up(error.descriptor)
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
    except SystemExit as end:  # Of argparse, or of a signal.
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Not of `FileIO`: what a signal's handler raises after its write has the buffer write the same again.
class _Output(io.BufferedWriter):
    """Standard output or error, whose errors are `StreamError`s.

    Where the descriptor does not block, it is waited for.
    """

    def write(self, data: Any, /) -> int:
        """As `BufferedWriter` does, and always the whole."""
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
        """As `BufferedWriter` does."""
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
        # Nobody can be told: what we do and the exit status stay the same.
        _give_up(descriptor)


class _Input(io.BufferedReader):
    """Standard input, whose errors are `StreamError`s."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As `BufferedReader` does."""
        try:
            return super().read(size)
        except OSError as error:
            raise StreamError(self.fileno(), error) from error

    def read1(self, size: int = -1, /) -> bytes:
        """As `BufferedReader` does; waits where the descriptor does not block."""
        try:
            if not os.get_blocking(self.fileno()):
                select.select([self], [], [])
            return super().read1(size)
        except OSError as error:
            raise StreamError(self.fileno(), error) from error


@contextlib.contextmanager
def _own_streams() -> Iterator[None]:
    """In the `with`, `sys.stdin` and the like are ours; those that a program or a test has replaced stay."""
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
        # Of output that failed the rest goes nowhere by now.
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdin, sys.stdout, sys.stderr = before


def _stream(descriptor: int, usual: TextIO | None, buffer: IO[bytes]) -> TextIO:
    """A stream as Python has made it, but for what it does with errors; None where it was closed."""
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
    """Have a standard descriptor that is closed taken, before a file or a socket of ours becomes it.

    Input cannot be read and output not written then; standard error goes nowhere, for nobody can be told.
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


def _give_up(descriptor: int) -> None:
    """Let what is still to be written there go nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _escape(text: str) -> str:
    """Characters as Python writes them in ASCII; bytes that were not text when they were read, by value."""
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
