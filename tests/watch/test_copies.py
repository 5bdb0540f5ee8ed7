"""Whole and torn copies, in a RAM whose counters the test changes."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from gdbplugin.kernel.interface import FAILURE_MAGIC, FAILURE_RECORD
from gdbplugin.kernel.kernel import CHANGING, MANAGER, SCHEDULER
from gdbplugin.kernel.snapshot import Copies, NoMachine
from gdbplugin.layout.cache import StaticTable
from gdbplugin.layout.elf import ElfImage, Segment
from gdbplugin.layout.types import Array, Static, locate_path
from gdbplugin.machine import MachineError
from gdbplugin.session.errors import EndedError, KernelUnusableError, WaitTimeoutError
from gdbplugin.session.ram import Watch
from tests.kernel.synthetic import PLACES, STATIC_PHYSICAL, STATIC_VIRTUAL, U8, U32, World, encode, record

SIZE = 0x20_0000
BUILD_ID = bytes(range(20))
BUILD_ID_OFFSET = 0x1F_0000
FAILURE_OFFSET = 0x1E_0000
FAILURE = record("FailureRecord", magic=Array(U8, 8), kind=U32, core=U32, message=Array(U8, 32))
IMAGE = ElfImage(
    Path("kernel.elf"),
    183,
    0,
    (Segment(STATIC_VIRTUAL, STATIC_PHYSICAL, 0, SIZE, SIZE),),
    BUILD_ID,
    BUILD_ID_OFFSET,
)


class Ram:
    """The statics of a synthetic world. `meanwhile` is called before each bulk read."""

    def __init__(self, world):
        statics = world.build().read_physical(STATIC_PHYSICAL, SIZE)
        self.bytes = bytearray(statics)
        self.bytes[BUILD_ID_OFFSET : BUILD_ID_OFFSET + len(BUILD_ID)] = BUILD_ID
        self.meanwhile = lambda: None
        self.reads = []

    def read(self, address, length):
        self.meanwhile()
        self.reads.append((address, length))
        start = address - STATIC_PHYSICAL
        return bytes(self.bytes[start : start + length])

    def word(self, address):
        start = address - STATIC_PHYSICAL
        return int.from_bytes(self.bytes[start : start + 8], "little")

    def change(self, name, by=2):
        """Change the sequence counter of a static, as the kernel does."""
        start = PLACES[name]
        self.bytes[start : start + 8] = (self.word(STATIC_PHYSICAL + start) + by).to_bytes(8, "little")


@pytest.fixture
def world():
    return World()


@pytest.fixture
def ram(world):
    return Ram(world)


def layout_of(world):
    places = {**PLACES, FAILURE_RECORD: FAILURE_OFFSET}
    types = {**world.types, FAILURE_RECORD: FAILURE}
    return StaticTable(
        {name: Static(name, STATIC_VIRTUAL + places[name], type_) for name, type_ in types.items()}
    )


@pytest.fixture
def layout(world):
    return layout_of(world)


def test_a_whole_copy_has_every_object(ram, layout):
    snapshot = Watch(ram, IMAGE, layout).snapshot()
    assert (snapshot.torn, snapshot.sequence) == (0, 8)
    assert snapshot.stats.context_switch_count == 1234
    assert [stack.id for stack in snapshot.stacks.active] == [1, 2]
    assert snapshot.pressure.pressure.level == "Medium"
    assert [task.name for task in snapshot.tasks.tasks] == ["worker", ""]
    assert snapshot.spaces.of(2).asid == 12
    assert [event.kind for event in snapshot.events.events] == ["TaskStarted", "StackGrowth"]
    assert snapshot.frame_table.count()["Stack"] == 5
    assert snapshot.lazy.reserved_pages == 5
    assert snapshot.failure is None
    assert snapshot.findings == ()


def test_records_of_lazy_pages_are_read_only_on_request(ram, layout):
    pages = locate_path(layout.static(MANAGER).type, "lazy_allocator.pages")
    start = STATIC_PHYSICAL + PLACES[MANAGER] + pages.offset
    watch = Watch(ram, IMAGE, layout)
    ram.reads.clear()
    assert len(watch.snapshot().lazy.pages) == 0
    assert all(end <= start or address >= start + pages.type.size for address, end in reads(ram))
    assert [page.access_count for page in watch.snapshot(lazy=True).lazy.pages] == [0, 1, 2, 3, 4]


def reads(ram):
    return [(address, address + length) for address, length in ram.reads]


@pytest.mark.parametrize("name", [MANAGER, SCHEDULER])
def test_a_copy_torn_by_a_change_is_made_again(ram, layout, name):
    watch = Watch(ram, IMAGE, layout)
    switches = PLACES[MANAGER] + locate_path(layout.static(MANAGER).type, "stats.context_switch_count").offset
    left = [3, 2, 1]

    def change():
        if left:
            ram.bytes[switches] = left.pop()
            ram.change(name)

    ram.meanwhile = change
    snapshot = watch.snapshot()
    # Each copy takes three reads: all the changes happen during the first copy.
    assert (snapshot.torn, watch.torn) == (1, 1)
    assert snapshot.stats.context_switch_count % 256 == 3
    assert snapshot.sequence == (14 if name == MANAGER else 8)


def test_only_the_copy_is_decoded(ram, layout):
    """Nothing is read after the counters were compared: it would be from another moment."""
    watch = Watch(ram, IMAGE, layout)
    watch.snapshot()
    count = len(ram.reads)
    watch.snapshot()
    once = len(ram.reads) - count
    stats = locate_path(layout.static(MANAGER).type, "stats.context_switch_count")
    seen = itertools.count(1)

    def overwrite_after_the_last():
        if next(seen) > once:
            start = PLACES[MANAGER] + stats.offset
            ram.bytes[start : start + 4] = b"\xff" * 4

    ram.meanwhile = overwrite_after_the_last
    assert watch.snapshot().stats.context_switch_count == 1234
    assert next(seen) == once + 1


def test_findings_without_a_change_are_reported_again(ram, layout):
    policy = PLACES[MANAGER] + locate_path(layout.static(MANAGER).type, "stack_manager.stacks").offset + 5
    ram.bytes[policy] = 77
    watch = Watch(ram, IMAGE, layout)
    first, second = watch.snapshot(), watch.snapshot()
    assert [finding.found for finding in first.findings] == ["0x4d"]
    assert second.findings == first.findings
    assert second.stacks == first.stacks
    ram.bytes[policy] = 2
    third = watch.snapshot()
    assert third.findings == ()
    assert third.stacks.stacks[0].policy == "Predictive"


@pytest.mark.parametrize("name", [MANAGER, SCHEDULER])
def test_a_change_that_does_not_end_is_a_timeout(ram, layout, name):
    watch = Watch(ram, IMAGE, layout)
    ram.change(name, by=1)
    with pytest.raises(WaitTimeoutError, match=r"waited 0.05 s .* does not finish its change .* 9"):
        watch.snapshot(timeout=0.05)
    ram.change(name, by=1)
    assert watch.snapshot().torn == 0


def test_endless_changes_are_a_timeout(ram, layout):
    watch = Watch(ram, IMAGE, layout)
    ram.meanwhile = lambda: ram.change(MANAGER)
    with pytest.raises(WaitTimeoutError, match=r"each of \d+ was torn by a change"):
        watch.snapshot(timeout=0.05)


def test_a_kernel_that_failed_in_a_change_is_shown_as_it_is(ram, layout):
    watch = Watch(ram, IMAGE, layout)
    ram.change(MANAGER, by=1)
    failure = {"magic": FAILURE_MAGIC, "kind": 2, "message": b"no way out".ljust(32, b"\0")}
    encode(FAILURE, failure, ram.bytes, FAILURE_OFFSET)
    snapshot = watch.snapshot(timeout=0.05)
    assert snapshot.failure.message == "no way out"
    assert (snapshot.changing, snapshot.counters.changing) == (True, True)


@pytest.mark.parametrize("name", [MANAGER, SCHEDULER])
def test_a_kernel_stopped_in_a_change_is_shown_as_it_is(ram, layout, name):
    stopped = True
    watch = Watch(ram, IMAGE, layout, is_stopped=lambda: stopped)
    ram.change(name, by=1)
    snapshot = watch.snapshot(timeout=0.0)
    assert snapshot.changing
    assert snapshot.notes.count(CHANGING) == 1
    assert snapshot.stats.context_switch_count == 1234
    stopped = False
    with pytest.raises(WaitTimeoutError, match="does not finish"):
        watch.snapshot(timeout=0.0)
    ram.change(name, by=1)
    assert not watch.snapshot().changing


def test_a_machine_that_has_ended_is_an_error(ram, layout):
    ended = None
    watch = Watch(ram, IMAGE, layout, ended=lambda: ended)
    watch.snapshot()
    ended = EndedError("QEMU was killed by SIGKILL")
    with pytest.raises(EndedError, match="SIGKILL"):
        watch.snapshot()


def test_a_machine_that_ends_meanwhile_is_an_error(ram, layout):
    ends = iter([None, None, EndedError("QEMU was killed by SIGKILL")])
    watch = Watch(ram, IMAGE, layout, ended=lambda: next(ends))
    ram.change(MANAGER, by=1)
    with pytest.raises(EndedError, match="SIGKILL"):
        watch.snapshot(timeout=0.05)


def test_the_loading_of_the_kernel_is_waited_for(ram, layout):
    ram.bytes[BUILD_ID_OFFSET] ^= 1
    reads = itertools.count()

    def load():
        if next(reads) == 3:
            ram.bytes[BUILD_ID_OFFSET] ^= 1

    ram.meanwhile = load
    assert Watch(ram, IMAGE, layout).snapshot().sequence == 8


def test_another_kernel_in_ram_is_an_error(ram, layout):
    ram.bytes[BUILD_ID_OFFSET] ^= 1
    with pytest.raises(KernelUnusableError, match=r"kernel\.elf is not what the machine runs"):
        Watch(ram, IMAGE, layout, timeout=0.01)


def test_statics_outside_the_file_are_an_error(ram, layout):
    end = PLACES[MANAGER] + 8
    short = replace(IMAGE, segments=(replace(IMAGE.segments[0], memory_size=end),))
    with pytest.raises(KernelUnusableError, match=r"does not say where .* lies in RAM"):
        Watch(ram, short, layout)


def test_a_kernel_without_counters_is_an_error(ram, layout):
    del layout.statics[SCHEDULER]
    with pytest.raises(KernelUnusableError, match="no SCHEDULER with a sequence counter"):
        Watch(ram, IMAGE, layout)


def test_copies_have_only_what_was_copied():
    copies = Copies({0x1000: b"0123456789", 0x2000: b"abc"})
    assert copies.read(0x1003, 4) == b"3456"
    assert copies.read(0x2000, 3) == b"abc"
    for address, length in ((0xFFF, 2), (0x1008, 3), (0x2003, 1), (0x3000, 1)):
        with pytest.raises(MachineError, match="were not copied"):
            copies.read(address, length)
    with pytest.raises(MachineError, match="were not copied"):
        NoMachine().read_physical(0, 8)
