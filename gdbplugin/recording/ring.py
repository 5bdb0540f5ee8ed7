"""The file that the recorder writes: a header, then a ring of records.

`qemu/recorder/src/ring.rs` has the same layout; the two must agree. QEMU writes while this reads: what is
overwritten meanwhile is left out.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence

from gdbplugin.machine import MachineError
from gdbplugin.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Kinds of records.
STORE, TLB_INVALIDATE, DATA_BARRIER, INSTRUCTION_BARRIER, SYSTEM_WRITE, EXCEPTION_RETURN = range(1, 7)
EXCEPTION_ENTRY = 7
FRAMES = 9

_MAGIC = b"tinyrec\x02"
_HEADER = struct.Struct("<8s24Q")
_INSTRUCTIONS = struct.Struct("<8Q")
_RANGES_OFFSET = _HEADER.size + _INSTRUCTIONS.size
_RANGE = struct.Struct("<2Q")
_MOST_RANGES = 100
_NAME_OFFSET = _RANGES_OFFSET + _MOST_RANGES * _RANGE.size
_NAME_BYTES = 40
_MESSAGE_OFFSET, _MESSAGE_BYTES = _NAME_OFFSET + _NAME_BYTES, 256
_CHECKPOINTS_OFFSET = _MESSAGE_OFFSET + _MESSAGE_BYTES
_CHECKPOINT = struct.Struct("<5Q40s")
_RECORD = struct.Struct("<9Q4BI")
_HAS_FRAMES = 0x80
# Instructions after which the recorder reads the frames again.
_RECENT = 256
_CHUNK_RECORDS = 1 << 14
_REQUEST_OFFSET, _RANGE_COUNT_OFFSET, _OPERATION_OFFSET, _CANCEL_OFFSET = 8 * 8, 10 * 8, 13 * 8, 15 * 8
_RANGES, _TAKE_CHECKPOINT, _TRAVEL = range(3)
_LOOK_SECONDS = 0.002
_LOOKS = 500
_PATIENCE_SECONDS = 10.0


class RecordingError(MachineError):
    """There is no recording, or it cannot be read."""


class Record(NamedTuple):
    """A record; what its fields mean depends on `kind`.

    - `STORE`: `virtual` and `physical` are where it was, `old` and `new` the aligned word there. In a
      translation table, `level` is the table's level plus 1, `input` the first address that the descriptor
      translates and `root` the root of its address space.
    - `SYSTEM_WRITE`, `TLB_INVALIDATE`, barriers: `virtual` is the instruction's code, `new` its operand.
    """

    instructions: int
    """Instructions that the core had executed, this one included; those of all cores if the machine can go
    back."""
    pc: int
    virtual: int
    physical: int
    old: int
    new: int
    ttbr0: int
    """TTBR0_EL1 then."""
    input: int
    root: int
    kind: int
    core: int
    size: int
    """Bytes written."""
    level: int
    sequence: int
    """The record's number plus 1, modulo 2**32."""
    frames: tuple[int, ...] | None = None
    """The link register and the return addresses of the frame records then; None if they are not known."""
    frames_pc: int | None = None
    """Where they were read: at this instruction, or at one shortly before, possibly in another function."""

    @property
    def table_level(self) -> int | None:
        """The level of the translation table that was written; None if it was none."""
        return self.level - 1 if self.level else None


class Header(NamedTuple):
    """How much has been recorded."""

    magic: bytes
    header_bytes: int
    record_bytes: int
    capacity: int
    """Records that the ring has room for."""
    written: int
    """Records from the start to the machine's moment."""
    published: int
    """Goes up about every millisecond, as `instructions` and requests are looked at."""
    hash: int
    """A hash of all records."""
    stores: int
    """Stores among the records."""
    request: int
    done: int
    range_count: int
    cores: int
    unchanged: int
    """Stores to recorded pages that changed nothing: they have no records."""
    operation: int
    argument: int
    cancel: int
    failed: int
    known: int
    """Records of all that has happened: more than `written` while the machine is in the past."""
    oldest: int
    """The number of the oldest record that is still there."""
    difference: int
    """Instructions at which a replay was not what had been recorded; 0 if it always was."""
    first_range_count: int
    """How many of the ranges are recorded from the start."""
    can_go_back: int
    checkpoint_count: int
    is_past: int
    end: int
    """Then, the instructions at the latest moment."""


class Checkpoint(NamedTuple):
    """A moment that the machine can go back to."""

    number: int
    """From 1 on."""
    written: int
    """Records up to then."""
    milliseconds: int
    """Since the recording began, by the host's clock."""
    is_automatic: int
    """1 if nobody asked for it: then it may be dropped for a later one."""
    instructions: int
    """How many the machine had executed."""
    name: str
    """Its name; empty if it has none."""


class Recording:
    """A recording; `close` ends the use of its file."""

    def __init__(self, path: str) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise RecordingError(f"the recording {path} cannot be opened: {error.strerror}") from error
        try:
            size = os.fstat(descriptor).st_size
            if size < _RANGES_OFFSET:
                raise RecordingError(f"{path} is no recording")
            self._file = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        header = self.header
        room = header.header_bytes + header.capacity * _RECORD.size
        fits = header.record_bytes == _RECORD.size and header.capacity > 0 and room <= size
        if header.magic != _MAGIC or not fits:
            self.close()
            raise RecordingError(f"{path} is no recording of this version of the recorder")
        self._start, self._capacity = header.header_bytes, header.capacity

    def close(self) -> None:
        """End the use of the file; a second call does nothing."""
        self._file.close()

    @property
    def header(self) -> Header:
        """How much has been recorded by now."""
        return Header(*_HEADER.unpack_from(self._file))

    @property
    def instructions(self) -> tuple[int, ...]:
        """The instructions that each core has executed, as last published: a millisecond or two ago.

        Of a machine that can go back the first is the number of all.
        """
        return _INSTRUCTIONS.unpack_from(self._file, _HEADER.size)[: self.header.cores]

    @property
    def position(self) -> int:
        """The instructions that the machine, which is stopped, has executed; it can go back."""
        before = self.header.published
        for _ in range(_LOOKS):
            if self.header.published >= before + 2:
                break
            time.sleep(_LOOK_SECONDS)
        return self.instructions[0]

    @property
    def end(self) -> int:
        """The instructions at the latest moment that is known."""
        return self.header.end if self.is_past else self.position

    @property
    def is_past(self) -> bool:
        """Whether the machine has gone back, and has not run on since."""
        return bool(self.header.is_past)

    @property
    def first(self) -> int:
        """The number of the oldest record that is still there, from 0."""
        header = self.header
        return min(header.oldest, header.written)

    def records(self, wanted: Callable[[Sequence[Any]], object]) -> Iterator[tuple[int, Record]]:
        """The records that are wanted, oldest first, with their numbers.

        `wanted` gets the fields of each record as a sequence, in the order of `Record`.
        """
        frames: dict[int, tuple[int, ...]] = {}
        read: dict[int, tuple[int, int]] = {}
        for number, fields in self._all():
            core, size = fields[10], fields[11]
            if fields[9] == FRAMES:
                frames[core] = _trimmed((*fields[2:6], *fields[7:9]))
                continue
            if size & _HAS_FRAMES:
                read[core] = fields[0], fields[1]
            if wanted(fields):
                instructions, pc = read.get(core, (0, 0))
                is_recent = core in read and fields[0] - instructions < _RECENT
                known = (frames.get(core), pc) if is_recent else (None, None)
                yield number, Record._make((*fields[:11], size & ~_HAS_FRAMES, *fields[12:], *known))

    def _all(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """All records in order, as far as they are not overwritten while they are read."""
        number, end = self.first, self.header.written
        while number < end:
            slot = number % self._capacity
            count = min(end - number, self._capacity - slot, _CHUNK_RECORDS)
            place = self._start + slot * _RECORD.size
            data = self._file[place : place + count * _RECORD.size]
            # What was written since may be in the copy.
            lost = max(0, self.first - number)
            for index, fields in enumerate(_RECORD.iter_unpack(data)):
                if index >= lost:
                    yield number + index, fields
            number += count

    def watch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Have physical ranges (start, end) recorded from now on, by whole pages, and no other but tables.

        Raises `RecordingError` if there are too many.
        """
        if len(ranges) > _MOST_RANGES:
            raise RecordingError(f"{len(ranges)} ranges are more than {_MOST_RANGES}")
        for index, one in enumerate(ranges):
            _RANGE.pack_into(self._file, _RANGES_OFFSET + index * _RANGE.size, *one)
        struct.pack_into("<Q", self._file, _RANGE_COUNT_OFFSET, len(ranges))
        self._request(_RANGES)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The physical ranges (start, end) that are recorded beside tables."""
        return self._ranges(_RANGES_OFFSET, self.header.range_count)

    @property
    def first_ranges(self) -> tuple[tuple[int, int], ...]:
        """Those that are recorded from the start."""
        return self.ranges[: self.header.first_range_count]

    def _ranges(self, offset: int, count: int) -> tuple[tuple[int, int], ...]:
        places = range(offset, offset + min(count, _MOST_RANGES) * _RANGE.size, _RANGE.size)
        return tuple(_RANGE.unpack_from(self._file, place) for place in places)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The moments that the machine can go back to, oldest first."""
        count = self.header.checkpoint_count
        places = range(_CHECKPOINTS_OFFSET, _CHECKPOINTS_OFFSET + count * _CHECKPOINT.size, _CHECKPOINT.size)
        found = []
        for place in places:
            *numbers, name = _CHECKPOINT.unpack_from(self._file, place)
            found.append(Checkpoint._make((*numbers, _text(name))))
        return tuple(found)

    def take_checkpoint(self, name: str, *, is_unmasked: bool = False) -> None:
        """Have a checkpoint taken; say whether the machine, which is stopped, has interrupts unmasked.

        Raises `RecordingError` with the recorder's reason.
        """
        data = name.encode()[: _NAME_BYTES - 1].decode(errors="ignore").encode()
        self._file[_NAME_OFFSET : _NAME_OFFSET + _NAME_BYTES] = data.ljust(_NAME_BYTES, b"\0")
        self._request(_TAKE_CHECKPOINT, int(is_unmasked))

    def travel(self, instructions: int, progress: Callable[[], object] = lambda: None) -> None:
        """Have the machine, which is stopped, brought to where it had executed so many instructions.

        `progress` is called again and again meanwhile; if it raises, the machine stops where it is. Raises
        `RecordingError` with the recorder's reason.
        """
        self._request(_TRAVEL, instructions, progress)

    def _request(
        self, operation: int, argument: int = 0, progress: Callable[[], object] = lambda: None
    ) -> None:
        # A request that was done before it could be cancelled leaves the mark.
        struct.pack_into("<3Q", self._file, _OPERATION_OFFSET, operation, argument, 0)
        number = self.header.request + 1
        struct.pack_into("<Q", self._file, _REQUEST_OFFSET, number)
        published = since = None
        try:
            while self.header.done < number:
                time.sleep(_LOOK_SECONDS)
                if published != (published := self.header.published):
                    since = time.monotonic()
                elif since is not None and time.monotonic() - since > _PATIENCE_SECONDS:
                    raise RecordingError("the recorder does not answer: has QEMU ended?")
                progress()
        except RecordingError:
            raise
        except BaseException:
            # Ctrl-C may come anywhere in there.
            self._cancel(number)
            raise
        if self.header.failed:
            message = self._file[_MESSAGE_OFFSET : _MESSAGE_OFFSET + _MESSAGE_BYTES]
            raise RecordingError(_text(message))

    def _cancel(self, number: int) -> None:
        """End a request, and wait until the machine is stopped again."""
        struct.pack_into("<Q", self._file, _CANCEL_OFFSET, 1)
        end = time.monotonic() + _PATIENCE_SECONDS
        while self.header.done < number and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode(errors="replace")


def _trimmed(addresses: Sequence[int]) -> tuple[int, ...]:
    """Addresses up to the first 0, but the link register in any case."""
    count = next((index for index, one in enumerate(addresses) if index and not one), len(addresses))
    return tuple(addresses[:count])
