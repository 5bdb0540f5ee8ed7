"""Target at any moment, the kernel's state is decoded, and its records agree with the hardware's tables."""

from __future__ import annotations

import random
import time

from gdbplugin.session import TinyOS
from tests.integration import guest

_STOPS = 50


def test_every_one_of_fifty_arbitrary_stops_is_decoded(machine: TinyOS) -> None:
    """Half of them while the shell idles, half while a task does nothing but fault."""
    moments = random.Random(4_4_4)
    levels: set[int] = set()
    changing = 0
    for number in range(_STOPS):
        if number == _STOPS // 2:
            machine.console.send("faults 2000000\r")
        # Not a wait for anything: what makes the moment arbitrary.
        time.sleep(moments.uniform(0, 0.02))
        with machine.stopped() as gdb:
            levels.add(guest.exception_level(gdb, 0))
            report = machine.json("report")
            check = machine.json("check")
        assert report["findings"] == [], f"stop {number}"
        assert check["findings"] == [], f"stop {number}"
        assert report["stats"]["active_dynamic_stacks"] == sum(s["is_active"] for s in report["stacks"])
        assert len(report["cores"]) == 4
        changing += report["changing"]
    assert levels == {0, 1}, "the stops were not arbitrary enough"
    assert changing < _STOPS
