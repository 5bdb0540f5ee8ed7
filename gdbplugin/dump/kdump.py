"""Reads kdump files, as QEMU's `dump-guest-memory -z` and makedumpfile write them.

The format is that of makedumpfile's `IMPLEMENTATION` and of QEMU's `include/system/dump.h`: two headers, two
bitmaps of pages, a table of page descriptors, and the pages, each compressed on its own. QEMU writes it
*flattened* by default: as a stream of parts, each with its place in the file proper.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from gdbplugin.dump.core_file import DumpError, Thread, read_notes, registers_of
from gdbplugin.layout.elf import zstd_module
from gdbplugin.machine import PhysicalReadError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

FLATTENED = b"makedumpfile\0"
MAGIC = b"KDUMP   "
_FLATTENED_HEADER_BYTES = 4096
_PART = struct.Struct(">qq")  # Place and size of what follows; both -1 at the end.
_MOST_PART_BYTES = 1 << 20

# Signature, version, utsname, timestamp; status, block_size, sub_hdr_size, bitmap_blocks, max_mapnr.
_HEADER = struct.Struct("<8sI390s22sIIIII")
# phys_base, dump_level, split, start, end, vmcoreinfo and its size, notes and their size, two more,
# start, end, and max_mapnr with 64 bits.
_SUBHEADER = struct.Struct("<QIIQQQQQQQQQQQ")
_DESCRIPTOR = struct.Struct("<QIIQ")
_ZLIB, _ZSTD = 0x1, 0x20
_COMPRESSIONS = {_ZLIB: "zlib", 0x2: "LZO", 0x4: "snappy", _ZSTD: "zstd"}
_COMPRESSED = sum(_COMPRESSIONS)
_MOST_BLOCK_BYTES = 1 << 16
_BITS = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))
_MOST_NOTE_BYTES = 16 << 20
_MOST_BITMAP_BYTES = 64 << 20  # For 2 TiB in pages of 4 KiB.
_GROUP_BYTES = 256
_GROUP_OF_ROWS = 4096


def unflattened(file: BinaryIO, path: Path) -> BinaryIO:
    """The file proper of a flattened one, in an unnamed temporary file. Raises `DumpError`, `OSError`."""
    found: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    file.seek(_FLATTENED_HEADER_BYTES)
    while True:
        head = file.read(_PART.size)
        if len(head) < _PART.size:
            raise DumpError(f"{path} is truncated: its last part is missing")
        place, size = _PART.unpack(head)
        if place < 0 or size < 0:
            return found
        found.seek(place)
        while size:
            data = file.read(min(size, _MOST_PART_BYTES))
            if not data:
                raise DumpError(f"{path} is truncated: {size:,} bytes of a part are missing")
            found.write(data)
            size -= len(data)


class KdumpFile:
    """A kdump file that is not flattened: its threads, which are cores, and its physical memory.

    Raises `DumpError` for a damaged one.
    """

    kind = "kdump"

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = file.seek(0, 2)
        header = self._exactly(0, _HEADER.size, "its header")
        _, _, _, _, _, self._block, subheader_blocks, bitmap_blocks, pages = _HEADER.unpack(header)
        if self._block not in range(512, _MOST_BLOCK_BYTES + 1):
            raise DumpError(f"{path} is damaged: it says that its blocks have {self._block:,} bytes")
        row = _SUBHEADER.unpack(self._exactly(self._block, _SUBHEADER.size, "its second header"))
        notes, note_size, wide_pages = row[7], row[8], row[13]
        bitmaps = self._block * (1 + subheader_blocks)
        half = bitmap_blocks * self._block // 2
        if half > _MOST_BITMAP_BYTES:
            raise DumpError(f"{path} is damaged: it says that its bitmaps of pages have {2 * half:,} bytes")
        # The second bitmap says which pages are in the file, the first which exist.
        self._present = self._exactly(bitmaps + half, half, "its bitmap of pages")
        self._descriptors = bitmaps + 2 * half
        self.pages = min(wide_pages or pages, half * 8)
        """Page frames from address 0 on."""
        # The number of pages before each group of the bitmap's bytes.
        self._before = [0]
        for start in range(0, half, _GROUP_BYTES):
            self._before.append(self._before[-1] + self._count(start, start + _GROUP_BYTES))
        self.threads: tuple[Thread, ...] = ()
        if note_size:
            data = self._exactly(notes, min(note_size, _MOST_NOTE_BYTES), "its list of notes")
            self.threads = tuple(filter(None, (registers_of(*note) for note in read_notes(data))))

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Its memory: start and size of each range."""
        return ((0, self.pages * self._block),)

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from a physical address; a page that is not in the file is zero there.

        Raises `PhysicalReadError`.
        """
        found = bytearray()
        position, end = address, address + length
        while position < end:
            page, inside = divmod(position, self._block)
            if page >= self.pages:
                raise PhysicalReadError(address, length, "the dump has no such memory")
            try:
                data = self._page(page)
            except DumpError as error:
                raise PhysicalReadError(address, length, str(error)) from error
            part = (data or bytes(self._block))[inside : inside + end - position]
            found += part
            position += len(part)
        return bytes(found)

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """Its pages that are not zero: physical address and bytes. Raises `DumpError`."""
        zeros, zero_place = bytes(self._block), -1
        rows = self._rows()
        for page in self._numbers():
            row = next(rows)
            # All pages of zeros share one place.
            if row[0] == zero_place or page >= self.pages:
                continue
            data = self._content(page, row)
            if data == zeros:
                zero_place = row[0]
            else:
                yield page * self._block, data

    def _numbers(self) -> Iterator[int]:
        """The numbers of the pages in the file."""
        for start, before in enumerate(self._before[:-1]):
            if before == self._before[start + 1]:
                continue
            first = start * _GROUP_BYTES
            for byte, bits in enumerate(self._present[first : first + _GROUP_BYTES], first):
                for bit in _BITS[bits]:
                    yield 8 * byte + bit

    def _rows(self) -> Iterator[tuple[int, ...]]:
        """The table of page descriptors; raises `DumpError` where it is cut off."""
        for index in range(0, self._before[-1], _GROUP_OF_ROWS):
            count = min(_GROUP_OF_ROWS, self._before[-1] - index)
            place, size = self._descriptors + index * _DESCRIPTOR.size, count * _DESCRIPTOR.size
            yield from _DESCRIPTOR.iter_unpack(self._exactly(place, size, "its table of pages"))

    def _count(self, start: int, end: int) -> int:
        """The number of pages that a part of the bitmap has."""
        return int.from_bytes(self._present[start:end], "little").bit_count()

    def _page(self, page: int) -> bytes | None:
        """A page's bytes; None if it is not in the file. Raises `DumpError`."""
        byte, bit = divmod(page, 8)
        bits = self._present[byte]
        if not bits >> bit & 1:
            return None
        group = byte // _GROUP_BYTES
        index = self._before[group] + self._count(group * _GROUP_BYTES, byte)
        index += (bits & (1 << bit) - 1).bit_count()
        place = self._descriptors + index * _DESCRIPTOR.size
        row = self._exactly(place, _DESCRIPTOR.size, f"the descriptor of page {page:#x}")
        return self._content(page, _DESCRIPTOR.unpack(row))

    def _content(self, page: int, row: tuple[int, ...]) -> bytes:
        """A page's bytes by its descriptor. Raises `DumpError`."""
        place, size, flags, _ = row
        what = f"page {page:#x}"
        if size > 2 * self._block:
            raise DumpError(f"{self._path} is damaged: it says that {what} takes {size:,} bytes")
        data = self._plain(self._exactly(place, size, what), flags & _COMPRESSED, what)
        if len(data) != self._block:
            raise DumpError(f"{self._path} is damaged: {what} has {len(data):,} bytes")
        return data

    def _plain(self, data: bytes, compression: int, what: str) -> bytes:
        if not compression:
            return data
        if compression == _ZLIB:
            new, failures = zlib.decompressobj, zlib.error
        elif compression == _ZSTD and zstd_module():
            new, failures = zstd_module().ZstdDecompressor, zstd_module().ZstdError
        else:
            name = _COMPRESSIONS.get(compression, f"compression {compression:#x}")
            raise DumpError(
                f"{self._path} is compressed with {name}, which is not read here: write it with zlib "
                "(dump-guest-memory -z)"
            )
        try:
            found: bytes = new().decompress(data, self._block)
        except failures as error:
            raise DumpError(f"{self._path} is damaged: {what} cannot be decompressed: {error}") from error
        return found

    def _exactly(self, place: int, size: int, what: str) -> bytes:
        if place + size > self._size:
            raise DumpError(f"{self._path} is truncated: {what} is cut off")
        self._file.seek(place)
        return self._file.read(size)
