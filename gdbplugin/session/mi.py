"""GDB's machine interface: one line in, records out. Pure; `gdb.py` holds the process.

A record is what `pygdbmi.gdbmiparser` makes of a line of GDB's output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pygdbmi import gdbmiparser

# Bytes beyond ASCII: as GDB escapes them, and as `LineSplitter` hands on what is not UTF-8.
_BYTE = r"\\[23][0-7]{2}|[\udc80-\udcff]"
_ANY_BYTE = re.compile(_BYTE)
_BYTES = re.compile(rf"(?:{_BYTE})+|\\\\")  # A backslash that is text is no beginning of one.


@dataclass(frozen=True)
class Record:
    """One line of GDB's output."""

    kind: str
    """`result`, `notify` (asynchronous), `console`, `target`, `log`, or `output` (not MI at all)."""
    message: str
    """For results `done`, `running`, `connected`, `error`; for notifications `stopped`, ...; else empty."""
    token: int | None
    payload: Any
    """A dictionary for results and notifications, text for streams."""


@dataclass(frozen=True)
class Result:
    """GDB's answer to one command."""

    message: str
    payload: Mapping[str, Any]
    console: str = ""
    """What the command printed."""
    log: str = ""
    """GDB's warnings while it ran."""


@dataclass(frozen=True)
class Stop:
    """Why and where the target stopped."""

    reason: str
    """`breakpoint-hit`, `signal-received`, `end-stepping-range`, ...; empty where GDB gives none."""
    core: int | None
    """The core it stopped at."""
    frame: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        where = self.frame.get("func") or self.frame.get("addr")
        return " in ".join(filter(None, [self.reason or "stopped", where]))


class LineSplitter:
    """Whole lines out of pieces as they arrive."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes, without their ends."""
        first, *rest = data.split(b"\n")
        self._pieces.append(first)
        if not rest:
            return []
        complete = [b"".join(self._pieces), *rest[:-1]]
        self._pieces = [rest[-1]]
        return [line.decode(errors="surrogateescape").rstrip("\r") for line in complete]


def parse(line: str) -> Record | None:
    """One line of GDB's output as a record; None for the `(gdb)` that ends a group.

    Bytes that are not UTF-8 stand in its texts as hexadecimal escapes. A line that only looks like MI is an
    `output`.
    """
    if line.rstrip() == "(gdb)":
        return None
    try:
        # Not left to the parser: of bytes in a row it decodes all or, where one is not text, none.
        text = _BYTES.sub(_decoded, line) if _ANY_BYTE.search(line) else line
        parsed = gdbmiparser.parse_response(text)
    except (ValueError, TypeError):  # What its parser raises at the wrong character, and at none.
        parsed = {"type": "output"}
    if parsed["type"] == "output":
        shown = line.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return Record("output", "", None, shown)
    return Record(
        kind=parsed["type"],
        message=parsed.get("message") or "",
        token=parsed.get("token"),
        payload=parsed.get("payload"),
    )


def piped(data: bytes) -> str:
    """What a command printed, from what GDB's `pipe` gave a program: GDB 18 writes that as records of MI."""
    if not data.startswith(b'~"'):
        return data.decode(errors="backslashreplace")
    records = map(parse, LineSplitter().feed(data))
    return "".join(
        str(record.payload) for record in records if record is not None and record.kind == "console"
    )


def _decoded(found: re.Match[str]) -> str:
    """Bytes as the text that they are; those that are not text as escapes, which MI wants escaped again."""
    text = found[0]
    if text == r"\\":
        return text
    data = re.sub(r"\\([0-7]{3})", lambda octal: chr(0xDC00 + int(octal[1], 8)), text)
    return data.encode(errors="surrogateescape").decode(errors="backslashreplace").replace("\\", "\\\\")


def stop_of(payload: Mapping[str, Any] | None) -> Stop:
    """The stop that a `*stopped` notification tells of; of a silent breakpoint's it tells nothing."""
    payload = payload or {}
    core = payload.get("core")
    thread = payload.get("thread-id")
    number = int(core) if core is not None else int(thread) - 1 if thread is not None else None
    return Stop(payload.get("reason", ""), number, payload.get("frame", {}), payload)


def address(number: int) -> str:
    """A virtual address as a word of MI: a signed number, as GDB 15 takes no larger one in Rust."""
    return f"({number - (1 << 64) if number >> 63 else number})"


def quote(text: str) -> str:
    """Text as a C string, as MI wants an argument with spaces in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
