"""Text that goes through GDB, which fails at characters that its host charset does not have.

Loaded while GDB starts: nothing may be imported here that GDB's own Python has not loaded already.
"""

from __future__ import annotations

import gdb

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
