"""Finds bytes in memory: a fixed pattern, or every pointer into a range.

Memory comes in parts, each an address and bytes, by ascending address. A match may lie across two parts that
follow each other. Memory is little-endian.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from gdbplugin.records import NamedTuple

WORD_BYTES = 8
_CHUNK_BYTES = 1 << 16


class Pattern(NamedTuple):
    """What is searched: `data`, or words from `low` to `high` (inclusive) if that is empty.

    A match begins at a multiple of `alignment`.
    """

    data: bytes
    alignment: int
    low: int = 0
    high: int = 0
    is_value: bool = False
    """Whether `data` is a number."""

    @property
    def size(self) -> int:
        """The number of bytes of a match."""
        return len(self.data) or WORD_BYTES

    @property
    def is_zero(self) -> bool:
        """Whether zeros match."""
        return not any(self.data) if self.data else self.low == 0

    def may_cross(self, page_bytes: int) -> bool:
        """Whether a match may lie in two pages."""
        return self.size > self.alignment or page_bytes % self.alignment != 0


class _Finder:
    """Finds one pattern in bytes."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._zeros = bytes(_CHUNK_BYTES + pattern.size - 1)
        fixed = pattern.data
        if not fixed and pattern.low == pattern.high:
            fixed = pattern.low.to_bytes(WORD_BYTES, "little")
        self._begins = _FixedBytes(fixed).begins if fixed else _Pointers(pattern).begins
        """Where matches begin in a chunk that lies at an address, ascending; there may be others too many."""

    def places(self, data: bytes, address: int) -> Iterator[int]:
        """The addresses of the matches within `data`, which lies at `address`, in ascending order."""
        pattern, zeros = self._pattern, self._zeros
        for start in range(0, len(data), _CHUNK_BYTES):
            chunk = data[start : start + len(zeros)]
            # Comparing takes a small part of the time of searching, and much of a memory is zero.
            if chunk == zeros and not pattern.is_zero:
                continue
            last = min(_CHUNK_BYTES, len(chunk) - pattern.size + 1)
            for place in self._begins(chunk, address + start):
                if 0 <= place < last and (address + start + place) % pattern.alignment == 0:
                    yield address + start + place


class _FixedBytes:
    """Finds fixed bytes, by what is left of them without outer zeros: zeros are frequent in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._core = data.strip(b"\0") or data
        self._offset = data.index(self._core)

    def begins(self, chunk: bytes, address: int) -> Iterator[int]:
        del address
        position = chunk.find(self._core)
        while position >= 0:
            if chunk.startswith(self._data, max(0, position - self._offset)):
                yield position - self._offset
            # A match may begin within another.
            position = chunk.find(self._core, position + 1)


class _Pointers:
    """Finds words within a range, all words of a chunk with each operation.

    Words are compared byte by byte from the highest down. The bytes of one place in all words are taken as a
    column and translated into flags; the flags of all words are one number.
    """

    def __init__(self, pattern: Pattern) -> None:
        self._alignment = pattern.alignment
        self._low, self._high = (
            number.to_bytes(WORD_BYTES, "little") for number in (pattern.low, pattern.high)
        )
        self._differing = max(place for place in range(WORD_BYTES) if self._low[place] != self._high[place])

    def begins(self, chunk: bytes, address: int) -> Iterable[int]:
        step = min(self._alignment, WORD_BYTES)
        found: list[int] = []
        for phase in range(-address % step, WORD_BYTES, step):
            flags = self._flags(_Columns(chunk, phase))
            number = flags.find(1)
            while number >= 0:
                found.append(phase + WORD_BYTES * number)
                number = flags.find(1, number + 1)
        return sorted(found)

    def _flags(self, columns: _Columns) -> bytes:
        """A byte for each word: 1 if it is in the range."""
        low, high, differing = self._low, self._high, self._differing
        # First the byte in which most words are not as in the range.
        shared = columns.between(differing, low[differing], high[differing])
        for place in range(WORD_BYTES - 1, differing, -1):
            if not shared:
                return b""
            shared &= columns.between(place, low[place], low[place])
        inside = shared & columns.between(differing, low[differing] + 1, high[differing] - 1)
        # The words that are equal so far to the low or the high end.
        at_low = shared & columns.between(differing, low[differing], low[differing])
        at_high = shared & columns.between(differing, high[differing], high[differing])
        for place in range(differing - 1, -1, -1):
            if at_low:
                inside |= at_low & columns.between(place, low[place] + 1, 0xFF)
                at_low &= columns.between(place, low[place], low[place])
            if at_high:
                inside |= at_high & columns.between(place, 0, high[place] - 1)
                at_high &= columns.between(place, high[place], high[place])
        return (inside | at_low | at_high).to_bytes(columns.count, "little")


class _Columns:
    """The words of a chunk from its byte `phase` on, by the places of their bytes."""

    def __init__(self, chunk: bytes, phase: int) -> None:
        self._chunk = chunk
        self._phase = phase
        self.count = max(0, len(chunk) - phase) // WORD_BYTES
        self._end = phase + self.count * WORD_BYTES
        self._columns: dict[int, bytes] = {}

    def between(self, place: int, first: int, last: int) -> int:
        """The flags of the words whose byte at a place is from `first` to `last`."""
        if place not in self._columns:
            self._columns[place] = self._chunk[self._phase + place : self._end : WORD_BYTES]
        flags = self._columns[place].translate(_table(first, last))
        return int.from_bytes(flags, "little")


@cache
def _table(first: int, last: int) -> bytes:
    return bytes(first <= byte <= last for byte in range(256))


def matches(
    parts: Iterable[tuple[int, bytes]], pattern: Pattern, zero_between: tuple[int, int] | None = None
) -> Iterator[int]:
    """The addresses of all matches that have a byte in a part, ascending as the parts are.

    With `zero_between`, the range of all the memory (the end exclusive), what is between two parts is zero.
    Without, nothing is there.
    """
    finder, overlap = _Finder(pattern), pattern.size - 1
    # The last bytes before `end`, in which a match may begin.
    tail, end = b"", -1 if zero_between is None else zero_between[0]
    for address, data in parts:
        if zero_between is not None and address > end:
            room = min(overlap, address - end)
            yield from _into_zeros(finder, tail, end, room)
            tail = _last(tail + bytes(room), overlap)
        elif address != end:
            tail = b""
        if tail:
            joint = finder.places(tail + data[:overlap], address - len(tail))
            yield from (place for place in joint if place < address < place + pattern.size)
        yield from finder.places(data, address)
        tail, end = _last(tail + _last(data, overlap), overlap), address + len(data)
    if zero_between is not None:
        yield from _into_zeros(finder, tail, end, max(0, min(overlap, zero_between[1] - end)))


def _into_zeros(finder: _Finder, tail: bytes, end: int, room: int) -> Iterator[int]:
    """The matches that begin in the last bytes before `end` and end in the zeros from there on."""
    return (place for place in finder.places(tail + bytes(room), end - len(tail)) if place < end)


def _last(data: bytes, count: int) -> bytes:
    return data[-count:] if count else b""
