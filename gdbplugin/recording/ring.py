"""The file that the recorder writes: a header, then a ring of records.

`qemu/recorder/src/ring.rs` has the same layout; the two must agree. QEMU writes while this reads: what is
overwritten meanwhile is left out.
"""

from __future__ import annotations

import mmap
import os
import struct
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

_MAGIC = b"tinyrec\x01"
_HEADER = struct.Struct("<8s12Q")
_INSTRUCTIONS = struct.Struct("<8Q")
_RANGES_OFFSET = _HEADER.size + _INSTRUCTIONS.size
_RANGE = struct.Struct("<2Q")
_MOST_RANGES = 100
_RECORD = struct.Struct("<9Q4BI")
_HAS_FRAMES = 0x80
# Instructions after which the recorder reads the frames again.
_RECENT = 256
_CHUNK_RECORDS = 1 << 14
_REQUEST_OFFSET, _RANGE_COUNT_OFFSET = 8 * 8, 10 * 8


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
    """Instructions that the core had executed, this one included."""
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
    """Records since the start."""
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
        """The instructions that each core has executed, as last published."""
        return _INSTRUCTIONS.unpack_from(self._file, _HEADER.size)[: self.header.cores]

    @property
    def first(self) -> int:
        """The number of the oldest record that is still there, from 0."""
        return max(0, self.header.written - self._capacity)

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

        Raises `RecordingError` if there are too many. The recorder does it within a millisecond or two.
        """
        if len(ranges) > _MOST_RANGES:
            raise RecordingError(f"{len(ranges)} ranges are more than {_MOST_RANGES}")
        for index, one in enumerate(ranges):
            _RANGE.pack_into(self._file, _RANGES_OFFSET + index * _RANGE.size, *one)
        struct.pack_into("<Q", self._file, _RANGE_COUNT_OFFSET, len(ranges))
        struct.pack_into("<Q", self._file, _REQUEST_OFFSET, self.header.request + 1)


def _trimmed(addresses: Sequence[int]) -> tuple[int, ...]:
    """Addresses up to the first 0, but the link register in any case."""
    count = next((index for index, one in enumerate(addresses) if index and not one), len(addresses))
    return tuple(addresses[:count])
