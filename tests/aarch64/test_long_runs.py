"""Runs of every length, with a break at every place: found as one leaf after the other would be."""

import itertools
import random

import pytest

from gdbplugin.aarch64.maps import leaf_runs
from gdbplugin.aarch64.regime import el1_regime
from gdbplugin.aarch64.tables import LeafRun, cut, pieces_of
from tests.aarch64.machines import BLOCK, PAGE, TABLE, WordMachine, el1_registers

ROOT, L1, L2, L3 = 0x1000, 0x2000, 0x3000, 0x4000


def pieces_in(frames, attributes=None):
    """The pieces of a level 3 table that maps pages to these frames, None being a hole."""
    words = {ROOT: L1 | TABLE, L1: L2 | TABLE, L2: L3 | TABLE}
    for index, frame in enumerate(frames):
        if frame is not None:
            words[L3 + 8 * index] = 0x4000_0000 + 4096 * frame | PAGE | (attributes or {}).get(index, 0)
    regime = el1_regime(WordMachine(words, el1_registers(ttbr0=ROOT)), 0)
    machine = WordMachine(words, el1_registers(ttbr0=ROOT))
    found = [entry for entry in leaf_runs(machine, regime.lower) if isinstance(entry, LeafRun)]
    for entry in found:
        assert entry.piece_count == len(list(entry.pieces()))
        assert [piece for one in found for piece in one.pieces()]
    return [
        (start // 4096, (physical - 0x4000_0000) // 4096, count)
        for entry in found
        for start, physical, count in entry.pieces()
    ]


def naive(frames, attributes=None):
    """The same, leaf by leaf."""
    attributes = attributes or {}
    found = []
    for index, frame in enumerate(frames):
        if frame is None:
            continue
        if found:
            start, first, pieces = found[-1]
            alike = attributes.get(index, 0) == attributes.get(start, 0)
            if start + pieces == index and first + pieces == frame and alike:
                found[-1] = (start, first, pieces + 1)
                continue
        found.append((index, frame, 1))
    return found


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 18, 32, 33, 47, 48, 49, 112, 113, 511, 512])
def test_a_run_ends_where_it_ends(length):
    frames = [*range(length), *range(1000, 1000 + 512 - length)]
    assert pieces_in(frames) == naive(frames)
    frames = [*range(length), *([None] * (512 - length))]
    assert pieces_in(frames) == naive(frames)


def test_a_break_within_is_seen_though_the_ends_fit():
    for place in itertools.chain(range(1, 70), (200, 255, 256, 300, 510)):
        frames = list(range(512))
        frames[place] = 9000
        assert pieces_in(frames) == naive(frames), place
        writable = {place: 1 << 7}
        assert pieces_in(list(range(512)), writable) == naive(list(range(512)), writable), place


def test_random_tables():
    random.seed(8)
    for _ in range(60):
        frames = []
        while len(frames) < 512:
            first, length = random.randrange(10_000), random.choice((1, 2, 3, 14, 30, 60, 120))
            frames += random.choice(([None] * length, list(range(first, first + length))))
        frames = frames[:512]
        attributes = {random.randrange(512): 1 << 7 for _ in range(random.randrange(4))}
        assert pieces_in(frames, attributes) == naive(frames, attributes)


def test_a_part_of_runs_is_what_lies_between_two_addresses():
    random.seed(9)
    words = {ROOT: L1 | TABLE, L1: L2 | TABLE, L2: L3 | TABLE, L2 + 8: 0x8000_0000 | BLOCK}
    words |= {L3 + 8 * index: 0x4000_0000 + 4096 * random.choice((index, 7)) | PAGE for index in range(512)}
    machine = WordMachine(words, el1_registers(ttbr0=ROOT))
    whole = list(leaf_runs(machine, el1_regime(machine, 0).lower))
    pages = {}
    for start, end, physical, _ in pieces_of(whole):
        pages.update((start + offset, physical + offset) for offset in range(0, end - start, 4096))
    for _ in range(100):
        start = random.randrange(0x40_0000 - 1)
        end = random.randrange(start + 1, 0x40_0000)
        found = cut(whole, start, end)
        last = found[-1].start + found[-1].size
        assert found[0].start <= start < found[0].start + found[0].leaf_size
        assert last - found[-1].leaf_size < end <= last
        for piece in pieces_of(found):
            offsets = range(0, piece.end - piece.start, 4096)
            assert all(pages[piece.start + offset] == piece.physical + offset for offset in offsets)
        assert sum(len(list(run.pieces())) for run in found) == sum(run.piece_count for run in found)
