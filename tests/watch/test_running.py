"""A running kernel watched through its mapped RAM, compared with what GDB reads at a stop."""

import os
import signal
import time
from dataclasses import asdict

import pytest

from gdbplugin.kernel.kernel import MANAGER
from gdbplugin.session import SessionError
from gdbplugin.session.errors import EndedError, ReadFailedError, WaitTimeoutError
from gdbplugin.session.ram import Watch
from tests.watch.invariants import Observer

SNAPSHOTS = 200
PATIENCE_SECONDS = 60.0


@pytest.fixture
def watch(machine):
    with machine.watch() as watch:
        yield watch


def test_a_snapshot_is_what_gdb_reads_at_a_stop(machine, watch):
    with machine.stopped():
        report, snapshot = stopped_between_changes(machine), watch.snapshot(lazy=True)
        events = machine.json("events 256")["events"]
        # GDB's is from the timer's registers, which are not in RAM: both are exact to a tick.
        assert snapshot.clock.frequency == report["time"]["frequency"]
        assert abs(snapshot.clock.now - report["time"]["now"]) < snapshot.clock.frequency / 10
    assert asdict(snapshot.stats) == report["stats"]
    assert snapshot.counters.counters == report["counters"]
    assert plain(snapshot.stacks.stacks) == report["stacks"]
    assert plain(snapshot.tasks.tasks) == report["tasks"]
    assert snapshot.tasks.current == report["current_task"]
    assert plain(snapshot.spaces.spaces) == report["context"]["spaces"]
    assert asdict(snapshot.spaces.invalidations) == report["context"]["invalidations"]
    assert snapshot.pressure.pressure.level == report["pressure"]["level"]
    assert plain(snapshot.pressure.pressure.strategies) == report["pressure"]["strategies"]
    assert asdict(snapshot.pressure.frames).items() <= report["frames"].items()
    assert plain(snapshot.lazy.ranges) == report["lazy"]["ranges"]
    assert plain(snapshot.lazy.pages) == report["pages"]
    assert plain(snapshot.events.events) == events
    assert snapshot.failure is None
    assert (snapshot.findings, snapshot.notes) == ((), ())


def plain(rows):
    """Dataclasses as in JSON."""
    return [asdict(row) for row in rows]


def stopped_between_changes(machine):
    """GDB's report of a machine that is stopped when no change is under way."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (report := machine.json("report"))["changing"]:
        assert time.monotonic() < deadline, "the kernel was stopped during a change each time"
        machine.resume()
        machine.interrupt()
    return report


def test_a_snapshot_needs_no_stop_and_no_debugger(machine, watch):
    first = watch.snapshot()
    assert first.counters.since is None
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (later := watch.snapshot()).tasks.tick_count == first.tasks.tick_count:
        assert time.monotonic() < deadline, "the kernel does not tick"
    assert later.clock.now > first.clock.now
    assert later.counters.since.changes["ticks"] > 0
    assert later.counters.since.seconds > 0
    assert machine.running
    assert machine.last_stop is None, "it was stopped"


def test_snapshots_of_a_stress_test_are_consistent(machine, watch):
    """Hundreds of snapshots, while stress tests run one after another."""
    observer = Observer()
    tests = 0
    while observer.snapshots < SNAPSHOTS:
        machine.console.send("*t\r")
        while machine.console.transcript.count("stress test: ") == tests:
            observer.observe(watch.snapshot(timeout=PATIENCE_SECONDS))
        tests += 1
        machine.console.expect(r"stress test: passed\n", PATIENCE_SECONDS)
        machine.console.wait_for_prompt(PATIENCE_SECONDS)
    assert watch.torn > 0, "no copy was torn: the test shows nothing"
    assert len(observer.levels) > 1, "the pressure did not change"


def test_a_kernel_stopped_during_a_change_is_reported(machine, watch):
    """The session that stopped it shows it as it is; another cannot know of the stop, and times out."""
    counter = machine.kernel.layout.static(MANAGER).address
    image = machine.kernel.image
    other = Watch(machine.qemu.ram, image, machine.kernel.layout)
    with machine.stopped() as gdb:
        gdb.execute(f"with language rust -- watch *({counter:#x} as *mut u64)")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            gdb.execute("continue")
            word = machine.qemu.ram.word(image.physical(counter))
            if word % 2:
                break
            assert time.monotonic() < deadline, "no change began"
        snapshot = watch.snapshot()
        assert (snapshot.changing, snapshot.sequence) == (True, word)
        assert asdict(snapshot.stats) == machine.json("stats")["stats"]
        with pytest.raises(WaitTimeoutError, match=rf"does not finish its change .*{word}.* debugger"):
            other.snapshot(timeout=0.2)
        gdb.execute("delete")
    snapshot = other.snapshot(timeout=PATIENCE_SECONDS)
    assert not snapshot.changing
    assert snapshot.sequence > word


def test_a_guest_killed_meanwhile_is_an_error(machine, watch):
    watch.snapshot()
    os.kill(machine.qemu.pid, signal.SIGKILL)
    with pytest.raises(EndedError, match="QEMU was killed by SIGKILL"):
        watch_on(watch)


def watch_on(watch):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        watch.snapshot()


def test_a_failure_of_the_kernel_is_seen(machine, watch):
    machine.console.send("panic\r")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (snapshot := watch.snapshot()).failure is None:
        assert time.monotonic() < deadline, "no failure was recorded"
    assert snapshot.failure.kind_name == "panic"


def test_two_machines_do_not_mix(boot):
    machines = [boot(), boot()]
    machines[0].shell("pool 64")
    limits = [machine.watch().snapshot().pressure.frames.limit_frames for machine in machines]
    assert limits == [16384, 32768]


def test_a_kernel_not_set_up_yet_is_an_error(boot):
    watch = boot(paused=True).watch()
    with pytest.raises(ReadFailedError, match="has not set up its memory yet"):
        watch.snapshot()


def test_without_mapped_ram_the_reason_is_named(boot):
    with pytest.raises(SessionError, match=r"mapped RAM.*share_ram=False"):
        boot(share_ram=False).watch()


def test_after_the_session_no_ram_is_open(machine):
    watch = machine.watch()
    watch.snapshot()
    machine.close()
    assert not [fd for fd in os.listdir("/proc/self/fd") if "tinyos-ram" in link(fd)]
    for look in (watch.snapshot, machine.watch):
        with pytest.raises(EndedError):
            look()


def link(descriptor):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:  # The descriptor that listed the directory.
        return ""
