"""GDB's machine interface: one line in, records out. Pure; `gdb.py` holds the process.

A record is what `pygdbmi.gdbmiparser` makes of a line of GDB's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pygdbmi import gdbmiparser


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
        return [line.decode(errors="replace").rstrip("\r") for line in complete]


def parse(line: str) -> Record | None:
    """One line of GDB's output as a record; None for the `(gdb)` that ends a group."""
    if line.rstrip() == "(gdb)":
        return None
    parsed = gdbmiparser.parse_response(line)
    return Record(
        kind=parsed["type"],
        message=parsed.get("message") or "",
        token=parsed.get("token"),
        payload=parsed.get("payload"),
    )


def stop_of(payload: Mapping[str, Any] | None) -> Stop:
    """The stop that a `*stopped` notification tells of; of a silent breakpoint's it tells nothing."""
    payload = payload or {}
    core = payload.get("core")
    thread = payload.get("thread-id")
    number = int(core) if core is not None else int(thread) - 1 if thread is not None else None
    return Stop(payload.get("reason", ""), number, payload.get("frame", {}), payload)


def quote(text: str) -> str:
    """Text as a C string, as MI wants an argument with spaces in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
