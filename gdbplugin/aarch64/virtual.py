"""Virtual memory as the walker sees it: reads by input address that never ask the debugger to translate."""

from __future__ import annotations

from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.walk import Fault, translate
from gdbplugin.machine import Machine, MachineError


class UntranslatedAddressError(MachineError):
    """A virtual address on the way of a read has no translation."""

    def __init__(self, address: int, fault: Fault) -> None:
        super().__init__(
            f"{address:#x} is not mapped: {fault.kind} fault at level {fault.level}, {fault.reason}"
        )
        self.address = address
        self.fault = fault


class VirtualMemory:
    """Reads by virtual address in one regime of a machine."""

    def __init__(self, machine: Machine, regime: TranslationRegime) -> None:
        self.machine = machine
        self.regime = regime

    def extents(self, address: int, length: int) -> list[tuple[int, int]]:
        """The physical extents (address, length) behind a virtual range, contiguous ones joined.

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
            if found and sum(found[-1]) == translation.output:
                found[-1] = (found[-1][0], found[-1][1] + here)
            else:
                found.append((translation.output, here))
            position += here
        return found

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from virtual `address`, one physical read for each contiguous extent.

        Raises `UntranslatedAddressError`, or what the machine's own reads raise.
        """
        extents = self.extents(address, length)
        return b"".join([self.machine.read_physical(start, size) for start, size in extents])
