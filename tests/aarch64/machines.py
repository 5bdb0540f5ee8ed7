"""Small machines for the tests: sparse memory of 64-bit words and the registers of one core."""

from __future__ import annotations

from gdbplugin.machine import PhysicalReadError

PAGE = 0x403  # valid page, access flag
BLOCK = 0x401
TABLE = 0x3
FEATURES = 0x10_1124
"""ID_AA64MMFR0_EL1: 44-bit physical addresses, 16-bit ASIDs, all three granules, no 52-bit addresses."""


class WordMachine:
    """A machine whose memory is words by address; whole tables within `present` read as zero elsewhere."""

    def __init__(self, words, registers=None, present=None, cores=(0,)):
        self.words = dict(words)
        self.registers = dict(registers or {})
        self.present = present or (lambda _: True)
        self.cores = list(cores)
        self.reads = []

    def read_physical(self, address, length):
        self.reads.append((address, length))
        if not self.present(address):
            raise PhysicalReadError(address, length)
        words = (self.words.get(where, 0) for where in range(address, address + length, 8))
        return b"".join(word.to_bytes(8, "little") for word in words)

    def register(self, name, _core):
        return self.registers.get(name)


def el1_registers(granule="4K", t0sz=16, t1sz=16, ttbr0=0, ttbr1=0, **others):
    """Registers of an EL1 with the MMU on, 44-bit outputs and 16-bit ASIDs, as on a Cortex-A72."""
    tg0 = {"4K": 0, "64K": 1, "16K": 2}[granule]
    tg1 = {"16K": 1, "4K": 2, "64K": 3}[granule]
    tcr = t0sz | t1sz << 16 | tg0 << 14 | tg1 << 30 | 4 << 32 | 1 << 36
    values = {"TCR_EL1": tcr, "SCTLR_EL1": 1, "TTBR0_EL1": ttbr0, "TTBR1_EL1": ttbr1}
    values.update(ID_AA64MMFR0_EL1=FEATURES, ID_AA64MMFR1_EL1=2, ID_AA64MMFR2_EL1=0)
    values.update(others)
    return values


class SetupMachine:
    """The memory and the registers of a set-up; memory is there only where tables may lie."""

    def __init__(self, setup, processor, start, end):
        self.start, self.end = start, end
        self.cores = (0,)
        self.words = setup.words
        self.registers = {**setup.registers, **processor.id_registers}
        self.registers["CPSR"] = setup.level << 2 | (setup.level > 0)

    def word(self, address):
        if self.start <= address < self.end:
            return self.words.get(address, 0).to_bytes(8, "little")
        return None

    def read_physical(self, address, length):
        if not self.start <= address <= address + length <= self.end:
            raise PhysicalReadError(address, length)
        return b"".join(self.word(where) for where in range(address, address + length, 8))

    def register(self, name, _core):
        return self.registers.get(name)
