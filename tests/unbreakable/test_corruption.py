"""Whatever lies in the kernel's records, its tables and the registers: an answer or one sentence."""

import contextlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gdbplugin.aarch64 import maps
from gdbplugin.commands import COMMANDS
from gdbplugin.kernel import spaces
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.maps import read_maps
from gdbplugin.kernel.registers import REGISTERS
from gdbplugin.kernel.target import Target
from gdbplugin.machine import CachedMachine
from tests.commands.forms import OF_THE_PAST
from tests.kernel.synthetic import KERNEL_TABLES, POOL_BASE, POOL_FRAMES, STATIC_PHYSICAL, World
from tests.unbreakable.subjects import (
    MANAGER_RANGE,
    SCHEDULER_RANGE,
    SUBJECTS,
    WatchedMachine,
    run,
    statics,
)

PROPERTY = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=False
)
every_command = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)

words = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.sampled_from([0, 1, 0xFF, 0xFFFF, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1]),
    st.integers(0, 63).map(lambda bit: 1 << bit),
)
manager_places = st.one_of(st.integers(*MANAGER_RANGE), st.integers(*SCHEDULER_RANGE))
blobs = st.one_of(
    st.binary(min_size=1, max_size=24),
    words.map(lambda word: word.to_bytes(8, "little")),
    st.tuples(st.sampled_from([b"\0", b"\xff", b"\x55"]), st.integers(1, 4096)).map(lambda it: it[0] * it[1]),
)


@pytest.fixture(scope="module")
def world():
    """The small kernel: its machine, its layout, and the physical addresses of its tables."""
    world = World()
    machine = world.build()
    tables = [address for address, (use, _, _) in world.frames.items() if use == "Table"]
    tables += [KERNEL_TABLES, KERNEL_TABLES + 4096, KERNEL_TABLES + 8192]
    return machine, statics(world), tables


@contextlib.contextmanager
def changed(machine, changes):
    """The machine with other bytes at physical addresses, put back afterwards."""
    kept = []
    try:
        for address, content in changes:
            start = max(start for start in machine._memory if start <= address)
            block, offset = machine._memory[start], address - start
            content = content[: len(block) - offset]
            kept.append((block, offset, bytes(block[offset : offset + len(content)])))
            block[offset : offset + len(content)] = content
        yield
    finally:
        for block, offset, before in reversed(kept):
            block[offset : offset + len(before)] = before


def test_the_small_kernel_itself_is_shown_by_every_command(world):
    machine, layout, _ = world
    # `dump` writes a file, and has tests of its own.
    reading = {command.word for command in COMMANDS if not command.form.runs_target} - {"dump", *OF_THE_PAST}
    assert reading | {"diff"} == {subject.name.partition(" ")[0] for subject in SUBJECTS}
    for subject in SUBJECTS:
        text = run(subject, WatchedMachine(machine), layout)
        assert text is not None or subject.name == "translate el2", subject.name


@every_command
@PROPERTY
@given(changes=st.lists(st.tuples(manager_places, blobs), min_size=1, max_size=12))
@example(changes=[(1256, bytes(9) + b"\x81")])  # More frames than the reverse map has.
def test_the_managers_bytes(world, subject, changes):
    machine, layout, _ = world
    with changed(machine, [(STATIC_PHYSICAL + place, content) for place, content in changes]):
        run(subject, WatchedMachine(machine), layout)


def descriptors(tables):
    """Values for table entries: anything, and what is nearly right."""
    addresses = st.one_of(
        st.sampled_from(tables),
        st.integers(0, POOL_FRAMES).map(lambda frame: POOL_BASE + 4096 * frame),
        st.integers(0, (1 << 36) - 1).map(lambda page: page << 12),
        st.just(STATIC_PHYSICAL),
    )
    low = st.one_of(st.sampled_from([0, 1, 2, 3, 0x403, 0x401, 0x713]), st.integers(0, 0xFFF))
    high = st.one_of(st.just(0), st.integers(0, 0xFFFF))
    made = st.builds(lambda address, low, high: address | low | high << 48, addresses, low, high)
    return st.one_of(words, made, made)


@every_command
@PROPERTY
@given(data=st.data())
def test_the_tables(world, subject, data):
    machine, layout, tables = world
    entries = st.tuples(st.sampled_from(tables), st.integers(0, 511), st.integers(1, 8), descriptors(tables))
    drawn = data.draw(st.lists(entries, min_size=1, max_size=10))
    changes = [
        (table + 8 * index, value.to_bytes(8, "little") * count) for table, index, count, value in drawn
    ]
    with changed(machine, changes):
        run(subject, WatchedMachine(machine), layout)


# TCR, SCTLR and the CPU state decide most; the others follow.
_NAMES = st.one_of(
    st.sampled_from(["TCR_EL1", "SCTLR_EL1", "CPSR", "TTBR0_EL1", "TTBR1_EL1", "ESR_EL1"]),
    st.sampled_from(sorted({*REGISTERS, "CPSR"})),
)


@every_command
@PROPERTY
@given(
    changes=st.dictionaries(_NAMES, st.one_of(st.none(), words), min_size=1, max_size=8),
    flips=st.lists(st.tuples(st.sampled_from(["TCR_EL1", "CPSR"]), st.integers(0, 63)), max_size=3),
)
def test_the_registers(world, subject, changes, flips):
    machine, layout, _ = world
    values = machine._registers[0]
    before = dict(values)
    try:
        for name, value in changes.items():
            if value is None:
                values.pop(name, None)
            else:
                values[name] = value
        for name, bit in flips:
            if name in values:
                values[name] ^= 1 << bit
        run(subject, WatchedMachine(machine), layout)
    finally:
        values.clear()
        values.update(before)


def zeros(_, length):
    return bytes(length)


def ones(_, length):
    return b"\xff" * length


def tables_everywhere(address, length):
    """Each entry leads to a table, another one for each table and entry."""
    entries = range(address // 8, (address + length + 7) // 8)
    content = b"".join(
        ((entry * 0x9E37_79B9_7F4A_7C15 >> 13) & 0x0000_0FFF_FFFF_F000 | 3).to_bytes(8, "little")
        for entry in entries
    )
    return content[address % 8 :][:length]


def one_table(_, length):
    """Each entry leads to the same table."""
    return (((1 << 40) | 3).to_bytes(8, "little") * (length // 8 + 1))[:length]


class Work:
    """What a command makes of tables: how many it looks into, and how many leaves it has one by one."""

    def __init__(self, monkeypatch):
        self.tables = self.leaves = 0
        read_entries, leaves = maps.read_entries, spaces.leaves

        def counted_entries(*arguments):
            self.tables += 1
            return read_entries(*arguments)

        def counted_leaves(*arguments):
            for entry in leaves(*arguments):
                self.leaves += 1
                yield entry

        monkeypatch.setattr(maps, "read_entries", counted_entries)
        monkeypatch.setattr(spaces, "leaves", counted_leaves)


@pytest.fixture
def bounded(monkeypatch):
    """A tenth of the bounds, which are to hold: the time that a command takes is in proportion to them."""
    for module, name in (
        (maps, "MAXIMUM_TABLES"),
        (maps, "MAXIMUM_ENTRIES"),
        (spaces, "MAXIMUM_SPACE_TABLES"),
        (spaces, "MAXIMUM_SPACE_PAGES"),
        (spaces, "MAXIMUM_PAGES"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) // 10)
    done = Work(monkeypatch)
    yield
    assert done.tables <= maps.MAXIMUM_TABLES
    # What was begun is ended: one space more, and one table more of each.
    assert done.leaves <= spaces.MAXIMUM_PAGES + spaces.MAXIMUM_SPACE_PAGES + 4 * 512


@pytest.mark.usefixtures("bounded")
@every_command
@pytest.mark.parametrize("beyond", [zeros, ones, tables_everywhere, one_table])
def test_memory_that_goes_on_for_ever(world, subject, beyond):
    machine, layout, tables = world
    # Every root leads into the wild by all entries of its second half.
    wild = [(table + 2048, ((1 << 40) | 3).to_bytes(8, "little") * 255) for table in tables[:6]]
    with changed(machine, wild):
        run(subject, WatchedMachine(machine, beyond), layout)


def alike(table):
    """Every entry of a table leads to the table itself."""
    return (table | 3).to_bytes(8, "little") * 512


def alternating(table):
    """The same, as pages no two neighbours alike."""
    return b"".join((table | 3 | (index % 2) << 6).to_bytes(8, "little") for index in range(512))


@pytest.mark.usefixtures("bounded")
@every_command
@pytest.mark.parametrize("entries", [alike, alternating])
def test_a_root_that_is_its_own_every_table(world, subject, entries):
    machine, layout, tables = world
    with changed(machine, [(table, entries(table)) for table in tables[:4]]):
        text = run(subject, WatchedMachine(machine), layout)
    if subject.name in ("maps", "maps asid"):
        # The tables may well be meant to be so: that is no finding.
        assert "Note: the map stops at" in text
        assert "Malformed" not in text


@pytest.mark.parametrize("entries", [alike, alternating])
def test_a_map_without_an_end_has_no_more_than_its_bound(world, entries):
    machine, layout, tables = world
    with changed(machine, [(table, entries(table)) for table in tables[:4]]):
        kernel = Kernel(CachedMachine(machine), layout)
        found = read_maps(Target(kernel.machine, 0, kernel.diagnostics, lambda: kernel))
    assert found.tables <= maps.MAXIMUM_TABLES
    # What a table holds is never divided.
    assert sum(entry.piece_count for entry in found.ranges) <= maps.MAXIMUM_ENTRIES + 512
    assert len(found.ranges) <= maps.MAXIMUM_ENTRIES // 2 + 512
    assert found.malformed_count == 0
    last = found.ranges[-1]
    assert last.start < found.stopped_at <= last.end
