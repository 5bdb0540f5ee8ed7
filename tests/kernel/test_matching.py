"""Matches in parts of memory, held against a search byte by byte."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gdbplugin.kernel import matching
from gdbplugin.kernel.matching import Pattern, matches

# Few values, so that matches, near misses and runs of zeros are frequent.
texts = st.binary(max_size=40).map(lambda data: bytes(byte % 3 for byte in data))
patterns = st.binary(min_size=1, max_size=12).map(lambda data: bytes(byte % 3 for byte in data))
alignments = st.sampled_from([1, 2, 4, 8])


@pytest.fixture(params=[8, 16, 1 << 16])
def chunk(request, monkeypatch):
    """Chunks smaller than the parts and than some patterns, and the real size."""
    monkeypatch.setattr(matching, "_CHUNK_BYTES", request.param)


def naive(memory, fits, size, alignment):
    """Every aligned place of a dictionary of bytes at which all bytes are there and fit."""
    found = []
    for place in memory:
        data = [memory.get(place + offset) for offset in range(size)]
        if place % alignment == 0 and None not in data and fits(bytes(data)):
            found.append(place)
    return sorted(found)


def laid_out(gaps, start):
    """Parts of memory by the gap before each, and a dictionary of their bytes."""
    parts, memory = [], {}
    for gap, data in gaps:
        start += gap
        parts.append((start, data))
        memory.update(zip(range(start, start + len(data)), data, strict=True))
        start += len(data)
    return parts, memory, start


gapped = st.lists(st.tuples(st.sampled_from([0, 0, 1, 5, 16]), texts.filter(bool)), max_size=5)
whatever = settings(max_examples=300, deadline=None, database=None)


@pytest.mark.usefixtures("chunk")
def test_fixed_bytes_are_found_where_they_are_by_byte():
    @whatever
    @given(gapped, st.integers(0, 20), patterns, alignments)
    @example([(0, b"\1\0"), (0, b"\0\2")], 0, b"\1\0\0\2", 1)
    def check(gaps, start, data, alignment):
        parts, memory, _ = laid_out(gaps, start)
        pattern = Pattern(data, alignment)
        assert list(matches(parts, pattern)) == naive(memory, data.__eq__, len(data), alignment)

    check()


@pytest.mark.usefixtures("chunk")
def test_what_is_between_parts_may_be_zero():
    @whatever
    @given(gapped, st.integers(0, 20), st.integers(0, 20), patterns, alignments)
    @example([(5, b"\1")], 0, 9, b"\0\1\0", 1)
    @example([(0, b"\1"), (1, b"\2")], 0, 0, b"\1\0\2", 1)
    def check(gaps, start, after, data, alignment):
        parts, memory, end = laid_out(gaps, start)
        whole = {place: memory.get(place, 0) for place in range(start, end + after)}
        touching = [
            place
            for place in naive(whole, data.__eq__, len(data), alignment)
            if any(place + offset in memory for offset in range(len(data)))
        ]
        found = list(matches(parts, Pattern(data, alignment), (start, end + after)))
        assert sorted(found) == touching
        assert len(set(found)) == len(found)

    check()


@pytest.mark.usefixtures("chunk")
def test_pointers_into_a_range_are_all_found():
    words = st.sampled_from([0, 1, 0xFF, 0x100, 0xFFFF_8000_0000_0000, 0xFFFF_8000_0008_0000, (1 << 64) - 1])
    near = st.tuples(words, st.integers(-300, 300)).map(lambda pair: sum(pair) % (1 << 64))

    @whatever
    @given(st.lists(near, max_size=20), near, near, alignments, st.binary(max_size=3))
    @example([0xFFFF_8000_0008_0010], 0xFFFF_8000_0008_0000, 0xFFFF_8000_0008_0FFF, 8, b"")
    @example([5], 5, 5, 8, b"")
    def check(content, one, other, alignment, before):
        data = before + b"".join(word.to_bytes(8, "little") for word in content)
        low, high = sorted((one, other))
        memory = dict(enumerate(data))
        expected = naive(memory, lambda raw: low <= int.from_bytes(raw, "little") <= high, 8, alignment)
        assert list(matches([(0, data)], Pattern(b"", alignment, low, high))) == expected

    check()


def test_overlapping_parts_of_a_damaged_dump_are_searched_apart():
    assert list(matches([(0, b"ab"), (1, b"ab")], Pattern(b"ab", 1), (0, 8))) == [0, 1]
