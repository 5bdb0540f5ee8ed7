"""QEMU's map of physical memory: what is memory, and what a device that reading might change."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from gdbplugin.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ASK = "info mtree -f"
"""The monitor command that lists physical memory."""
_MEMORY = ("ram", "rom", "romd")
_SPACE = re.compile(r'^ AS "memory", root: ', re.MULTILINE)
_SECURE_SPACE = re.compile(r'^ AS "cpu-secure-memory-\d+", root: ', re.MULTILINE)
_RANGE = re.compile(r"^ +([0-9a-f]+)-([0-9a-f]+) \(prio -?\d+, ([\w/]+)\): ([^@\n]*)", re.MULTILINE)


class PhysicalRange(NamedTuple):
    """A range of QEMU's map of physical memory."""

    start: int
    """Its first physical address."""
    end: int
    """Its exclusive end."""
    kind: str
    """QEMU's kind: ram, rom, romd, or i/o for a device."""
    name: str
    """QEMU's name of the memory or the device."""

    @property
    def is_memory(self) -> bool:
        """Whether it is memory, and not a device."""
        return self.kind in _MEMORY


class MemoryMap:
    """QEMU's ranges of physical addresses (ends exclusive), each with its kind and name.

    Without any range, everything counts as memory. `secure` is the map of cores in Secure state, which may
    have more memory.
    """

    def __init__(
        self, ranges: Iterable[tuple[int, int, str, str]] = (), secure: MemoryMap | None = None
    ) -> None:
        self.secure = secure
        self.ranges = tuple(PhysicalRange(*entry) for entry in sorted(ranges))
        """Every range, by address."""
        self._memory: list[tuple[int, int]] = []
        self._devices: list[tuple[int, int, str]] = []
        for start, end, kind, name in self.ranges:
            if kind not in _MEMORY:
                self._devices.append((start, end, name))
            elif self._memory and self._memory[-1][1] == start:
                self._memory[-1] = (self._memory[-1][0], end)
            else:
                self._memory.append((start, end))

    @classmethod
    def parse(cls, text: str) -> MemoryMap:
        """The map in the output of `info mtree -f`."""
        views = text.split("FlatView #")
        secure = next(filter(_SECURE_SPACE.search, views), None)
        return cls(
            _ranges(next(filter(_SPACE.search, views), "")),
            None if secure is None else cls(_ranges(secure)),
        )

    @classmethod
    def of_rows(cls, rows: Any) -> MemoryMap:
        """The map in rows of JSON: start, end, kind and name; without a range if they are anything else."""
        found = []
        for row in rows if isinstance(rows, list) else ():
            if not (isinstance(row, list) and len(row) == 4):
                return cls()
            start, end, *words = row
            if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end):
                return cls()
            if not all(isinstance(word, str) for word in words):
                return cls()
            found.append((start, end, *words))
        return cls(found)

    @property
    def memory(self) -> Sequence[tuple[int, int]]:
        """The ranges that are memory, start and exclusive end; adjacent ones joined."""
        return self._memory

    def at(self, address: int) -> PhysicalRange | None:
        """The range at an address; None if nothing is there, or nothing is known."""
        index = bisect_right(self.ranges, address, key=lambda entry: entry.start) - 1
        if index < 0 or address >= self.ranges[index].end:
            return None if self.secure is None else self.secure.at(address)
        return self.ranges[index]

    def lack(self, address: int, length: int) -> str | None:
        """Why a range must not be read; None if all of it is memory.

        Secure memory does not count: other cores do not have it.
        """
        if not self._memory:
            return None
        index = bisect_right(self._memory, (address, 1 << 64)) - 1
        if index >= 0 and address + length <= self._memory[index][1]:
            return None
        device = self.device(address, length)
        return (
            "there is no memory"
            if device is None
            else f"the device {device} is there, and reading might change it"
        )

    def device(self, address: int, length: int) -> str | None:
        """The name of a device that overlaps a range, or None."""
        end = address + length
        return next((name for start, last, name in self._devices if start < end and address < last), None)


def _ranges(view: str) -> list[tuple[int, int, str, str]]:
    """The ranges that QEMU lists for one address space."""
    return [
        (int(first, 16), int(last, 16) + 1, kind, name.strip())
        for first, last, kind, name in _RANGE.findall(view)
    ]
