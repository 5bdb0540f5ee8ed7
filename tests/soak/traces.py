"""What a session could leave behind, found without asking the session."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Traces:
    """What there is of this test at one moment."""

    processes: frozenset[str]
    """Command lines of all processes that carry the test's mark in their environment, but our own."""
    files: frozenset[str]
    """Everything in the folder for temporary files, sockets included."""
    sockets: frozenset[str]
    """Unix sockets bound in that folder."""
    descriptors: tuple[str, ...]
    """What our own descriptors lead to, without the numbers that the system gives to pipes and the like."""
    mappings: int
    """How many files we have mapped."""
    threads: int

    @classmethod
    def look(cls, folder: Path, mark: str) -> Traces:
        """What there is now."""
        return cls(
            processes=frozenset(_marked_processes(mark)),
            files=frozenset(str(path) for path in folder.rglob("*")),
            sockets=frozenset(line for line in _lines("/proc/net/unix") if str(folder) in line),
            descriptors=tuple(sorted(_descriptors())),
            mappings=sum("/" in line for line in _lines("/proc/self/maps")),
            threads=threading.active_count(),
        )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _marked_processes(mark: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            words = (process / "cmdline").read_bytes()
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        if mark.encode() in environment and int(process.name) != os.getpid():
            found.append(f"{process.name}: {words.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def _descriptors() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(link).partition(":[")[0])
        except FileNotFoundError:
            continue  # The one that lists this folder.
    return found
