"""Machines made of bytes, and the cache in front of any machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.machine import BytesMachine, CachedMachine, PhysicalReadError, prefetch

MEMORY = bytes(index * 7 & 0xFF for index in range(10_000))


class Counting:
    def __init__(self, machine):
        self.machine = machine
        self.cores = machine.cores
        self.reads = []
        self.looks = []

    def read_physical(self, address, length):
        self.reads.append((address, length))
        return self.machine.read_physical(address, length)

    def register(self, name, core):
        self.looks.append((name, core))
        return self.machine.register(name, core)


def test_adjacent_blocks_read_as_one():
    machine = BytesMachine({0x1000: b"abc", 0x1003: b"def", 0x2000: b"x"})
    assert machine.read_physical(0x1001, 4) == b"bcde"
    assert machine.read_physical(0x2000, 1) == b"x"
    for address, length in ((0x1005, 2), (0xFFF, 2), (0, 1), (0x2001, 1)):
        with pytest.raises(PhysicalReadError, match=f"{address:#x}"):
            machine.read_physical(address, length)


@given(st.lists(st.tuples(st.integers(0, 9_999), st.integers(0, 5_000)), max_size=8))
def test_the_cache_answers_what_the_machine_would(reads):
    plain = BytesMachine({0x4_0000: MEMORY})
    cached = CachedMachine(plain)
    for offset, length in reads:
        wanted = MEMORY[offset : offset + length]
        assert cached.read_physical(0x4_0000 + offset, len(wanted)) == wanted


def test_what_was_read_is_not_read_again_until_forgotten():
    counting = Counting(BytesMachine({0: MEMORY[:8192]}, {0: {"X": 1}}))
    cached = CachedMachine(counting)
    cached.read_physical(100, 8)
    cached.read_physical(900, 100)
    assert counting.reads == [(0, 1024)]
    cached.read_physical(0, 4096)
    assert counting.reads == [(0, 1024), (1024, 3072)]
    assert [cached.register("X", 0), cached.register("X", 0)] == [1, 1]
    assert [cached.register("Y", 0), cached.register("Y", 0)] == [None, None]
    assert counting.looks == [("X", 0), ("Y", 0)]
    cached.forget()
    cached.read_physical(100, 8)
    cached.register("X", 0)
    assert len(counting.reads) == 3
    assert len(counting.looks) == 3


def test_memory_that_ends_within_a_chunk_is_read_to_its_end():
    cached = CachedMachine(BytesMachine({0: MEMORY[:1500]}))
    assert cached.read_physical(1400, 100) == MEMORY[1400:1500]
    with pytest.raises(PhysicalReadError):
        cached.read_physical(1400, 101)


class Ranged(Counting):
    """A machine that reads several ranges at once; what lies beyond its memory is left to be read."""

    def __init__(self, machine):
        super().__init__(machine)
        self.asked = []

    def read_ranges(self, ranges):
        self.asked.append(list(ranges))
        found = []
        for address, length in ranges:
            try:
                found.append(self.machine.read_physical(address, length))
            except PhysicalReadError:
                found.append(None)
        return found


ranges_of_memory = st.lists(st.tuples(st.integers(0, 11_000), st.integers(1, 5_000)), max_size=8)


@given(ranges_of_memory, ranges_of_memory)
def test_what_was_announced_changes_no_answer(announced, reads):
    plain = BytesMachine({0x4_0000: MEMORY})
    cached = CachedMachine(Ranged(plain))
    prefetch(cached, [(0x4_0000 + offset, length) for offset, length in announced])
    for offset, length in reads:
        try:
            wanted = plain.read_physical(0x4_0000 + offset, length)
        except PhysicalReadError:
            with pytest.raises(PhysicalReadError):
                cached.read_physical(0x4_0000 + offset, length)
        else:
            assert cached.read_physical(0x4_0000 + offset, length) == wanted


def test_what_was_announced_is_read_together_and_once():
    ranged = Ranged(BytesMachine({0: MEMORY}))
    cached = CachedMachine(ranged)
    cached.read_physical(5000, 8)
    prefetch(cached, [(0, 1024), (3072, 1024), (4096, 1000), (8192, 8), (20_000, 8)])
    assert ranged.asked == [[(0, 1024), (3072, 1024), (8192, 1024), (19_456, 1024)]]
    for address in (0, 3072, 4096, 8192):
        cached.read_physical(address, 8)
    assert ranged.reads == [(4096, 1024)]
    # One range alone is read as quickly when it is wanted.
    prefetch(cached, [(2048, 1024)])
    assert len(ranged.asked) == 1


def test_a_machine_that_cannot_read_together_is_not_asked_to():
    counting = Counting(BytesMachine({0: MEMORY}))
    prefetch(CachedMachine(counting), [(0, 8), (4096, 8)])
    prefetch(counting, [(0, 8), (4096, 8)])
    assert counting.reads == []
