"""Where a machine of QEMU's has devices, which reading may change: nobody who looks at memory means them.

A table entry gone wrong may well lead there: an interrupt controller takes a read for an acknowledgement.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable

ASK = "info mtree -f"
"""What QEMU's monitor is asked for."""
_SPACE = re.compile(r'^ AS "memory", root: ', re.MULTILINE)
_RANGE = re.compile(r"^ +([0-9a-f]+)-([0-9a-f]+) \(prio -?\d+, ([\w/]+)\): ([^@\n]*)", re.MULTILINE)


class MemoryMap:
    """Ranges of physical addresses that are devices', each with its name; ends are exclusive."""

    def __init__(self, devices: Iterable[tuple[int, int, str]] = ()) -> None:
        self._devices = sorted(devices)
        self._starts = [start for start, _, _ in self._devices]

    @classmethod
    def parse(cls, text: str) -> MemoryMap:
        """What QEMU says of its address spaces (`info mtree -f`); none are devices where it says nothing."""
        for view in text.split("FlatView #"):
            if _SPACE.search(view):
                found = (match.groups() for match in _RANGE.finditer(view))
                return cls(
                    (int(first, 16), int(last, 16) + 1, name.strip())
                    for first, last, kind, name in found
                    if kind == "i/o"
                )
        return cls()

    def device(self, address: int, length: int) -> str | None:
        """The name of a device that has a part in a range; None where there is none."""
        index = bisect_right(self._starts, address + length - 1) - 1
        if index < 0 or length <= 0:
            return None
        _, end, name = self._devices[index]
        return name if address < end else None
