"""A machine that goes back and runs on from there: another future begins."""

import time

import pytest

from gdbplugin.recording.ring import RecordingError
from gdbplugin.session import SessionError, TinyOS
from tests.recording.past import FIRST, Past, counter, newest, stores_to

pytestmark = pytest.mark.xdist_group("futures")


@pytest.fixture(scope="module")
def other(tinyos_kernel):
    """A machine whose past may be lost."""
    with TinyOS.boot(tinyos_kernel, record=True) as machine:
        past = Past(machine)
        yield past
        past.close()


@pytest.fixture
def running_on(other):
    """The same, stopped after some new past."""
    if not other.machine.running:
        other.machine.resume()
    other.machine.shell("*t", 60)
    other.machine.interrupt()
    return other


def test_before_the_last_write_the_word_has_its_old_value(running_on, kernel_elf):
    machine, (address, physical) = running_on.machine, counter(kernel_elf)
    last = stores_to(running_on, physical)[-1]
    machine.rewind(write=address)
    assert running_on.here() == last.instructions - 1
    assert machine.qemu.ram.word(physical) == last.old
    machine.gdb("stepi")
    assert machine.qemu.ram.word(physical) == last.new
    assert last.new == last.old + 1


def test_one_instruction_back_and_one_on(running_on):
    machine = running_on.machine
    # Interrupts are off there: none comes in between.
    machine.rewind(newest(machine) - 3)
    for _ in range(2):
        here, before = running_on.here(), running_on.core_pc()
        journey = machine.back()
        assert (journey.before, journey.instructions) == (here, here - 1)
        assert running_on.core_pc() != before
        assert journey.pc == int(running_on.core_pc(), 16)
        machine.gdb("stepi")
        assert (running_on.here(), running_on.core_pc()) == (here, before)
        machine.back(7)


def test_a_machine_that_runs_on_has_another_future(running_on):
    machine = running_on.machine
    machine.checkpoint("before")
    machine.resume()
    machine.shell("t")
    machine.interrupt()
    machine.checkpoint("of the old future")
    with machine.stopped():
        said = machine.gdb("tinyos rewind before")
    ahead = machine.checkpoints().end - running_on.here()
    assert f"{ahead:,} instructions" in " ".join(said.split())
    assert "If the machine runs on by itself from here, they are forgotten." in " ".join(said.split())
    position = running_on.here()
    assert "of the old future" in [one.name for one in machine.checkpoints()]
    machine.resume()
    time.sleep(0.2)
    machine.interrupt()
    found = machine.checkpoints()
    assert not found.is_past
    assert position < found.end
    assert "of the old future" not in [one.name for one in found]
    assert "before" in [one.name for one in found]
    header = running_on.recording.header
    assert header.known == header.written
    newer = [one.instructions for _, one in running_on.recording.records(lambda fields: fields[0] > position)]
    assert newer == sorted(newer)
    assert newer[-1] <= found.end
    # It lives: what is typed is answered, once.
    before = len(machine.console.transcript)
    machine.resume()
    assert "shell" in machine.shell("t")
    assert machine.console.transcript[before:].count("tinyos> ") == 1
    assert machine.check().findings == []


def test_checkpoints_can_be_taken_while_it_runs(running_on):
    machine = running_on.machine
    machine.resume()
    found = machine.checkpoint("växt")
    assert found.checkpoints[-1].name == "växt"
    assert not found.checkpoints[-1].is_automatic
    assert machine.rewind("växt").instructions == found.checkpoints[-1].instructions


def test_a_checkpoint_can_be_taken_at_the_latest_moment_only(running_on):
    machine = running_on.machine
    machine.back(1000)
    with pytest.raises(SessionError, match="the machine is in the past: let it run on first"):
        machine.checkpoint("too early")
    end = machine.rewind(end=True).instructions
    found = machine.checkpoint("at the end")
    assert (found.checkpoints[-1].name, found.checkpoints[-1].instructions) == ("at the end", end)
    assert not found.is_past


def test_a_running_machine_is_not_moved(running_on):
    running_on.machine.resume()
    with pytest.raises(RecordingError, match=r"^the machine runs: stop it first$"):
        running_on.recording.travel(FIRST)
