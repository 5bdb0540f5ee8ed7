"""What a test has a guest do beforehand, so that what it is about to look at is there by construction."""

from __future__ import annotations

import time
from collections.abc import Iterator

from gdbplugin.session import TinyOS
from tests.integration.answers import figures, table

LINEAR_MAP = 0xFFFF_0000_0000_0000
"""Where the kernel maps RAM."""
_SECONDS = 30.0
_CHECKERS = 4
_PAGES = 96


def tasks_at_el0(machine: TinyOS) -> int:
    """Leave no task but some that check their pages, most of the time at EL0.

    Each has read two pages of six and written two when this returns: how many pages each has mapped.
    """
    end_tasks(machine)
    for _ in range(_CHECKERS):
        assert "started" in machine.shell(f"spawn lazy {_PAGES} 0")
    mapped = _PAGES // 6 * 4
    deadline = time.monotonic() + _SECONDS
    while True:
        found = figures(machine.shell("*l"))
        if int(found["zero_pages"]) + int(found["allocated_pages"]) == _CHECKERS * mapped:
            return mapped
        assert time.monotonic() < deadline, f"the tasks have not touched all their pages: {found}"


def stop_at_el0(machine: TinyOS) -> None:
    """Have core 0, which is stopped, stop in one of those tasks, while that checks its pages.

    However fast the host: a task that is stopped at random is mostly asleep there.
    """
    machine.gdb("thbreak check_pages")
    machine.gdb("continue", timeout=_SECONDS)


def write_physical(machine: TinyOS, address: int, content: bytes) -> None:
    """Change a stopped machine's memory, by the kernel's linear map. Selects the second core."""
    machine.gdb("thread 2")  # A parked core is always in the kernel, where the linear map is mapped.
    with machine.stopped() as gdb:
        gdb.mi(f"-data-write-memory-bytes {LINEAR_MAP + address:#x} {content.hex()}")


def end_tasks(machine: TinyOS) -> None:
    """End every task but the shell."""
    for row in table(machine.shell("tasks"), "task"):
        if row["task"] != 0 and row["state"] != "ended":
            machine.shell(f"kill {row['task']}")


def fill_pool(machine: TinyOS) -> None:
    """Make the pool small and fill it with tasks that need no more, until there is no room for another."""
    end_tasks(machine)
    machine.shell("pool 1")
    for answer in _answers(machine, "spawn reserver 1 1000"):
        if "started" not in answer:
            assert "the pool has too few free frames" in answer
            return


def _answers(machine: TinyOS, command: str) -> Iterator[str]:
    for _ in range(256):
        yield machine.shell(command)
    raise AssertionError(f"{command!r} was answered 256 times, and could go on")
