"""The recorder's file, made here by hand."""

import contextlib
import shutil
import struct
import subprocess
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.recording.ring import STORE, Checkpoint, Header, Recording, RecordingError
from gdbplugin.session.recorder import empty_qcow2

HEADER = struct.Struct("<8s24Q8Q")
RECORD = struct.Struct("<9Q4BI")
CHECKPOINT = struct.Struct("<5Q40s")
HEADER_BYTES = 16384
RANGES = HEADER.size
NAME, MESSAGE = RANGES + 100 * 16, RANGES + 100 * 16 + 40
CHECKPOINTS = MESSAGE + 256
FRAMES = 9
RANGES_WANTED, CHECKPOINT_WANTED, TRAVEL_WANTED = range(3)
PLACES = {name: 8 * index for index, name in enumerate(Header._fields)}


def header(capacity=4, written=0, record=RECORD.size, magic=b"tinyrec\x02", **more):
    values = {"header_bytes": HEADER_BYTES, "record_bytes": record, "capacity": capacity, "written": written}
    values |= {"published": 7, "cores": 2, "unchanged": 5, "oldest": max(0, written - capacity)} | more
    return HEADER.pack(magic, *(values.get(name, 0) for name in Header._fields[1:]), 11, 22, *[0] * 6)


def record(number, kind=STORE, core=0, size=8, level=0, words=(0,) * 8):
    return RECORD.pack(number * 10, *words, kind, core, size, level, number + 1)


def write(path, records, capacity=4, **more):
    """A file after these records, of which the last `capacity` are in it."""
    slots = [bytes(RECORD.size)] * capacity
    for number, content in enumerate(records):
        slots[number % capacity] = content
    start = header(capacity, len(records), **more).ljust(HEADER_BYTES, b"\0")
    path.write_bytes(start + b"".join(slots))
    return Recording(str(path))


class Recorder:
    """The recorder's part of a file: it answers each request, with a failure's message if it has one."""

    def __init__(self, path, message=b""):
        self.path, self.message = path, message
        self.requests = []
        self.cancelled = False
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _word(self, file, name, value=None):
        file.seek(PLACES[name])
        if value is None:
            return int.from_bytes(file.read(8), "little")
        return file.write(value.to_bytes(8, "little"))

    def _run(self):
        with self.path.open("r+b", buffering=0) as file:
            while not self._ends.wait(0.001):
                self._word(file, "published", self._word(file, "published") + 1)
                request = self._word(file, "request")
                if request == self._word(file, "done"):
                    continue
                self.cancelled |= bool(self._word(file, "cancel"))
                file.seek(NAME)
                name = file.read(40).partition(b"\0")[0]
                self.requests.append((self._word(file, "operation"), self._word(file, "argument"), name))
                file.seek(MESSAGE)
                file.write(self.message.ljust(256, b"\0")[:256])
                self._word(file, "failed", bool(self.message))
                self.answer(file, request)

    def answer(self, file, request):
        self._word(file, "done", request)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()


class UntilCancelled(Recorder):
    """One that is not done until it is told to end."""

    def answer(self, file, request):
        if self.cancelled:
            super().answer(file, request)


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
    with Recorder(tmp_path / "recording") as recorder:
        recording.watch([(0x1000, 0x2000), (0x5000, 0x5008)])
    assert [request[0] for request in recorder.requests] == [RANGES_WANTED]
    assert (recording.header.request, recording.header.done, recording.header.range_count) == (1, 1, 2)
    ranges = struct.unpack_from("<4Q", (tmp_path / "recording").read_bytes(), RANGES)
    assert ranges == (0x1000, 0x2000, 0x5000, 0x5008)
    with pytest.raises(RecordingError, match="101 ranges are more than 100"):
        recording.watch([(0, 1)] * 101)


def test_a_request_that_fails_has_the_recorders_reason(tmp_path):
    recording = write(tmp_path / "recording", [])
    with Recorder(tmp_path / "recording", "no room for växt".encode()) as recorder:
        with pytest.raises(RecordingError, match=r"^no room for växt$"):
            recording.travel(77)
        assert recorder.requests == [(TRAVEL_WANTED, 77, b"")]
        recorder.message = b""
        recording.travel(78)
    assert recorder.requests[1:] == [(TRAVEL_WANTED, 78, b"")]


def test_a_recorder_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("gdbplugin.recording.ring._PATIENCE_SECONDS", 0.05)
    recording = write(tmp_path / "recording", [])
    with pytest.raises(RecordingError, match="the recorder does not answer"):
        recording.travel(1)


def test_a_request_that_is_interrupted_is_cancelled_and_over(tmp_path):
    """Only then may the machine be read: until then it moves."""
    recording = write(tmp_path / "recording", [])
    calls = []

    def progress():
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt

    with UntilCancelled(tmp_path / "recording"):
        with pytest.raises(KeyboardInterrupt):
            recording.travel(1, progress)
        assert (recording.header.cancel, recording.header.done) == (1, 1)
    assert len(calls) == 4
    # A mark that came too late is not for the next request.
    with Recorder(tmp_path / "recording") as recorder:
        recording.travel(2)
    assert not recorder.cancelled


rows = st.builds(
    Checkpoint,
    *[st.integers(0, (1 << 64) - 1)] * 3,
    st.integers(0, 1),
    st.integers(0, (1 << 64) - 1),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9),
)


@given(st.lists(rows, max_size=64))
def test_checkpoints_are_where_the_recorder_writes_them(tmp_path_factory, checkpoints):
    path = tmp_path_factory.mktemp("ring") / "recording"
    write(path, [], checkpoint_count=len(checkpoints)).close()
    with path.open("r+b") as file:
        file.seek(CHECKPOINTS)
        for *numbers, name in checkpoints:
            file.write(CHECKPOINT.pack(*numbers, name.encode()))
    with contextlib.closing(Recording(str(path))) as recording:
        assert list(recording.checkpoints) == checkpoints


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=50))
def test_a_name_is_cut_between_characters(tmp_path_factory, name):
    path = tmp_path_factory.mktemp("ring") / "recording"
    with contextlib.closing(write(path, [])) as recording, Recorder(path) as recorder:
        recording.take_checkpoint(name)
    ((operation, _, written),) = recorder.requests
    assert operation == CHECKPOINT_WANTED
    kept = written.decode()
    assert name.startswith(kept)
    assert kept == name or len(name[: len(kept) + 1].encode()) > 39


@pytest.mark.parametrize(("is_past", "end", "known"), [(0, 99, 11), (1, 99, 99)])
def test_the_latest_moment_is_the_present_or_is_in_the_header(tmp_path, is_past, end, known):
    recording = write(tmp_path / "recording", [], is_past=is_past, end=end)
    with Recorder(tmp_path / "recording"):
        assert (recording.is_past, recording.position, recording.end) == (bool(is_past), 11, known)


def test_records_that_the_past_keeps_are_those_from_the_oldest_on(tmp_path):
    """Gone back, the ring has the records of the future too: `oldest` says what they have overwritten."""
    records = [record(number) for number in range(6)]
    recording = write(tmp_path / "recording", records, 8, oldest=2, known=10)
    assert [number for number, _ in recording.records(lambda _: True)] == [2, 3, 4, 5]


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img")
def test_the_image_for_snapshots_is_without_fault(tmp_path):
    image = tmp_path / "snapshots"
    image.write_bytes(empty_qcow2())
    done = subprocess.run(["qemu-img", "check", "-f", "qcow2", image], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "No errors were found" in done.stdout


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(2 * HEADER_BYTES),
        header(magic=b"tinyrec\x01").ljust(2 * HEADER_BYTES, b"\0"),
        header(record=64).ljust(2 * HEADER_BYTES, b"\0"),
        header(capacity=0).ljust(2 * HEADER_BYTES, b"\0"),
        header(capacity=1 << 40).ljust(2 * HEADER_BYTES, b"\0"),
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
