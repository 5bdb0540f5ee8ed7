"""The recorder's file, made here by hand."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.recording.ring import STORE, Recording, RecordingError

HEADER = struct.Struct("<8s12Q8Q")
RECORD = struct.Struct("<9Q4BI")
PAGE = 4096
FRAMES = 9


def header(capacity=4, written=0, record=RECORD.size, magic=b"tinyrec\x01"):
    return HEADER.pack(magic, PAGE, record, capacity, written, 7, 0, 0, 0, 0, 0, 2, 5, 11, 22, *[0] * 6)


def record(number, kind=STORE, core=0, size=8, level=0, words=(0,) * 8):
    return RECORD.pack(number * 10, *words, kind, core, size, level, number + 1)


def write(path, records, capacity=4):
    """A file after these records, of which the last `capacity` are in it."""
    slots = [bytes(RECORD.size)] * capacity
    for number, content in enumerate(records):
        slots[number % capacity] = content
    path.write_bytes(header(capacity, len(records)).ljust(PAGE, b"\0") + b"".join(slots))
    return Recording(str(path))


@given(count=st.integers(0, 40), capacity=st.integers(1, 9))
def test_the_newest_records_are_read_in_order(tmp_path_factory, count, capacity):
    path = tmp_path_factory.mktemp("ring") / "recording"
    recording = write(path, [record(number) for number in range(count)], capacity)
    found = list(recording.records(lambda _: True))
    kept = range(max(0, count - capacity), count)
    assert [number for number, _ in found] == list(kept)
    assert [one.instructions for _, one in found] == [10 * number for number in kept]
    assert recording.first == kept.start
    recording.close()


def test_fields_are_where_the_recorder_writes_them(tmp_path):
    words = (0x100, 0x200, 0x300, 0x400, 0x500, 0x600, 0x700, 0x800)
    recording = write(tmp_path / "recording", [record(3, core=2, size=4, level=4, words=words)])
    ((_, found),) = recording.records(lambda _: True)
    assert found[:9] == (30, *words)
    assert (found.kind, found.core, found.size, found.table_level, found.frames) == (STORE, 2, 4, 3, None)
    assert recording.header.unchanged == 5
    assert recording.instructions == (11, 22)


def test_return_addresses_are_those_of_the_cores_last_record_of_them(tmp_path):
    known = 0x80 | 8
    records = [
        record(0, FRAMES, core=0, words=(0, 1, 2, 3, 0, 0, 0, 0)),
        record(1, FRAMES, core=1, words=(0, 0, 9, 0, 0, 0, 0, 0)),
        record(2, core=0, size=known),
        record(3, core=1, size=known),
        record(4, core=0),
        record(5, core=2, size=known),
        record(30, core=0),
    ]
    recording = write(tmp_path / "recording", records, 8)
    found = [one for _, one in recording.records(lambda _: True)]
    # The link register comes first, and may be 0. Shortly after a store with frames they may still hold.
    assert [one.frames for one in found] == [(1, 2, 3), (0, 9), (1, 2, 3), None, None]
    assert {one.size for one in found} == {8}


def test_only_what_is_wanted_is_made_a_record(tmp_path):
    recording = write(tmp_path / "recording", [record(number, kind=number + 1) for number in range(4)])
    assert [one.kind for _, one in recording.records(lambda fields: fields[9] == 3)] == [3]


def test_ranges_are_named_by_a_request(tmp_path):
    recording = write(tmp_path / "recording", [])
    recording.watch([(0x1000, 0x2000), (0x5000, 0x5008)])
    assert (recording.header.request, recording.header.range_count) == (1, 2)
    ranges = struct.unpack_from("<4Q", (tmp_path / "recording").read_bytes(), HEADER.size)
    assert ranges == (0x1000, 0x2000, 0x5000, 0x5008)
    with pytest.raises(RecordingError, match="101 ranges are more than 100"):
        recording.watch([(0, 1)] * 101)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(2 * PAGE),
        header(magic=b"tinyrec\x02").ljust(2 * PAGE, b"\0"),
        header(record=64).ljust(2 * PAGE, b"\0"),
        header(capacity=0).ljust(2 * PAGE, b"\0"),
        header(capacity=1 << 40).ljust(2 * PAGE, b"\0"),
    ],
)
def test_another_file_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "recording"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="is no recording"):
        Recording(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordingError, match="cannot be opened: No such file"):
        Recording(str(tmp_path / "none"))
