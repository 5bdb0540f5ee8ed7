"""Many 64-bit words at once: a table's descriptors as one large integer, with a lane of 64 bits for each.

Integers of that size are what Python computes fastest here: an operation on 512 words costs what one on
a few dozen words does in a loop.
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
_BIAS = 1 << 62  # More than any address: no lane borrows from the next in a subtraction.


@lru_cache(maxsize=64)
def _ones(count: int) -> int:
    return ((1 << _BITS * count) - 1) // ((1 << _BITS) - 1)


@lru_cache(maxsize=64)
def everywhere(word: int, count: int) -> int:
    """That word in each of `count` lanes."""
    return word * _ones(count)


@lru_cache(maxsize=64)
def ramp(step: int, count: int) -> int:
    """In each of `count` lanes the step times the lane's number."""
    return int.from_bytes(struct.pack(f"<{count}Q", *range(0, step * count, step)), "little")


def words(lanes: int, count: int) -> tuple[int, ...]:
    """The words of all lanes, the lowest first."""
    return struct.unpack(f"<{count}Q", lanes.to_bytes(8 * count, "little"))


class Words(Sequence[int]):
    """The words of all lanes, the lowest first: numbers of their own only where somebody asks for them."""

    __slots__ = ("_count", "_lanes", "_words")

    def __init__(self, lanes: int, count: int) -> None:
        self._lanes = lanes
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
            return self._lanes & _ALL
        if index == -1:
            return self._lanes >> _BITS * (self._count - 1)
        return self._all()[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._all())

    def __contains__(self, word: object) -> bool:
        return word in self._all()

    def _all(self) -> tuple[int, ...]:
        if self._words is None:
            self._words = words(self._lanes, self._count)
        return self._words


def count_steps(lanes: int, count: int, step: int) -> int:
    """In how many of the lanes but the last there is what, with the step added, is in the next.

    Of words below 2**62.
    """
    if count < 2:
        return 0
    pairs = count - 1
    following, leading = lanes >> _BITS, lanes & (1 << _BITS * pairs) - 1
    distances = following + everywhere(_BIAS, pairs) - leading
    # A lane that is not as wanted carries into its highest bit here, which no lane has by itself.
    others = (distances ^ everywhere(_BIAS + step, pairs)) + everywhere(_HIGHEST - 1, pairs)
    return pairs - (others & everywhere(_HIGHEST, pairs)).bit_count()


def filled(data: bytes) -> tuple[int, int]:
    """The first word that is not zero, and the one behind the last: their numbers."""
    end = -(-len(data.rstrip(b"\0")) // 8)
    return (len(data) - len(data.lstrip(b"\0"))) // 8 if end else 0, end


def swapped(data: bytes) -> bytes:
    """Words of the other byte order."""
    return struct.pack(f"<{len(data) // 8}Q", *struct.unpack(f">{len(data) // 8}Q", data))
