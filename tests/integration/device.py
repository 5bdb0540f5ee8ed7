"""Device registers read and written as the kernel does it: by one of its own instructions.

QEMU gives a debugger no register of the interrupt controller: its registers are banked by the core that asks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile

from gdbplugin.session.gdb import Gdb
from tests.integration import guest

DEVICES = 0xFFFF_C000_0000_0000
"""Where the kernel maps devices."""
GIC_DISTRIBUTOR, GIC_CPU_INTERFACE = 0xFF84_1000, 0xFF84_2000
_LOAD, _STORE = 0xB940_0000, 0xB900_0000  # LDR and STR Wt, [Xn] (DDI 0487, C6.2)


class Devices:
    """The registers of devices at physical addresses, as one core sees them, stopped in the kernel."""

    def __init__(self, gdb: Gdb, elf: Path, core: int) -> None:
        # In `wfi`, QEMU lets a core take no step.
        assert "secondary_parked +" not in gdb.execute(f"thread apply {core + 1} -q info symbol $pc")
        self._gdb, self._core = gdb, core
        self._load, self._store = (_instruction(elf, opcode) for opcode in (_LOAD, _STORE))

    def read(self, address: int) -> int:
        """The 32 bits of a register."""
        return self._step(self._load, address)

    def write(self, address: int, value: int) -> None:
        """Write 32 bits to a register."""
        self._step(self._store, address, value)

    def _step(self, instruction: tuple[int, int, int], address: int, value: int = 0) -> int:
        """Step over an instruction of the kernel; what it leaves in its data register."""
        place, base, data = instruction
        gdb = self._gdb
        names = ("pc", f"x{base}", f"x{data}")
        before = [guest.register(gdb, self._core, name) for name in names]
        gdb.execute("set scheduler-locking on")
        try:
            for name, wanted in zip(names, (place, DEVICES + address, value), strict=True):
                gdb.execute(f"set var ${name} = {wanted}")
            gdb.execute("stepi")
            found = guest.register(gdb, self._core, f"x{data}")
            assert guest.register(gdb, self._core, "pc") == place + 4, "the access faulted"
        finally:
            gdb.execute(f"thread {self._core + 1}")
            for name, wanted in zip(names, before, strict=True):
                gdb.execute(f"set var ${name} = {wanted}")
            gdb.execute("set scheduler-locking off")
        return found & 0xFFFF_FFFF


def _instruction(elf: Path, opcode: int) -> tuple[int, int, int]:
    """An access without an offset in the kernel's text: its address, and the numbers of its two registers."""
    for address, word in _text(elf):
        base, data = word >> 5 & 31, word & 31
        if word & ~0x3FF == opcode and base != data and max(base, data) < 29:
            return address, base, data
    raise AssertionError(f"the kernel has no instruction {opcode:#x}")


def _text(elf: Path) -> Iterator[tuple[int, int]]:
    with elf.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".text")
        words: Sequence[tuple[int]] = list(struct.iter_unpack("<I", section.data()))
        yield from ((section["sh_addr"] + 4 * index, word) for index, (word,) in enumerate(words))
