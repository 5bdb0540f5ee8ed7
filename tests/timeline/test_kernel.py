"""Timelines of the real kernel, read back and compared figure by figure with what the commands and it say."""

import itertools
import os
import signal
import subprocess
import time

import pytest

from gdbplugin.commands.events import meaning
from gdbplugin.session import EndedError, QemuOptions, SessionError, TinyOS
from tests.integration.answers import figures, table
from tests.schemas.validation import validate
from tests.timeline.reading import read

PAGE = 4096
EVERYTHING = "events 1000000"
FAULTS = ("lazy_zero_faults", "lazy_allocate_faults", "lazy_upgrade_faults")


@pytest.fixture(scope="module")
def recorded(tinyos_kernel, tmp_path_factory):
    """A recorded machine, held still after some work: the machine, what was written, and the trace."""
    path = tmp_path_factory.mktemp("timeline") / "recorded.pftrace"
    with TinyOS.boot(options=QemuOptions(kernel=tinyos_kernel, record=True)) as machine:
        machine.shell("spawn hog 4 20")
        time.sleep(0.3)
        machine.shell("hold")
        with machine.stopped():
            found = machine.timeline(path)
            yield machine, found, read(path)


@pytest.fixture(scope="module")
def unrecorded(tinyos_kernel, tmp_path_factory):
    """The same without a recording."""
    path = tmp_path_factory.mktemp("timeline") / "events.pftrace"
    with TinyOS.boot(options=QemuOptions(kernel=tinyos_kernel)) as machine:
        machine.shell("hold")
        shell = {letter: machine.shell(f"*{letter}") for letter in "slpd"}
        with machine.stopped():
            yield machine, machine.timeline(path), read(path), shell


def nanoseconds(machine, counts):
    return counts * 1_000_000_000 // machine.stats().time.frequency


def last_counts(trace):
    return {track.name: track.counts[-1][1] for track in trace.tracks if track.unit is not None}


def assert_figures(machine, trace):
    """The last counts are those of `pressure`, `lazy` and `stacks`."""
    pressure, lazy = machine.json("pressure"), machine.json("lazy")["lazy"]
    stacks = [one for one in machine.json("stacks")["stacks"] if one["is_active"]]
    reserved, allocated, zero = (lazy[f"{name}_pages"] for name in ("reserved", "allocated", "zero"))
    assert last_counts(trace) == {
        "free frames": pressure["frames"]["free_frames"],
        "cached frames": pressure["frames"]["cached_frames"],
        "pressure level": ["Low", "Medium", "High", "Critical"].index(pressure["pressure"]["level"]),
        "lazy pages reserved": reserved,
        "lazy pages allocated": allocated,
        "lazy pages zero": zero,
        "lazy pages pending": reserved - allocated - zero,
        "stack pages mapped": sum(one["current_size"] for one in stacks) // PAGE,
    }


def assert_events(machine, trace):
    """The events of the ring are among the instants, field by field."""
    listed = machine.json(EVERYTHING)["events"]
    found = {arguments["sequence"]: (name, at, arguments) for name, at, arguments in named(trace)}
    assert len(listed) > 1000
    for event in listed:
        name, at, arguments = found[event["sequence"]]
        assert (name, at) == (event["kind"], nanoseconds(machine, event["timestamp"]))
        fields = ("sequence", "core", "asid", "first", "second")
        assert {key: arguments[key] for key in fields} == {key: event[key] for key in fields}
    events = machine.events(1_000_000)
    assert [found[one.sequence][2]["meaning"] for one in events] == [
        meaning(one, events.names) for one in events
    ]
    return listed


def named(trace):
    return [(name, at, arguments) for track in trace.tracks for at, name, arguments in track.instants]


@pytest.mark.parametrize("source", ["recorded", "unrecorded"])
def test_counts_and_events_are_those_of_the_commands(source, request):
    machine, found, trace, *_ = request.getfixturevalue(source)
    assert_figures(machine, trace)
    listed = assert_events(machine, trace)
    assert trace.times == sorted(trace.times)
    assert trace.times[-1] <= nanoseconds(machine, machine.stats().time.now)
    level = trace.track("pressure level").counts
    changes = [event for event in listed if event["kind"] == "PressureChange"]
    expected = [(nanoseconds(machine, event["timestamp"]), event["second"]) for event in changes]
    assert len(changes) > 2
    assert level[-len(changes) :] == expected
    assert found.events == len(named(trace))
    assert found.slices == len(trace.slices())
    assert found.counts == sum(len(track.counts) for track in trace.tracks)
    assert found.tracks + found.counters == len(trace.tracks)
    assert found.seconds == pytest.approx((trace.times[-1] - trace.times[0]) / 1e9, abs=1e-6)


def test_the_recording_has_each_count_before_the_stop(recorded):
    machine, _, trace = recorded
    counters = [track for track in trace.tracks if track.unit is not None]
    assert len(counters) == 8
    now = nanoseconds(machine, machine.stats().time.now)
    # One at the stop would be another one than the recording's last.
    assert [track.name for track in counters if track.counts[-1][0] >= now] == []
    faults = sum(machine.stats().counters[name] for name in FAULTS)
    assert len(trace.track("lazy pages pending").counts) > faults / 2
    assert min(value for _, value in trace.track("free frames").counts) < 1000


def test_counts_are_those_of_the_kernels_own_shell(unrecorded):
    _, _, trace, shell = unrecorded
    counts, pool, lazy = last_counts(trace), figures(shell["p"]), figures(shell["l"])
    assert counts["free frames"] == pool["free_frames"]
    assert counts["cached frames"] == pool["cached_frames"]
    for name in ("reserved", "allocated", "zero", "pending"):
        assert counts[f"lazy pages {name}"] == lazy[f"{name}_pages"]
    assert counts["stack pages mapped"] == figures(shell["d"])["mapped"] // PAGE
    strategies = table(shell["p"], "strategy")
    runs = {row["strategy"].replace(" ", ""): row["runs"] for row in strategies}
    assert {name: len(trace.slices(name)) for name in runs} == runs
    assert sum(runs.values()) == figures(shell["s"])["optimization_events"]


def test_events_that_were_overwritten_are_in_the_recording(recorded):
    machine, _, trace = recorded
    numbers = sorted(arguments["sequence"] for _, _, arguments in named(trace))
    assert numbers == list(range(1, machine.events(0).recorded + 1))


def test_a_recording_without_its_beginning_is_right_from_there_on(tinyos_kernel, tmp_path):
    options = QemuOptions(kernel=tinyos_kernel, record=True, records=40_000)
    with TinyOS.boot(options=options) as machine:
        machine.shell("spawn hog 4 20")
        machine.shell("hold")
        with machine.stopped():
            found = machine.timeline(tmp_path / "timeline")
            trace = read(tmp_path / "timeline")
            assert_figures(machine, trace)
            assert_events(machine, trace)
            tasks = {task.id: task.run_time for task in (entry.task for entry in machine.tasks())}
            for task, turns in turns_of(trace).items():
                ended = sum(one.end - one.begin for one in turns if "end" not in one.arguments)
                assert ended <= nanoseconds(machine, tasks[task])
    assert any("the recording has overwritten" in note for note in found.notes)
    turns = sorted((one.begin, one.end) for _, one in trace.slices("running"))
    assert len(turns) > 20
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(turns))


def test_each_turn_of_each_task_is_there_to_the_count_of_the_timer(recorded):
    machine, _, trace = recorded
    tasks = machine.json("tasks")["tasks"]
    assert sum(task["switch_count"] for task in tasks) > 100
    for task in tasks:
        track = trace.track(f"task {task['id']} ({task['name']})")
        turns = [one for one in track.slices if one.name == "running"]
        ended = [one for one in turns if "end" not in one.arguments]
        # The shell began to run without a switch.
        assert len(turns) == task["switch_count"] + (task["id"] == 0)
        # `run_time` is what it was when the last of them ended.
        assert sum(one.end - one.begin for one in ended) == nanoseconds(machine, task["run_time"])
        assert {one.arguments["task"] for one in turns} == {task["id"]}
    turns = sorted((one.begin, one.end) for _, one in trace.slices("running"))
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(turns))


def test_each_fault_is_a_slice_in_a_turn_of_its_task(recorded):
    machine, _, trace = recorded
    stats = machine.json("stats")
    lazy = trace.slices("lazy fault")
    assert len(lazy) == sum(stats["counters"][name] for name in FAULTS)
    assert len(trace.slices("stack growth")) == stats["stats"]["total_stack_growth_events"]
    times = {arguments["sequence"]: at for _, at, arguments in named(trace)}
    for track, one in [*lazy, *trace.slices("stack growth")]:
        assert (one.parent.name, one.parent.arguments["task"]) == ("running", int(track.name.split()[1]))
        first = one.arguments["first event"]
        for number in range(first, first + one.arguments["events"]):
            assert one.begin <= times[number] <= one.end
        assert one.arguments["instructions"] > 10
    # A fault takes some microseconds of a core that executes some hundred instructions in one.
    lengths = sorted(one.end - one.begin for _, one in lazy)
    assert 100 < lengths[len(lengths) // 2] < 10_000_000


def test_events_are_on_the_tracks_of_their_tasks(recorded):
    machine, _, trace = recorded
    stacks = {one.id: one.owner for one in machine.stacks() if one.is_active}
    for track, _, arguments in trace.instants("TaskStarted") + trace.instants("TaskEnded"):
        assert track.name.startswith(f"task {arguments['first']} ")
    newest = {arguments["first"]: track.name for track, _, arguments in trace.instants("StackGrowth")}
    for stack, owner in stacks.items():
        assert newest[stack].startswith(f"task {owner} ")
    assert all(track.name == "kernel" for track, _, _ in trace.instants("StrategyRun"))


def test_strategies_are_slices_from_their_work_to_their_event(recorded):
    machine, _, trace = recorded
    runs = trace.track("strategies").slices
    events = [(at, arguments) for _, at, arguments in trace.instants("StrategyRun")]
    assert len(runs) == machine.stats().stats.optimization_events == len(events)
    assert [(one.end, one.arguments["event"], one.arguments["gain"]) for one in runs] == [
        (at, arguments["sequence"], arguments["second"]) for at, arguments in events
    ]
    assert any(one.end > one.begin for one in runs)


def test_without_a_recording_a_note_says_what_is_not_known(unrecorded):
    machine, found, trace, _ = unrecorded
    assert found.sources == ("events",)
    ((track, turn),) = trace.slices("running")
    current = machine.json("tasks")["current"]
    assert (track.name.split()[1], turn.arguments["end"]) == (str(current), "not seen: it may have run on")
    assert len([note for note in found.notes if "who ran when" in note]) == 1
    assert trace.slices("lazy fault") == []


def test_the_command_writes_the_same_and_says_so(recorded, tmp_path):
    machine, found, trace = recorded
    said = machine.json(f"timeline {tmp_path / 'gdb.pftrace'}")
    validate(said)
    assert said["notes"] == []
    with pytest.raises(SessionError, match=r"--seconds needs tinyos-repl, or TinyOS\.timeline"):
        machine.json(f"timeline {tmp_path / 'none.pftrace'} --seconds 2")
    with pytest.raises(SessionError, match="the target is stopped, and does nothing to watch"):
        machine.timeline(tmp_path / "none.pftrace", seconds=1)
    assert said["sources"] == ["events", "recording"]
    assert {key: said[key] for key in ("slices", "events", "counts", "tracks")} == {
        key: getattr(found, key) for key in ("slices", "events", "counts", "tracks")
    }
    again = read(tmp_path / "gdb.pftrace")
    assert again.times[:-1] == trace.times[:-1]
    text = machine.gdb(f"tinyos timeline {tmp_path / 'gdb.pftrace'}")
    assert " ".join(text.split()).startswith(f"Wrote {tmp_path / 'gdb.pftrace'}: ")
    assert f"{found.slices:,} slices, {found.events:,} events" in " ".join(text.split())
    assert [one.name for one in tmp_path.iterdir()] == ["gdb.pftrace"]


def test_a_running_kernel_is_watched_without_a_stop(boot, tmp_path):
    machine, path = boot(), tmp_path / "watched.pftrace"
    found = machine.timeline(path, seconds=1.0)
    assert not machine.has_debugger
    machine.shell("hold")
    trace = read(path)
    assert found.sources == ("events", "snapshots")
    assert trace.times == sorted(trace.times)
    assert len(trace.track("stack pages mapped").counts) > 1
    runs = turns_of(trace)
    assert len(named(trace)) == found.events > 1000
    with machine.stopped():
        listed = {one.sequence: one for one in machine.events(1_000_000)}
        for name, at, arguments in named(trace):
            event = listed.get(arguments["sequence"])
            assert event is None or (name, at) == (event.kind, nanoseconds(machine, event.timestamp))
        for entry in machine.tasks():
            known = runs.get(entry.task.id, [])
            assert len(known) <= entry.task.switch_count + 1
            assert sum(one.end - one.begin for one in known) <= nanoseconds(machine, entry.ran) + 1000
    ordered = sorted((one.begin, one.end) for found in runs.values() for one in found)
    assert len(ordered) > 10
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ordered))


def turns_of(trace):
    found = {}
    for _, one in trace.slices("running"):
        found.setdefault(one.arguments["task"], []).append(one)
    return found


def test_what_happens_in_a_with_is_in_its_timeline(boot, tmp_path):
    machine, path = boot(), tmp_path / "with.pftrace"
    before = machine.shell("tasks")
    with machine.timeline_of(path) as following:
        assert following.written is None
        machine.shell("spawn hog 4 20")
    trace = read(path)
    assert following.written.path == str(path)
    (name,) = {track.name for track, _, _ in trace.instants("TaskStarted")} - {
        f"task {row['task']} ({row['name']})" for row in table(before, "task")
    }
    assert name.endswith("(hog)")
    with pytest.raises(ZeroDivisionError), machine.timeline_of(tmp_path / "failed.pftrace"):
        raise ZeroDivisionError
    assert read(tmp_path / "failed.pftrace").times


def test_a_machine_that_ends_leaves_what_was_seen(boot, tmp_path):
    machine, path = boot(), tmp_path / "ended.pftrace"
    following = machine.timeline_of(path)
    following.__enter__()
    os.kill(machine.qemu.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not following.has_ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(EndedError, match="QEMU was killed by SIGKILL"):
        following.__exit__(None, None, None)
    assert read(path).instants("TaskStarted")


def test_a_full_disk_is_one_line_and_leaves_nothing(recorded, tmp_path):
    machine, *_ = recorded
    place = tmp_path / "missing" / "timeline"
    with pytest.raises(SessionError, match=rf"cannot write {place}: No such file or directory"):
        machine.timeline(place)
    with pytest.raises(SessionError, match=r"cannot write /dev/null: it is not a regular file"):
        machine.json("timeline /dev/null")
    assert list(tmp_path.iterdir()) == []


def test_perfettos_own_trace_processor_finds_the_same(recorded, tmp_path):
    """Its binary is fetched on first use; where it cannot be had, only the descriptors read the trace."""
    processor = pytest.importorskip("perfetto.trace_processor")
    machine, _, trace = recorded
    path = tmp_path / "timeline"
    machine.timeline(path)
    try:
        opened = processor.TraceProcessor(trace=str(path))
    except (subprocess.CalledProcessError, OSError) as error:
        pytest.skip(f"no trace processor: {error}")
    with opened:
        count = "select count(*) as found from"
        (slices,) = opened.query(f"{count} slice where dur > 0 or name = 'running'")
        assert slices.found >= len([one for _, one in trace.slices() if one.end > one.begin])
        (instants,) = opened.query(f"{count} slice where name = 'LazyAllocate'")
        assert instants.found == len(trace.instants("LazyAllocate"))
        rows = opened.query(
            "select t.name as name, c.value as value from counter c "
            "join track t on c.track_id = t.id order by c.ts"
        )
        assert {row.name: int(row.value) for row in rows} == last_counts(trace)
