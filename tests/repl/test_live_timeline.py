"""The timeline of the live view: rates, changes, and figures of the last seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdbplugin.kernel.events import Event, Events
from gdbplugin.kernel.interface import Clock
from gdbplugin.kernel.lazy import LazyRange
from gdbplugin.kernel.snapshot import Snapshot
from gdbplugin.repl.live.scene import Timeline, frames_by_range
from tests.repl.live_snapshots import FREQUENCY, NAMES, PAGE, workload

LEVELS = NAMES["PressureLevel"]


def timeline_of(*seen: Snapshot) -> Timeline:
    timeline = Timeline()
    for number, snapshot in enumerate(seen):
        timeline.add(snapshot, 1000 + number, LEVELS)
    return timeline


def test_rates_use_kernel_time() -> None:
    timeline = timeline_of(*[workload(step) for step in range(0, 60, 2)])
    # 37 in each tenth of a second of kernel time; host time differs.
    assert timeline.rate("lazy_zero_faults") == pytest.approx(370)
    assert timeline.rate("total_dynamic_stacks") == 0
    assert timeline.rate("no such counter") is None
    assert timeline.rates("lazy_zero_faults", 4) == [370, 370, 370, 370]
    assert timeline.rates("lazy_zero_faults", 8) == [None, None, None, None, 370, 370, 370, 370]


def test_single_snapshot_has_no_rate() -> None:
    assert Timeline().rate("total_lazy_pages") is None
    assert timeline_of(workload(0)).rate("total_lazy_pages") is None
    assert timeline_of(workload(0), workload(1)).rate("total_lazy_pages") is None


def test_stopped_target_changes_nothing() -> None:
    moving = [workload(step) for step in range(30)]
    before, after = timeline_of(*moving), timeline_of(*moving, *[workload(29)] * 50)
    assert after.rate("lazy_zero_faults") == before.rate("lazy_zero_faults")
    assert after.rates("lazy_zero_faults", 10) == before.rates("lazy_zero_faults", 10)
    assert after.free(10) == before.free(10)
    assert list(after.events) == list(before.events)


def test_kernel_without_clock_uses_host_time() -> None:
    def timeless(snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, counters=replace(snapshot.counters, clock=Clock(None, None)))

    timeline = timeline_of(*[timeless(workload(step)) for step in range(5)])
    assert timeline.rate("lazy_zero_faults") == pytest.approx(37)


def test_changes_are_those_of_ten_seconds() -> None:
    timeline = timeline_of(*[workload(step) for step in range(0, 200, 5)])
    assert timeline.size_change(1) == 100 * PAGE
    assert timeline.size_change(1, seconds=1) == 10 * PAGE
    assert timeline.size_change(99) == 0


def test_kernel_time_going_back_clears_the_timeline() -> None:
    timeline = timeline_of(workload(50), workload(60), workload(0))
    assert [event.sequence for event in timeline.events] == list(range(1000, 1100))
    assert timeline.rate("lazy_zero_faults") is None
    assert [value for value in timeline.free(60) if value is not None] == [32_576]


def test_level_between_two_snapshots_counts_for_its_second() -> None:
    first, later = workload(0), workload(5)
    assert timeline_of(first, later).levels(3) == [None, None, "Low"]
    when = 2 * FREQUENCY + FREQUENCY // 4
    change = Event(2000, when, 0, 0, "PressureChange", 0, 3)
    spiked = replace(later, events=Events(2000, (*later.events.events, change)))
    assert timeline_of(first, spiked).levels(3) == [None, None, "Critical"]


def test_second_keeps_its_fewest_free_frames() -> None:
    low = workload(4)
    recovered = replace(workload(8), pressure=workload(0).pressure)
    assert timeline_of(workload(0), low, recovered).free(2) == [None, low.pressure.free]


def test_overwritten_events_are_counted_at_their_place() -> None:
    timeline = timeline_of(workload(0), workload(300))
    assert timeline.missed == {1300: 200}
    assert [event.sequence for event in timeline.events][99:101] == [1099, 1300]


def test_frames_of_range_come_from_the_reverse_map() -> None:
    table = workload(0).frame_table
    reserved = ((0, 10, 5), (10, 90, 5), (None, 5, 5), (1000, 5, 6))
    ranges = tuple(LazyRange(number, *entry) for number, entry in enumerate(reserved))
    assert frames_by_range(table, ranges) == {0: 10, 10: 46, 1000: 0}
    assert frames_by_range(None, ranges) == {}
