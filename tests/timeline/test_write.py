"""Timelines of made-up kernels: what is in the file, and what a failure leaves."""

import errno
import os

import pytest

from gdbplugin.commands import timeline
from gdbplugin.kernel.target import Target
from gdbplugin.machine import MachineError
from gdbplugin.records import replace
from gdbplugin.timeline.watched import WatchedTimeline
from tests.commands.forms import json_of, text_of
from tests.kernel.other_designs import small_world
from tests.kernel.stopped import stopped_world
from tests.repl.live_snapshots import FREQUENCY, NAMES, workload
from tests.schemas.validation import validate
from tests.timeline.reading import read


def test_a_stopped_kernel_has_its_events_and_counts(tmp_path):
    path = tmp_path / "timeline"
    found = timeline.read(stopped_world(), str(path))
    validate(json_of("timeline", found))
    trace = read(path)
    assert found.size == path.stat().st_size
    assert (found.events, found.slices, found.seconds) == (len(trace.instants()), 0, None)
    assert found.events == 2
    assert f"Wrote {path}: 0 slices, 2 events, 8 counts on 10 tracks." in " ".join(
        text_of("timeline", found).split()
    )
    assert any("frequency of the kernel's timer is not known" in note for note in found.notes)


def test_a_kernel_without_a_timer_has_no_counts_and_it_is_said(tmp_path):
    kernel = small_world().kernel()
    target = Target(kernel.machine, 0, kernel.diagnostics, lambda: kernel)
    found = timeline.read(target, str(tmp_path / "timeline"))
    assert (found.events, read(tmp_path / "timeline").tracks) == (0, [])
    assert any("the time of this stop is not known" in note for note in found.notes)


@pytest.mark.parametrize("failing", ["write", "rename", "folder"])
def test_a_failure_is_one_line_and_leaves_no_file(tmp_path, monkeypatch, failing):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == "write":
        monkeypatch.setattr("gdbplugin.timeline.packets.join", fail)
    elif failing == "rename":
        monkeypatch.setattr("os.replace", fail)
    place = tmp_path / ("missing/timeline" if failing == "folder" else "timeline")
    reason = "No such file or directory" if failing == "folder" else "No space left on device"
    with pytest.raises(MachineError, match=rf"^cannot write {place}: {reason}$"):
        timeline.read(stopped_world(), str(place))
    assert list(tmp_path.iterdir()) == []


def watched(*steps):
    collected = WatchedTimeline(NAMES, 100)
    for step in steps:
        collected.add(step if not isinstance(step, int) else workload(step))
    return collected


def test_snapshots_are_counts_at_their_times(tmp_path):
    found = watched(0, 1, 2).write(str(tmp_path / "timeline"), lambda *_: "")
    trace = read(tmp_path / "timeline")
    assert trace.track("free frames").counts == [
        (at, 32_570 - 3_000 * step) for step, at in enumerate((2_000_000_000, 2_100_000_000, 2_200_000_000))
    ]
    assert trace.track("lazy pages pending").counts == [(2_000_000_000, 112)]
    assert found.sources == ("events", "snapshots")
    # Each snapshot has the newest 100; they overlap.
    assert [arguments["sequence"] for _, _, arguments in trace.instants()] == list(range(1000, 1102))
    assert found.notes == []


def test_lost_events_and_turns_are_said(tmp_path):
    seen = turn(0, 1, FREQUENCY, 0), turn(300, 2, FREQUENCY * 31, 900)
    found = watched(*seen).write(str(tmp_path / "timeline"), lambda *_: "")
    assert "200 events were overwritten before a snapshot saw them" in found.notes
    assert any("the snapshots saw 2 of 901 turns of tasks" in note for note in found.notes)


def turn(step, task, begin, switches):
    """A snapshot in which a task runs since a time; so many switches have been made."""
    found = workload(step)
    tasks = [replace(one, switch_count=0) for one in found.tasks.tasks]
    tasks[0] = replace(tasks[0], switch_count=switches)
    return replace(found, tasks=replace(found.tasks, current=task, turn_start=begin, tasks=tuple(tasks)))


def test_turns_are_known_as_far_as_snapshots_say(tmp_path):
    second = FREQUENCY
    seen = [
        turn(0, 1, 2 * second - 100, 10),
        turn(1, 1, 2 * second - 100, 10),  # The same turn.
        turn(2, 2, second * 21 // 10 + 50, 11),  # One switch: it ended when this one began.
        turn(3, 1, second * 23 // 10 - 7, 14),  # Others were between them.
    ]
    watched(*seen).write(str(tmp_path / "timeline"), lambda *_: "")
    trace = read(tmp_path / "timeline")
    turns = sorted(
        (one.begin, one.end, one.arguments["task"], "end" in one.arguments)
        for _, one in trace.slices("running")
    )
    count = 1_000_000_000 // FREQUENCY
    assert turns == [
        (2_000_000_000 - 100 * count, 2_100_000_000 + 50 * count, 1, False),
        (2_100_000_000 + 50 * count, 2_200_000_000, 2, True),
        (2_300_000_000 - 7 * count, 2_300_000_000, 1, True),
    ]


def test_time_that_goes_back_begins_anew(tmp_path):
    found = watched(100, 101, 0, 1).write(str(tmp_path / "timeline"), lambda *_: "")
    assert found.notes == ["the kernel's time went back: what was before is left out"]
    assert read(tmp_path / "timeline").times[-1] == 2_100_000_000


def test_nothing_seen_is_an_empty_trace(tmp_path):
    found = WatchedTimeline({}).write(str(tmp_path / "timeline"), lambda *_: "")
    assert (found.events, found.slices, found.counts, read(tmp_path / "timeline").tracks) == (0, 0, 0, [])
