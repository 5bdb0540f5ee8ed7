"""Arithmetic on many words at once: as one by one."""

import itertools
import random
import struct

import pytest

from gdbplugin.aarch64 import packed_words


def together(words):
    return int.from_bytes(struct.pack(f"<{len(words)}Q", *words), "little")


@pytest.mark.parametrize("count", [1, 2, 3, 16, 511, 512])
def test_steps_are_counted_as_one_by_one(count):
    chosen = random.Random(count)
    for step in (0x1000, 0x20_0000, 1 << 30):
        for wild in (0.0, 0.1, 0.9):
            words, word = [], chosen.randrange(1 << 40)
            for _ in range(count):
                words.append(word)
                word = word + step if chosen.random() >= wild else chosen.choice((0, (1 << 52) - 1, word))
            expected = sum(following - word == step for word, following in itertools.pairwise(words))
            assert packed_words.count_steps(together(words), count, step) == expected


def test_words_and_back():
    words = [random.Random(1).getrandbits(64) for _ in range(40)]
    assert list(packed_words.unpacked(together(words), 40)) == words
    same = packed_words.Words(together(words), 40)
    assert (same[0], same[-1], len(same)) == (words[0], words[-1], 40)
    assert (list(same), same[3], same[5:8]) == (words, words[3], tuple(words[5:8]))
    assert words[7] in same
    assert 3 not in same
    assert packed_words.unpacked(packed_words.repeated(7, 3), 3) == (7, 7, 7)
    assert packed_words.unpacked(packed_words.multiples(5, 4), 4) == (0, 5, 10, 15)
    assert packed_words.swapped(struct.pack("<2Q", 1, 2)) == struct.pack(">2Q", 1, 2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], (0, 0)), ([0, 0], (0, 0)), ([1], (0, 1)), ([0, 1 << 56, 0, 1, 0], (1, 4)), ([0, 0, 256], (2, 3))],
)
def test_the_range_of_words_that_are_not_zero(words, expected):
    assert packed_words.nonzero_range(struct.pack(f"<{len(words)}Q", *words)) == expected
