"""Whether processes are alive, for tests."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether a process exists and has not ended (a zombie has)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # The latter if it ends during the read.
        return False
    return state != "Z"


def wait_until_gone(pids: Iterable[int], timeout: float = 5.0) -> None:
    """Wait until none of the processes is alive; fails when one still is after `timeout` seconds."""
    left = list(pids)
    deadline = time.monotonic() + timeout
    while left := [pid for pid in left if is_alive(pid)]:
        assert time.monotonic() < deadline, f"still alive: {left}"
        time.sleep(0.01)
