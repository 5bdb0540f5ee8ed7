"""Where a machine of QEMU's has memory: what lies elsewhere is a device, which reading may change.

A table entry gone wrong may well lead there: an interrupt controller takes a read for an acknowledgement.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable

ASK = "info mtree -f"
"""What QEMU's monitor is asked for."""
_MEMORY = ("ram", "rom", "romd")
_SPACE = re.compile(r'^ AS "memory", root: ', re.MULTILINE)
_SECURE_SPACE = re.compile(r'^ AS "cpu-secure-memory-\d+", root: ', re.MULTILINE)
_RANGE = re.compile(r"^ +([0-9a-f]+)-([0-9a-f]+) \(prio -?\d+, ([\w/]+)\): ([^@\n]*)", re.MULTILINE)


class MemoryMap:
    """Ranges of physical addresses (ends exclusive), each of a kind and with a name, as QEMU calls them.

    Where nothing is known of any, everything is taken for memory. `secure` is the same of the addresses as
    cores in Secure state have them, which may have more there.
    """

    def __init__(
        self, ranges: Iterable[tuple[int, int, str, str]] = (), secure: MemoryMap | None = None
    ) -> None:
        self.secure = secure
        self._memory: list[tuple[int, int]] = []
        self._devices: list[tuple[int, int, str]] = []
        for start, end, kind, name in sorted(ranges):
            if kind not in _MEMORY:
                self._devices.append((start, end, name))
            elif self._memory and self._memory[-1][1] == start:
                self._memory[-1] = (self._memory[-1][0], end)
            else:
                self._memory.append((start, end))

    @classmethod
    def parse(cls, text: str) -> MemoryMap:
        """What QEMU says of its address spaces (`info mtree -f`)."""
        views = text.split("FlatView #")
        secure = next(filter(_SECURE_SPACE.search, views), None)
        return cls(
            _ranges(next(filter(_SPACE.search, views), "")),
            None if secure is None else cls(_ranges(secure)),
        )

    def lack(self, address: int, length: int) -> str | None:
        """Why a range is not to be read; None where it lies in memory.

        Of Secure memory nothing is said: it is no memory of other cores.
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
            else f"the device {device} is there, which reading might change"
        )

    def device(self, address: int, length: int) -> str | None:
        """The name of a device that has a part in a range; None where there is none."""
        end = address + length
        return next((name for start, last, name in self._devices if start < end and address < last), None)


def _ranges(view: str) -> list[tuple[int, int, str, str]]:
    """The ranges that QEMU lists in one view of addresses."""
    return [
        (int(first, 16), int(last, 16) + 1, kind, name.strip())
        for first, last, kind, name in _RANGE.findall(view)
    ]
