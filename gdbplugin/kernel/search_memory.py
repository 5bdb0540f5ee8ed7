"""The memory that `tinyos search` goes through: all of a machine's, or what tables map, part by part.

All physical memory is read from a file: the RAM that a session shares with QEMU, which has holes where the
guest never wrote, or a dump. Where there is none the machine is asked, and only for what is mapped.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from gdbplugin.aarch64.registers import is_device
from gdbplugin.aarch64.walk import table_memory
from gdbplugin.kernel.locator import PLAIN_OWNERS, Locator
from gdbplugin.kernel.maps import MapReader, Wanted, own_spaces
from gdbplugin.kernel.matching import Pattern
from gdbplugin.kernel.owned_ranges import OwnedRange
from gdbplugin.kernel.spaces import PAGE_BYTES
from gdbplugin.kernel.target import StoredMemory, Target
from gdbplugin.machine import MachineError, PhysicalReadError, uncached
from gdbplugin.records import NamedTuple

_BLOCK_BYTES = 1 << 18
"""Read at once where the machine is asked: Ctrl-C waits for it."""

_MOST_BYTES = 1 << 36
"""Searched at once: tables that are damaged may map any memory any number of times."""

Read = Callable[[int, int], bytes]
Parts = Iterator[tuple[int, bytes]]


class Piece(NamedTuple):
    """A range of addresses that is one range of physical memory.

    `is_known` is whether that was searched before, at another address: then only its ends are, with their
    neighbours.
    """

    start: int
    size: int
    physical: int
    is_known: bool = False


class Run:
    """Memory by ascending address, which may be virtual or physical.

    With a function that opens the file of all memory, the parts are the file's, and what is between two of
    them is zero.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        read: Read,
        *,
        overlap: int = 0,
        open_stored: Callable[[], StoredMemory | None] | None = None,
    ) -> None:
        """`overlap` is how many bytes before the end of a page a match may begin that goes on in the next."""
        self.pieces = pieces
        *self._before, self.size = accumulate(
            (0 if piece.is_known else piece.size for piece in pieces), initial=0
        )
        self.unread = 0
        """Bytes that could not be read."""
        self._read = read
        self._overlap = overlap
        self._starts = [piece.start for piece in pieces]
        self._open_stored = open_stored
        self.zero_between: tuple[int, int] | None = None
        """The range of memory that is zero where no part is; None if nothing is there."""
        if open_stored is not None and pieces:
            self.zero_between = pieces[0].start, pieces[-1].start + pieces[-1].size

    def parts(self) -> Parts:
        """The bytes, at most 1 MiB at once; what cannot be read is left out."""
        # Opened again: reading all of a dump closes it.
        stored = None if self._open_stored is None else self._open_stored()
        if stored is not None:
            with contextlib.closing(stored):
                yield from stored.parts()
            return
        for piece in self.pieces:
            for offset, length in self._blocks(piece):
                try:
                    data = self._read(piece.physical + offset, length)
                except PhysicalReadError:
                    self.unread += 0 if piece.is_known else length
                    continue
                yield piece.start + offset, data

    def _blocks(self, piece: Piece) -> Iterator[tuple[int, int]]:
        """Offset and length of what is read of a piece."""
        overlap, size = self._overlap, piece.size
        if not piece.is_known or size <= 2 * overlap:
            yield from ((offset, min(_BLOCK_BYTES, size - offset)) for offset in range(0, size, _BLOCK_BYTES))
        elif overlap:
            yield from ((0, overlap), (size - overlap, overlap))

    def place(self, address: int) -> tuple[int, int] | None:
        """The physical address, and how many bytes go on there; None outside."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        start, size, physical, _ = self.pieces[index]
        offset = address - start
        return (physical + offset, size - offset) if offset < size else None

    def passed(self, address: int) -> int:
        """How many bytes come before an address."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return 0
        piece = self.pieces[index]
        return self._before[index] + (0 if piece.is_known else min(address - piece.start, piece.size))

    def contents(self, address: int, length: int) -> bytes:
        """The bytes at an address; fewer where they end. Raises `PhysicalReadError`."""
        data = b""
        while len(data) < length and (there := self.place(address + len(data))) is not None:
            data += self._read(there[0], min(length - len(data), there[1]))
        return data


class Sources:
    """What can be searched of a target for a pattern; the end of its `with` closes files."""

    def __init__(self, target: Target, locator: Locator, pattern: Pattern) -> None:
        self._target = target
        self._locator = locator
        self._overlap = pattern.size - 1 if pattern.may_cross(PAGE_BYTES) else 0
        self._covered = _Covered()
        self._left = _MOST_BYTES
        self._stack = contextlib.ExitStack()
        self.stored = target.stored_memory()
        if self.stored is not None:
            self._stack.callback(self.stored.close)

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def physical(self, stored: StoredMemory) -> list[Run]:
        """All physical memory, as one run."""
        pieces = [Piece(start, size, start) for start, size in stored.ranges if size]
        return [Run(pieces, stored.read, open_stored=self._target.stored_memory)]

    def mapped(self) -> list[Run]:
        """What each known address space maps; with the MMU off, all memory that QEMU's map has."""
        view = self._locator.view
        if not view.regime.enabled:
            memory = self._target.memory_map.memory
            if not memory:
                raise MachineError(
                    "the MMU is off, and this target does not say where it has memory: give a range, "
                    "--in START..END"
                )
            return [Run([Piece(start, end - start, start) for start, end in memory], self._reader())]
        # Maps of all memory last: what is in use is also mapped elsewhere, and hits there say more.
        grouped: dict[tuple[bool, int], list[OwnedRange]] = {}
        for space, found in self._locator.index.ranges:
            grouped.setdefault((found.owner in PLAIN_OWNERS, id(space)), []).append(found)
        groups = sorted(grouped.items(), key=lambda entry: entry[0][0])
        return [
            Run(self._pieces(self._mapped(ranges)), self._reader(), overlap=self._overlap)
            for _, ranges in groups
        ]

    def range(self, start: int, end: int) -> list[Run]:
        """A range of virtual addresses, as it is translated now."""
        view = self._locator.view_for(start)
        if not view.regime.enabled:
            return [self._noted(Run(self._pieces([(start, end, start)]), self._reader()), end - start)]
        reader = MapReader(view, self._locator.objects, Wanted((start, end)), self._locator.bounds)
        ranges = [found for space in own_spaces(view) for found in reader.ranges(space)]
        if reader.stopped_at is not None:
            self._target.diagnostics.add_note(
                f"the search stops at {reader.stopped_at:#x}: at most {reader.limit} are read at once"
            )
        return [self._noted(Run(self._pieces(self._mapped(ranges)), self._reader()), end - start)]

    def _noted(self, run: Run, size: int) -> Run:
        """The run, with a note if it is less than what was asked for."""
        missing = size - sum(piece.size for piece in run.pieces)
        if missing:
            self._target.diagnostics.add_note(
                f"{missing:,} bytes of the range are not mapped memory, and were not searched"
            )
        return run

    def _mapped(self, ranges: Sequence[OwnedRange]) -> Iterator[tuple[int, int, int]]:
        """Start, end and physical address of the pieces of ranges, but for device memory."""
        for found in ranges:
            if not is_device(found.memory_type):
                yield from ((piece.start, piece.end, piece.physical) for piece in found.pieces())

    def _pieces(self, pieces: Iterable[tuple[int, int, int]]) -> list[Piece]:
        """The parts of pieces (start, end, physical address) that are memory, and may be read."""
        found: list[Piece] = []
        for start, end, physical in pieces:
            for piece in self._safe(start, physical, end - start):
                is_known = self._covered.add(piece.physical, piece.size)
                self._left -= 0 if is_known else piece.size
                if self._left < 0:
                    self._target.diagnostics.add_note(
                        f"the search stops at {piece.start:#x}: at most {_MOST_BYTES >> 30} GiB are searched "
                        "at once; --in START..END searches a part"
                    )
                    return found
                found.append(piece._replace(is_known=is_known))
        return found

    def _safe(self, start: int, physical: int, size: int) -> Iterator[Piece]:
        """The parts of a piece that are memory: reading a device may change it."""
        view, memory = self._locator.view, self._target.memory_map.memory
        if self.stored is not None and not memory:
            memory = [(first, first + length) for first, length in self.stored.ranges]
        if view.regime.second_stage or not memory:
            # The addresses are intermediate ones, or nothing is known: each read is checked itself.
            yield Piece(start, size, physical)
            return
        for first, last in memory:
            low, high = max(first, physical), min(last, physical + size)
            if low < high:
                yield Piece(start + low - physical, high - low, low)

    def _reader(self) -> Read:
        """What reads physical memory; under a hypervisor, intermediate physical memory."""
        view, stored = self._locator.known_view, self.stored
        if view is not None and view.regime.second_stage:
            return table_memory(view.machine, view.regime).read_physical
        # Not through the cache: it would grow as large as the memory.
        machine = uncached(self._target.machine)
        if stored is None:
            return machine.read_physical
        ranges = stored.ranges

        def read(address: int, length: int) -> bytes:
            for start, size in ranges:
                if start <= address and address + length <= start + size:
                    return stored.read(address, length)
            return machine.read_physical(address, length)

        return read


class _Covered:
    """Ranges of memory, joined where they overlap: where they only touch, nothing was searched across."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, size: int) -> bool:
        """Add a range; returns whether all of it was there."""
        end = start + size
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        if first < last:
            if self._starts[first] <= start and end <= self._ends[first]:
                return True
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last], self._ends[first:last] = [start], [end]
        return False
