"""Machines made of bytes, and the cache in front of any machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.machine import BytesMachine, CachedMachine, PhysicalReadError

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
