"""Text that goes through GDB, which fails at characters that its host charset does not have.

Loaded while GDB starts: nothing may be imported here that GDB's own Python has not loaded already.
"""

from __future__ import annotations

import re

import gdb

# A record of a stream of GDB/MI, and what is escaped in its C string.
_RECORD = re.compile(r'[~&@]"(?:[^"\\]|\\.)*"')
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)")
_CONTROL = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"a": b"\a", b"e": b"\033"}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.render.style import Style


def fitted(text: str, encoding: str = "") -> str:
    """Text with escapes for the characters that `encoding`, else GDB's host charset, does not have."""
    encoding = encoding or gdb.host_charset()
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:  # A charset that Python does not know.
        return text.encode("ascii", "backslashreplace").decode("ascii")


def printed(command: str) -> str:
    """What GDB prints for a command. Raises `gdb.error`, as the command does.

    Spoken to by its machine interface, GDB 18 gives a Python caller the records of MI that it would send.
    """
    said: str = gdb.execute(command, to_string=True)
    lines = said.splitlines()
    if not lines or not all(_RECORD.fullmatch(line) for line in lines):
        return said
    pieces = [line[2:-1] for line in lines if line[0] in "~@"]  # The console's, the target's.
    data = b"".join(_ESCAPE.sub(_unescaped, piece.encode(errors="surrogateescape")) for piece in pieces)
    return data.decode(errors="backslashreplace")


def _unescaped(found: re.Match[bytes]) -> bytes:
    escaped = found[1]
    if escaped[:1].isdigit():
        return bytes([int(escaped, 8)])
    return _CONTROL.get(escaped, escaped)


def write(text: str, style: Style) -> None:
    """Have GDB print a text of a style."""
    gdb.write(fitted(text, style.encoding))


def failure(message: str) -> gdb.GdbError:
    """An error of one line, as GDB prints it."""
    return gdb.GdbError(fitted(message))


def not_decoded(error: UnicodeDecodeError) -> gdb.GdbError:
    """For a text of GDB's that it cannot hand to Python, such as the path of a program."""
    start = error.object[: error.start].rfind(b"/") + 1
    return failure(
        f"GDB has a text that is not in {error.encoding} ({error.object[start : start + 40]!r}): load the "
        "program by another path, or, if the text is in UTF-8, give `set host-charset UTF-8`"
    )
