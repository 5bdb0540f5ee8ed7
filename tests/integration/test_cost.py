"""What the hot paths cost, where QEMU's time is a count of the guest's instructions: the same on any host."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from gdbplugin.session import TinyOS

_NANOSECONDS_SHIFT = 4
"""A count of the 62.5 MHz timer is 16 ns: so one instruction."""
_GOALS = {"context switch": 300, "lazy read fault": 800, "lazy write fault": 1200, "stack growth": 1200}


@pytest.fixture
def counted(boot: Callable[..., TinyOS]) -> TinyOS:
    """A machine whose timer counts instructions."""
    return boot(icount_shift=_NANOSECONDS_SHIFT)


def test_the_hot_paths_meet_their_goals_in_instructions(counted: TinyOS) -> None:
    answer = counted.shell("bench", 60)
    costs = {match[1]: float(match[2]) for match in re.finditer(r"^(.+): ([\d.]+)$", answer, re.MULTILINE)}
    assert costs.keys() == _GOALS.keys()
    for name, goal in _GOALS.items():
        assert 0 < costs[name] <= goal, name


def test_the_boot_takes_less_than_a_second(counted: TinyOS) -> None:
    took = re.search(r"boot took (\d+) ms", counted.console.transcript)
    assert took
    assert int(took[1]) < 1000
    assert int(counted.shell("uptime").split()[0]) < 1500
