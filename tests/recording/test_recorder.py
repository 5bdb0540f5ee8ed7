"""What QEMU's plugin records, against the guest's memory and against a naive log."""

import time

import pytest

from gdbplugin.kernel.kernel import MANAGER, SCHEDULER
from gdbplugin.layout import cache
from gdbplugin.layout.elf import read_image
from gdbplugin.layout.types import locate_path
from gdbplugin.recording.ring import STORE, Recording
from gdbplugin.session import QemuOptions, SessionError, TinyOS
from gdbplugin.session.kernel_file import KernelFile
from tests.schemas.validation import validate

LAZY, MOVED, LINEAR = 0x2000_0000_4000, 0xA10_0000, 0xFFFF_0000_0000_0000


@pytest.fixture(scope="module")
def recorded(tinyos_kernel):
    """A machine that is recorded, held still."""
    with TinyOS.boot(options=QemuOptions(kernel=tinyos_kernel, record=True)) as machine:
        machine.shell("hold")
        yield machine


def every(_):
    return True


def stores(machine, wanted=every):
    """The recorded stores, oldest first."""
    recording = Recording(str(machine.qemu.recording))
    try:
        return [one for _, one in recording.records(lambda fields: fields[9] == STORE and wanted(fields))]
    finally:
        recording.close()


def asid_of(machine, page):
    """The ASID of the task that owns a lazy page: which one reserves first depends on the run."""
    owner = machine.lazy(page).page.page.owner
    return next(space.asid for space in machine.context().context.active if space.number == owner)


def statics(kernel_elf):
    """The physical ranges of the memory manager and of the scheduler."""
    image, layout = read_image(kernel_elf), cache.load(kernel_elf)
    found = (layout.static(name) for name in (MANAGER, SCHEDULER))
    return [range(start := image.physical(one.address), start + one.type.size) for one in found]


def test_the_last_record_of_each_word_is_what_memory_has(recorded, tinyos_kernel):
    # The pages of the statics have others as well: the mailbox writes to one of them, which is no core.
    kept = statics(tinyos_kernel)
    with recorded.stopped():
        last = {one.physical & ~7: one for one in stores(recorded)}
        roots = {space.table for space in recorded.context().context.active}
        known = {
            place: one
            for place, one in last.items()
            if one.root in roots or any(place in places for places in kept)
        }
        wrong = {hex(place): one for place, one in known.items() if recorded.qemu.ram.word(place) != one.new}
    assert len(known) > 50_000
    assert wrong == {}


def test_each_change_begins_where_the_one_before_ended(recorded, tinyos_kernel):
    kept = statics(tinyos_kernel)
    known = {}
    for one in stores(recorded):
        place = one.physical & ~7
        assert one.old != one.new
        # A frame that was no table for a while has been written since; the mailbox is no core.
        if any(place in places for places in kept):
            assert known.get(place, one.old) == one.old
        known[place] = one.new


def test_descriptors_are_of_the_addresses_that_the_tables_say(recorded):
    """For descriptors of spaces that are there: the walk of their input address reads them."""
    with recorded.stopped():
        spaces = {space.table: space for space in recorded.context().context.active if space.number}
        last = {one.physical: one for one in stores(recorded, lambda fields: fields[12])}
        chosen = [one for one in last.values() if one.root in spaces and one.new & 1]
        assert {one.table_level for one in chosen} == {0, 1, 2, 3}
        for one in chosen[:: max(1, len(chosen) // 100)]:
            walk = recorded.translate(one.input, asid=spaces[one.root].asid)
            steps = {step.step.level: step.step for step in walk.levels}
            found = steps[one.table_level]
            assert (found.address, found.descriptor) == (one.physical, one.new)


def test_a_page_that_moved_has_its_whole_history(recorded):
    recorded.shell(f"migrate {LAZY:#x} {MOVED:#x}")
    asid = asid_of(recorded, LAZY)
    changes = list(recorded.history(page=LAZY, asid=asid, n=10_000))
    written = [one for one in changes if one.what == f"level 3 descriptor of {LAZY:#x}"]
    assert written[0].before == "invalid"
    # Ageing may clear the access flag afterwards.
    made = next(one for one in reversed(written) if one.before == "invalid")
    broken = written[written.index(made) - 1]
    assert made.after.startswith(f"page of 4 KiB at {MOVED:#x} rw- at EL0")
    # Break before make: it was invalid between, and the TLB had it no more.
    assert broken.after == "invalid"
    between = changes[changes.index(broken) : changes.index(made)]
    assert [one.what for one in between if one.kind == "TLB invalidation"] == [
        f"TLBI VAE1 {LAZY:#x} ASID {asid}"
    ]
    assert "write_descriptor" in {one.function.rpartition("::")[2] for one in written}
    assert next(one.event.kind for one in changes if one.event is not None) == "LazyAllocate"
    frame = list(recorded.history(physical=MOVED, n=10_000))
    use = "DYNAMIC_MEMORY_MANAGER.frames.info[8448].usage"
    assert ("Free", "LazyPage") in {(one.before, one.after) for one in frame if one.what == use}
    (moved,) = (one.event for one in frame if one.event is not None and one.event.kind == "PageMoved")
    assert moved.second == MOVED


def test_a_page_that_is_gone_still_has_a_history(boot):
    machine = boot(record=True)
    machine.shell("hold")
    machine.shell("spawn hog 4 20")
    reserved = [one for one in machine.events(400) if one.kind == "LazyReserve"][-1]
    task = machine.shell("tasks").splitlines()[-1].split()[0]
    machine.shell(f"kill {task}")
    changes = machine.history(page=reserved.first, n=10_000)
    written = [one for one in changes if one.what == f"level 3 descriptor of {reserved.first:#x}"]
    assert (written[0].before, written[-1].after) == ("invalid", "invalid")
    assert {one.task for one in written} <= {int(task), None}


def test_a_writer_has_the_functions_that_led_to_it(recorded, kernel_elf):
    manager = cache.load(kernel_elf).static(MANAGER)
    entry = locate_path(manager.type, "lazy_allocator.zero_frame")
    (changed,) = recorded.history(manager.address + entry.offset)
    assert (changed.what, changed.after) == ("DYNAMIC_MEMORY_MANAGER.lazy_allocator.zero_frame", "0x8000000")
    asid = asid_of(recorded, LAZY)
    root = next(space.table for space in recorded.context().context.active if space.asid == asid)
    found = recorded.writer(LINEAR + root + 8 * (LAZY >> 39))
    assert found.write.what.startswith("level 0 descriptor of 0x200000000000")
    names = [frame.function.rpartition("::")[2] for frame in found.backtrace]
    assert names[-1] == "exception_vectors", names


def test_it_has_what_a_log_of_all_stores_has(tinyos_kernel, monkeypatch):
    """By instruction count two boots are alike. In the second one each store is logged, without a filter."""
    places, found = KernelFile.recorded_places, []
    for more in ([], ["all=on"]):
        monkeypatch.setattr(KernelFile, "recorded_places", lambda file, more=more: [*places(file), *more])
        options = QemuOptions(kernel=tinyos_kernel, record=True, icount_shift=3)
        with TinyOS.boot(options=options) as machine, machine.stopped():
            found.append(stores(machine, lambda fields: fields[10] == 0))
    filtered, every = found
    kept = statics(tinyos_kernel)
    first, last = every[0].instructions, min(every[-1].instructions, filtered[-1].instructions)
    assert last - first > 1_000_000
    logs = [
        [
            # The times that the kernel notes may differ by some instructions (QEMU 11).
            (one.instructions, one.pc, one.physical, one.size, one.level, one.input, one.root)
            for one in log
            if first < one.instructions < last
            and one.old != one.new
            and (one.level or any(one.physical in place for place in kept))
        ]
        for log in (filtered, every)
    ]
    assert len(logs[0]) > 1000
    assert logs[0] == logs[1]


def test_an_idle_machine_does_not_overwrite_its_recording(recorded):
    """With a clock of instructions it would have minutes of ticks in a second."""
    recording = Recording(str(recorded.qemu.recording))
    before = recording.header.written
    time.sleep(1)
    written = recording.header.written - before
    recording.close()
    # 250 ticks, of about 15 records each.
    assert 0 < written < 30_000


def test_without_a_recording_the_command_says_what_to_do(shared_machine):
    for command in ("history --stack 1", "writer 0xffff800000080000"):
        with pytest.raises(SessionError, match="is not recorded: start it with `scripts/run --record`"):
            shared_machine.json(command)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("history", "give one of ADDRESS, --page, --stack, --physical, --task"),
        ("history --stack 1 --task 2", "give one of ADDRESS, --page, --stack, --physical, --task"),
        ("history --stack 1 --asid 2", "--asid goes with --page"),
        ("history --stack 99", "no stack with ID 99"),
        ("history --page 0x200000000000 --asid 999", "no address space with ASID 999"),
        ("history --task nobody", "no task nobody"),
        ("writer 0x10", "0x10 is not mapped here"),
        ("writer 0xffff800000080000", "the recording has no write to 0xffff800000080000: it has"),
        ("writer", "give one of ADDRESS"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(recorded, command, said):
    with pytest.raises(SessionError, match=said):
        recorded.json(command)


@pytest.mark.parametrize("command", ["history --page 0x200000004000", "writer --stack 1", "history --task 1"])
def test_objects_have_their_schema_and_the_text_fits(recorded, command):
    validate(recorded.json(command))
    with recorded.stopped():
        text = recorded.gdb(f"tinyos {command}")
    assert max(map(len, text.splitlines())) <= 100
