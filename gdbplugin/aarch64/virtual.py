"""Virtual memory as the walker sees it: reads by input address that never ask the debugger to translate."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gdbplugin.aarch64.descriptor import ACCESS_FLAG, LAST_LEVEL, Kind, kind_of
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.walk import UNKNOWN, Fault, Level, translate
from gdbplugin.machine import Machine, MachineError, PhysicalReadError


class UntranslatedAddressError(MachineError):
    """A virtual address of a read is not mapped, or its translation cannot be read."""

    def __init__(self, address: int, fault: Fault) -> None:
        what = "cannot be translated" if fault.kind == UNKNOWN else "is not mapped"
        super().__init__(f"{address:#x} {what}: {fault.title} at level {fault.level}, {fault.reason}")
        self.address = address
        self.fault = fault


def _append(found: list[tuple[int, int]], output: int, size: int) -> None:
    """Add a physical range, joined with the last one if they are adjacent."""
    if found and sum(found[-1]) == output:
        found[-1] = (found[-1][0], found[-1][1] + size)
    else:
        found.append((output, size))


class VirtualMemory:
    """Reads by virtual address in one regime of a machine."""

    def __init__(self, machine: Machine, regime: TranslationRegime) -> None:
        self.machine = machine
        self.regime = regime

    def physical_ranges(self, address: int, length: int) -> list[tuple[int, int]]:
        """The physical ranges (address, length) that a virtual range maps to; adjacent ones are joined.

        A long range costs one walk for each last table: the rest of that table is read as a whole.
        Raises `UntranslatedAddressError` at the first address that is not mapped.
        """
        found: list[tuple[int, int]] = []
        position, end = address, address + length
        while position < end:
            translation = translate(self.machine, self.regime, position)
            if translation.output is None:
                assert translation.fault is not None
                raise UntranslatedAddressError(position, translation.fault)
            here = min(end - position, translation.size - position % translation.size)
            _append(found, translation.output, here)
            position += here
            if position < end and translation.levels:
                for output, size in self._neighbours(position, translation.levels[-1]):
                    here = min(end - position, size)
                    _append(found, output, here)
                    position += here
                    if position == end:
                        break
        return found

    def _neighbours(self, address: int, leaf: Level) -> Iterator[tuple[int, int]]:
        """Output addresses and sizes of the pages after a page, up to the first that needs a full walk.

        `address` is the end of that page, `leaf` the step of the walk that found it.
        """
        control = self.regime.control(address)
        size = 1 << control.granule_bits
        count = control.table_bytes(LAST_LEVEL) // 8 - leaf.index - 1
        if leaf.level != LAST_LEVEL or count <= 0 or self.regime.stage2 is not None:
            return
        try:
            data = self.machine.read_physical(leaf.address + 8, 8 * count)
        except PhysicalReadError:
            return  # The walk of the next address says what is wrong.
        order = ">" if control.big_endian else "<"
        for descriptor in struct.unpack(f"{order}{count}Q", data):
            usable = descriptor & ACCESS_FLAG or control.hardware_access_flag
            if kind_of(descriptor, LAST_LEVEL, control.block_levels) is not Kind.PAGE or not usable:
                return
            output = control.output_address(descriptor, control.granule_bits)
            if output >> control.output_bits:
                return
            yield output, size

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from virtual `address`, one physical read for each physical range.

        Raises `UntranslatedAddressError`, or what the machine's own reads raise.
        """
        ranges = self.physical_ranges(address, length)
        return b"".join([self.machine.read_physical(start, size) for start, size in ranges])
