"""Guards around GDB's Python: text that its host charset lacks, errors as tracebacks, Ctrl-C in between.

Imported while GDB starts: it may import only what GDB's own Python has imported already.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import gdb

# A stream record of GDB/MI, and the escapes in its C string.
_RECORD = re.compile(r'[~&@]"(?:[^"\\]|\\.)*"')
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)")
_CONTROL = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"a": b"\a", b"e": b"\033"}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.render import Style


def fitted(text: str, encoding: str = "") -> str:
    """Text with escapes for characters that `encoding` (by default GDB's host charset) does not have."""
    encoding = encoding or gdb.host_charset()
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:  # A charset that Python does not know.
        return text.encode("ascii", "backslashreplace").decode("ascii")


def printed(command: str) -> str:
    """The output of a GDB command. Raises `gdb.error` if the command does.

    Under GDB/MI, GDB 18 gives a Python caller MI records instead of the text.
    """
    said: str = gdb.execute(command, to_string=True)
    lines = said.splitlines()
    if not lines or not all(_RECORD.fullmatch(line) for line in lines):
        return said
    pieces = [line[2:-1] for line in lines if line[0] in "~@"]  # Console and target output.
    data = b"".join(_ESCAPE.sub(_unescaped, piece.encode(errors="surrogateescape")) for piece in pieces)
    return data.decode(errors="backslashreplace")


def _unescaped(found: re.Match[bytes]) -> bytes:
    escaped = found[1]
    if escaped[:1].isdigit():
        return bytes([int(escaped, 8)])
    return _CONTROL.get(escaped, escaped)


def write(text: str, style: Style) -> None:
    """Print a text through GDB, in the style's encoding."""
    gdb.write(fitted(text, style.encoding))


def failure(message: str) -> gdb.GdbError:
    """An error that GDB prints as one plain line."""
    return gdb.GdbError(fitted(message))


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn every expected error into a `gdb.GdbError`: GDB prints only those as a plain message."""
    from gdbplugin.layout.types import LayoutError
    from gdbplugin.machine import MachineError

    try:
        yield
    except gdb.GdbError:
        raise
    except (MachineError, LayoutError) as error:
        raise failure(str(error)) from error
    except UnicodeDecodeError as error:
        raise _not_decoded(error) from error
    except (gdb.error, gdb.MemoryError, OverflowError) as error:
        raise failure(f"GDB failed: {error}") from error


def _not_decoded(error: UnicodeDecodeError) -> gdb.GdbError:
    """The error for a text that GDB cannot hand to Python, such as a program's path."""
    start = error.object[: error.start].rfind(b"/") + 1
    return failure(
        f"GDB has a text that is not valid {error.encoding} ({error.object[start : start + 40]!r}): load the "
        "program from another path, or, if the text is UTF-8, type `set host-charset UTF-8`"
    )


@contextlib.contextmanager
def sigint_deferred() -> Iterator[None]:
    """Defer Ctrl-C to the end of a `with`: it comes before or after, but not inside.

    This does not hold if another plugin's thread in GDB's process takes the signal; GDB's own threads do not.
    """
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # Inside the try: a Ctrl-C that came before is raised by this call.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def sigint_is_pending() -> bool:
    """Whether a Ctrl-C is deferred now."""
    import signal

    return signal.SIGINT in signal.sigpending()
