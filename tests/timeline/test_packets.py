"""What is written is what Perfetto's own descriptors read; slices nest, and times go up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.timeline import packets
from gdbplugin.timeline.trace import Counter, Instant, Slice, Trace, Track
from tests.timeline.reading import read

GHZ = 1_000_000_000
TRACK, OTHER = Track("core 0", 2, "task 0"), Track("core 1", 3, "task 1")
times = st.integers(0, 1 << 40)
values = st.one_of(st.text(), st.integers(-(1 << 63), (1 << 64) - 1))
arguments = st.dictionaries(st.text(), values, max_size=4)


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (-1, "ff" * 9 + "01"), (1 << 63, "80" * 9 + "01")],
)
def test_numbers_are_written_as_protobuf_does(number, encoded):
    assert packets.varint(number).hex() == encoded


def written(trace):
    return read(packets.join(trace.packets("memory")))


@given(entries=st.lists(st.tuples(times, st.text(min_size=1), arguments), max_size=20))
def test_instants_are_read_back_equal_and_in_order(entries):
    trace = Trace(GHZ)
    for entry in entries:
        trace.add_instant(TRACK, Instant(*entry))
    found = written(trace)
    assert found.times == sorted(found.times)
    if entries:
        (track,) = found.tracks
        assert (track.name, track.group) == ("task 0", "core 0")
        assert track.instants == sorted(entries, key=lambda entry: entry[0])


@given(counts=st.lists(st.tuples(times, st.integers(-(1 << 63), (1 << 63) - 1)), max_size=20))
def test_counts_are_read_back_equal_without_repetitions(counts):
    trace, ordered = Trace(GHZ), sorted(counts, key=lambda count: count[0])
    for time, value in ordered:
        trace.add_count(Counter("free frames", "frames"), time, value)
    expected = [one for number, one in enumerate(ordered) if not number or ordered[number - 1][1] != one[1]]
    found = written(trace).tracks
    assert [(one.name, one.group, one.unit, one.counts) for one in found] == (
        [("free frames", "memory", "frames", expected)] if counts else []
    )


@st.composite
def nests(draw, begin=0, end=1 << 20, depth=3):
    """Slices that nest, in any order."""
    found = []
    marks = sorted(draw(st.lists(st.integers(begin, end), max_size=6)))
    for first, last in zip(marks[::2], marks[1::2], strict=False):
        found.append((first, last))
        if depth and last > first:
            found += draw(nests(first, last, depth - 1))
    return draw(st.permutations(found)) if depth == 3 else found


@given(found=nests())
def test_slices_that_nest_are_read_back_equal(found):
    trace = Trace(GHZ)
    for begin, end in found:
        trace.add_slice(TRACK, Slice(begin, end, "running", {"task": begin}))
    slices = written(trace).slices()
    assert sorted((one.begin, one.end) for _, one in slices) == sorted(found)
    assert all(one.arguments == {"task": one.begin} for _, one in slices)
    assert_nested(slices)


@given(found=st.lists(st.tuples(times, times), max_size=20))
def test_any_slices_nest_and_none_is_lost(found):
    trace = Trace(GHZ)
    for begin, length in found:
        trace.add_slice(TRACK, Slice(begin, begin + length, "any", {}))
        trace.add_slice(OTHER, Slice(begin, begin + length, "any", {}))
    read_back = written(trace)
    slices = read_back.slices()
    assert read_back.times == sorted(read_back.times)
    assert sorted(one.begin for track, one in slices if track.name == "task 1") == sorted(
        begin for begin, _ in found
    )
    assert_nested(slices)


def test_a_slice_that_outlasts_its_outer_one_ends_with_it():
    trace = Trace(GHZ)
    for begin, end in ((5, 20), (0, 10), (20, 15)):
        trace.add_slice(TRACK, Slice(begin, end, "any", {}))
    assert [(one.begin, one.end) for _, one in written(trace).slices()] == [(0, 10), (5, 10), (20, 20)]


def assert_nested(slices):
    for _, one in slices:
        assert one.begin <= one.end
        if one.parent is not None:
            assert one.parent.begin <= one.begin <= one.end <= one.parent.end


def test_times_are_nanoseconds_by_the_timers_frequency():
    trace = Trace(62_500_000)
    for time in (0, 1, 62_500_000, (1 << 64) - 1):
        trace.add_instant(TRACK, Instant(time, "now", {}))
    # The last one is a corrupt event's: it stays within what the format has.
    assert written(trace).times == [0, 16, GHZ, (1 << 63) - 1]
    assert trace.span() == (0, (1 << 64) - 1)
    assert Trace(1).span() is None


def test_tracks_are_in_groups_and_in_the_order_of_their_ranks():
    trace = Trace(GHZ)
    for group, rank in (("core 1", 9), ("core 0", 12), ("core 0", 3)):
        trace.add_instant(Track(group, rank, f"track {rank}"), Instant(1, "x", {}))
    trace.add_count(Counter("free", "frames"), 1, 2)
    assert [(one.group, one.name) for one in written(trace).tracks] == [
        ("memory", "free"),
        ("core 0", "track 3"),
        ("core 0", "track 12"),
        ("core 1", "track 9"),
    ]
