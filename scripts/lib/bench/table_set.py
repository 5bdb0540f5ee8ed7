"""Translation tables of a set size, laid into a guest's memory where TinyOS has nothing."""

from __future__ import annotations

import mmap
import random
import struct
from pathlib import Path

LEAVES, MANY_LEAVES = 128_000, 521_000
BASE = 0x5000_0000
"""Physical address of the root; the other tables follow it."""
RAM_BYTES = 2 << 30

_ENTRIES = 512
_TABLE = 0x3
# A page of a task's: valid, accessed, inner shareable, read and write at EL0, not global, never executed.
_PAGE = 0x0060_0000_0000_0F43
_FRAMES = 0x1_0000_0000
# Where none of TinyOS's own things are: so that a mapping is one of nothing that is on record.
_FIRST_INPUT = 0x1000_0000_0000
_LEVEL_1, _LEVEL_2 = 8, 16

ADDRESS = _FIRST_INPUT + 0x1234
"""An input address that takes four levels to translate."""


def count(leaves: int) -> int:
    """How many tables so many leaves take."""
    return 1 + _LEVEL_1 + _LEVEL_2 + -(-leaves // _ENTRIES)


def build(scattered: bool, leaves: int = LEAVES) -> bytes:
    """The tables of so many leaves, the root first.

    Their pages' frames follow one another in each level 3 table, or lie in random order.
    """
    tables = [[0] * _ENTRIES for _ in range(count(leaves))]
    roots = [0]
    following = 1
    for number_of, first in ((_LEVEL_1, _FIRST_INPUT >> 39), (_LEVEL_2, 0), (-(-leaves // _ENTRIES), 0)):
        below = range(following, following + number_of)
        following += number_of
        for place, number in enumerate(below):
            parent, index = roots[place % len(roots)], first + place // len(roots)
            tables[parent][index] = BASE + 4096 * number | _TABLE
        roots = list(below)
    frames = list(range(leaves))
    if scattered:
        random.Random(4444).shuffle(frames)
    for place, number in enumerate(roots):
        own = frames[place * _ENTRIES : (place + 1) * _ENTRIES]
        tables[number][: len(own)] = [_FRAMES + 4096 * frame | _PAGE for frame in own]
    return b"".join(struct.pack(f"<{_ENTRIES}Q", *table) for table in tables)


def write(ram: Path, tables: bytes) -> None:
    """Lay the tables into the file that is the guest's memory."""
    with ram.open("r+b") as file, mmap.mmap(file.fileno(), RAM_BYTES) as memory:
        memory[BASE : BASE + len(tables)] = tables
