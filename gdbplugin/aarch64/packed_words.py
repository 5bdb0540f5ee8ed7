"""The descriptors of a table packed into one large integer: 64-bit words, the first word lowest.

This is for speed: one operation on 512 packed words takes as long as a loop over a few dozen words.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import overload

_BITS = 64
_ALL = (1 << 64) - 1
_HIGHEST = 1 << 63
_BIAS = 1 << 62  # More than any address: no word borrows from the next in a subtraction.


@lru_cache(maxsize=64)
def _ones(count: int) -> int:
    return ((1 << _BITS * count) - 1) // ((1 << _BITS) - 1)


@lru_cache(maxsize=64)
def repeated(word: int, count: int) -> int:
    """The same word `count` times, packed."""
    return word * _ones(count)


@lru_cache(maxsize=64)
def multiples(step: int, count: int) -> int:
    """The first `count` multiples of `step`, from 0 on, packed."""
    return int.from_bytes(struct.pack(f"<{count}Q", *range(0, step * count, step)), "little")


def unpacked(packed: int, count: int) -> tuple[int, ...]:
    """The words, one by one."""
    return struct.unpack(f"<{count}Q", packed.to_bytes(8 * count, "little"))


class Words(Sequence[int]):
    """Packed words as a sequence; they are unpacked when more than the first or the last is needed."""

    __slots__ = ("_count", "_packed", "_words")

    def __init__(self, packed: int, count: int) -> None:
        self._packed = packed
        self._count = count
        self._words: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return self._count

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> int: ...

        @overload
        def __getitem__(self, index: slice) -> tuple[int, ...]: ...

    def __getitem__(self, index: int | slice) -> int | tuple[int, ...]:
        if index == 0:
            return self._packed & _ALL
        if index == -1:
            return self._packed >> _BITS * (self._count - 1)
        return self._all()[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._all())

    def __contains__(self, word: object) -> bool:
        return word in self._all()

    def _all(self) -> tuple[int, ...]:
        if self._words is None:
            self._words = unpacked(self._packed, self._count)
        return self._words


def count_steps(packed: int, count: int, step: int) -> int:
    """Count the words that are `step` more than the word before them; all words must be below 2**62."""
    if count < 2:
        return 0
    pairs = count - 1
    following, leading = packed >> _BITS, packed & (1 << _BITS * pairs) - 1
    distances = following + repeated(_BIAS, pairs) - leading
    # The highest bit of a word is set in `others` if the distance is not `step`.
    others = (distances ^ repeated(_BIAS + step, pairs)) + repeated(_HIGHEST - 1, pairs)
    return pairs - (others & repeated(_HIGHEST, pairs)).bit_count()


def nonzero_range(data: bytes) -> tuple[int, int]:
    """The index of the first nonzero word, and the index after the last one; (0, 0) if there is none."""
    end = -(-len(data.rstrip(b"\0")) // 8)
    return (len(data) - len(data.lstrip(b"\0"))) // 8 if end else 0, end


def swapped(data: bytes) -> bytes:
    """The words in the other byte order."""
    return struct.pack(f"<{len(data) // 8}Q", *struct.unpack(f">{len(data) // 8}Q", data))
