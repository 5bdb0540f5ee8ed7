"""Going back: to an exact instruction, with the memory and the registers of then, and on from there."""

import os
import random
import signal
import threading
import time
from itertools import islice, pairwise

import pytest

from gdbplugin.session import SessionError, TinyOS
from gdbplugin.session.errors import CommandFailedError
from gdbplugin.session.recorder import DEFAULT_RECORDS
from tests.recording.past import FIRST, Past, counter, field, newest, pc_of, stores_to
from tests.repl.conversation import Conversations
from tests.schemas.validation import validate

POSITIONS = 100

pytestmark = pytest.mark.xdist_group("travel")


@pytest.fixture(scope="module")
def seed():
    """$TINYOS_SEED, or another one each time."""
    return int(os.environ.get("TINYOS_SEED") or random.randrange(1 << 32))


@pytest.fixture(scope="module")
def lived(tinyos_kernel, seed):
    """A machine at the end of its past, with checkpoints `one`, `two`, `three`; tests leave it there.

    `stops` has what was there at stops on the way forward.
    """
    chance = random.Random(seed)
    with TinyOS.boot(tinyos_kernel, record=True) as machine:
        past = Past(machine)
        for name in ("one", "two", "three"):
            machine.shell("t" if name == "three" else "*t", 60)
            time.sleep(0.2 * chance.random())
            machine.interrupt()
            machine.checkpoint(name)
            past.stops[past.here()] = past.state()
            machine.resume()
        machine.shell("hold")
        machine.interrupt()
        past.end = past.here()
        past.stops[past.end] = past.state()
        yield past
        past.close()


@pytest.fixture
def at_end(lived):
    """The same, and it is at its end again after the test."""
    yield lived
    lived.machine.rewind(end=True)
    assert lived.here() == lived.end
    assert lived.machine.checkpoints().end == lived.end


def test_each_of_100_moments_is_the_same_each_time(at_end, seed):
    chance = random.Random(seed + 1)
    moments = iter(lambda: chance.randrange(FIRST, at_end.end), None)
    # After a stop a replay is certain only from the next checkpoint on: see the next test.
    chosen = list(islice((one for one in moments if not at_end.is_disturbed(one)), POSITIONS))
    first = {position: at_end.go(position) for position in sorted(chosen)}
    assert len({memory for memory, _ in first.values()}) > POSITIONS // 2
    chance.shuffle(chosen)
    for position in chosen:
        assert at_end.go(position) == first[position], f"TINYOS_SEED={seed}, position {position}"


def test_just_after_a_stop_a_replay_is_the_same_or_says_that_it_differs(at_end, seed):
    for stop in at_end.stops:
        position = min(stop + 100_000, at_end.end)
        findings = [tuple(at_end.machine.rewind(to=position).findings) for _ in range(2)]
        assert at_end.here() == position
        assert all("the past is not certain after it" in str(one) for one in findings if one), seed


def test_soon_after_a_stop_there_is_a_checkpoint(tinyos_kernel):
    """So hardly anything is uncertain; on a busy host QEMU may be late."""
    with TinyOS.boot(tinyos_kernel, record=True) as machine:
        past, after = Past(machine), []
        for _ in range(8):
            machine.resume()
            time.sleep(0.1)
            machine.interrupt()
            stop = past.here()
            time.sleep(0.12)  # After another checkpoint it waits for so long.
            machine.resume()
            time.sleep(0.1)
            machine.interrupt()
            later = [one.instructions - stop for one in machine.checkpoints() if one.instructions > stop]
            after.append(min(later, default=1 << 64))
        past.close()
    assert sum(count < 10_000 for count in after) >= 4, after


def test_a_moment_is_what_was_there_on_the_way_forward(at_end, seed):
    assert len(at_end.stops) == 4
    for position, (memory, registers) in at_end.stops.items():
        memory_again, registers_again = at_end.go(position)
        assert memory_again == memory, f"TINYOS_SEED={seed}, position {position}"
        # Between two instructions an interrupt may have come already, or not yet.
        if pc_of(registers_again) == pc_of(registers):
            assert registers_again == registers, f"TINYOS_SEED={seed}, position {position}"


def test_before_an_event_the_kernel_has_not_recorded_it(at_end, kernel_elf, seed):
    machine, (_, physical) = at_end.machine, counter(kernel_elf)
    recorded = {one.new: one for one in stores_to(at_end, physical)}
    known = [event.sequence for event in machine.events(4096) if event.sequence in recorded]
    # A change of the manager, which an odd sequence number begins, may record several events.
    begun = [one.instructions for one in stores_to(at_end, field(kernel_elf, "sequence")[1]) if one.new % 2]
    for number in random.Random(seed + 2).sample(known[20:-1], 6):
        began = max(moment for moment in begun if moment < recorded[number].instructions)
        before = max(other for other, one in recorded.items() if one.instructions < began)
        said = f"TINYOS_SEED={seed}, event {number}"
        journey = machine.rewind(number)
        assert journey.what.startswith(f"before event {number}, "), said
        assert journey.is_past
        assert newest(machine) == before < number, said
        # The number first, then the event.
        machine.rewind(to=recorded[number + 1].instructions - 1)
        assert newest(machine) == number, said
        machine.rewind(end=True)


def test_before_a_kind_of_event_is_before_the_last_such(at_end):
    machine = at_end.machine
    event = [event for event in machine.events(4096) if event.kind == "StackGrowth"][-1]
    after = machine.stacks(event.first).stacks.stacks[0].growth_count
    journey = machine.rewind(before=f"stack-growth stack={event.first}")
    assert journey.what == f"before event {event.sequence}, StackGrowth"
    assert machine.stacks(event.first).stacks.stacks[0].growth_count == after - 1


def test_a_checkpoint_is_gone_back_to_by_its_name_and_number(at_end):
    machine = at_end.machine
    named = {one.name: one for one in machine.checkpoints() if one.name}
    assert list(named) == ["start", "one", "two", "three"]
    del named["start"]
    for name, one in named.items():
        for word in (name, one.id):
            journey = machine.rewind(word)
            assert journey.instructions == one.instructions == at_end.here()
            assert at_end.memory() == at_end.stops[one.instructions][0]
    assert machine.rewind(end=True).instructions == at_end.end
    validate(machine.json("checkpoints"))
    validate(machine.json("rewind two"))
    validate(machine.json("back 5"))


def test_after_going_back_everything_is_as_of_that_moment(at_end, kernel_elf):
    machine, (address, _) = at_end.machine, counter(kernel_elf)
    before = machine.console.transcript
    whole = machine.history(address, n=10_000)
    position = machine.rewind("one").instructions
    assert machine.check().findings == []
    past = machine.history(address, n=10_000)
    assert list(past) == [one for one in whole if one.instructions <= position]
    assert 0 < len(past) < len(whole)
    assert newest(machine) == int(past.changes[-1].after.replace(",", ""))
    machine.rewind(end=True)
    assert list(machine.history(address, n=10_000)) == list(whole)
    with machine.stopped():
        # What was said on the way through the past would be there by now.
        assert machine.console.transcript == before


def test_the_difference_of_checkpoints_is_that_of_dumps_of_them(at_end, tmp_path):
    machine = at_end.machine
    found = machine.diff("one", "two")
    assert at_end.here() == at_end.end
    dumps = []
    for name in ("one", "two"):
        machine.rewind(name)
        dumps.append(tmp_path / name)
        machine.dump(dumps[-1])
    other = machine.diff(*dumps)
    assert len(found.rows) > 10
    assert found.rows == other.rows
    assert (found.event_count, found.seconds) == (other.event_count, other.seconds)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("rewind", "give one of EVENT or CHECKPOINT, --before, --to, --write, --end"),
        ("rewind 5 --end", "give one of EVENT or CHECKPOINT, --before"),
        ("rewind --to 0 --end", "give one of EVENT or CHECKPOINT, --before"),
        ("rewind --to 99999999999999", "it has executed [0-9]+ instructions only"),
        ("rewind --to 5", "there is no checkpoint before it"),
        ("rewind c999", r'"c999" is neither an event\'s number nor a checkpoint \(known: .*one.*\)'),
        ("rewind växt", '"växt" is neither an event'),
        ("rewind 99999999", "event 99999999 is not in the recording"),
        ("rewind --before nonsense", 'the recording has no event "nonsense"'),
        ('rewind --before "stack-growth stack=x"', '"stack=x" is not one of stack=N, asid=N, task=N'),
        ("rewind --before 'stack-growth stacks=1'", '"stacks=1" is not one of stack=N'),
        ("rewind --write 0x10", "0x10 is not mapped here"),
        ("back 99999999999999", "the machine has executed [0-9,]+ instructions only"),
        ("diff c998 now", "there is no checkpoint c998"),
    ],
)
def test_what_cannot_be_is_one_sentence(at_end, command, said):
    with pytest.raises(SessionError, match=said) as caught:
        at_end.machine.json(command)
    assert "\n" not in str(caught.value).strip()
    assert at_end.here() == at_end.end


def end_of_longest_way(machine):
    """The last moment of the longest way between two checkpoints."""
    moments = [one.instructions for one in machine.checkpoints()]
    return max((after - before, after - 1) for before, after in pairwise(moments))[1]


def test_a_replay_that_is_interrupted_leaves_a_machine_that_goes_back(at_end, seed):
    position = end_of_longest_way(at_end.machine)
    there, calls = at_end.go(position), []

    def progress():
        calls.append(at_end.recording.instructions[0])
        if len(calls) == 5:
            raise KeyboardInterrupt

    at_end.recording.travel(FIRST)
    with pytest.raises(KeyboardInterrupt):
        at_end.recording.travel(position, progress)
    assert at_end.machine.qemu.status == "paused"
    assert at_end.go(position) == there, f"TINYOS_SEED={seed}"


def test_ctrl_c_in_gdb_ends_a_replay(at_end):
    """At some moment of the longest way between two checkpoints: some come too early or too late."""
    machine = at_end.machine
    position = end_of_longest_way(machine)
    there = at_end.go(position)
    ended = 0
    for delay in (0.005 * step for step in range(1, 61)):
        machine.rewind(to=FIRST)
        timer = threading.Timer(delay, os.kill, (machine.debugger.pid, signal.SIGINT))
        timer.start()
        try:
            machine.gdb(f"tinyos rewind --to {position}")
        except CommandFailedError as error:
            assert any(word in str(error) for word in ("Quit", "KeyboardInterrupt", "interrupted")), error  # noqa: PT017
            ended += 1
        timer.join()
        assert machine.qemu.status == "paused"
        assert machine.json(f"rewind --to {position}")["instructions"] == position
        assert at_end.state() == there
        if ended == 2:
            break
    assert ended == 2


def test_with_the_hosts_clock_it_cannot_go_back(boot):
    machine = boot(record=True, host_clock=True)
    for command in ("rewind --end", "back", "checkpoint", "checkpoints"):
        with pytest.raises(
            SessionError, match=r"cannot go back, as it has the host's clock \(--host-clock\)"
        ):
            machine.json(command)
    assert len(machine.history(stack=1)) > 0


def test_without_a_recording_it_says_what_to_do(shared_machine):
    for command in ("rewind --end", "back", "checkpoint", "checkpoints"):
        with pytest.raises(SessionError, match="is not recorded: start it with `scripts/run --record`"):
            shared_machine.json(command)


def test_a_dump_cannot_go_back(shared_machine, tinyos_kernel, tmp_path):
    shared_machine.dump(tmp_path / "dump")
    with TinyOS.open_dump(tmp_path / "dump", tinyos_kernel) as dump:
        for go in (dump.back, lambda: dump.rewind(end=True), dump.checkpoints, dump.checkpoint):
            with pytest.raises(SessionError, match="is not recorded"):
                go()


def test_it_is_the_same_moment_by_every_way_there(tinyos_kernel):
    conversations = Conversations(tinyos_kernel, records=DEFAULT_RECORDS)
    try:
        machine = conversations.repl.session
        machine.shell("*t", 60)
        machine.interrupt()
        past = Past(machine)
        position = past.here() - 12_345
        there, found = past.go(position), {}

        def at_the_prompt(person):
            person.says_and_sees(f"rewind --to {position}", "This is the past")

        conversations(at_the_prompt)
        found["prompt"] = past.state()
        machine.rewind(end=True)
        found["library"] = (machine.rewind(to=position), past.state())[1]
        machine.rewind(end=True)
        machine.mi(f"-tinyos-rewind --to {position}")
        found["GDB/MI"] = past.state()
        machine.rewind(end=True)
        machine.gdb("tinyos threads on", timeout=60)
        machine.gdb(f"tinyos rewind --to {position}")
        found["threads"] = past.state()
        shown = [one["frame"]["addr"] for one in machine.mi("-thread-info").payload["threads"]]
        assert int(past.core_pc(), 16) in {int(one, 16) for one in shown}
        assert {way: state == there for way, state in found.items()} == dict.fromkeys(found, True)
        past.close()
    finally:
        conversations.close()
