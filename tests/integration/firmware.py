"""Firmware that enters the kernel at a level of the test's choice, and has left the registers in disorder.

QEMU starts it at EL3 on all four cores. It is made of machine words (DDI 0487, C6.2).
"""

from __future__ import annotations

import struct

LOAD = 0x3000_0000
"""Where it lies: RAM that the kernel does not use."""
KERNEL, TREE = 0x8_0000, 0x2EFF_0000
"""Where the kernel's image and the device tree lie."""
_ENTER = 0x800
"""The part that runs at the wanted level begins here."""
_WORDS_OF_STORE = 9
_SPIN_TABLE = 0xD8
_GIC_DISTRIBUTOR, _GIC_CPU_INTERFACE = 0xFF84_1000, 0xFF84_2000
STRAY_INTERRUPT = 30
"""The physical timer's: nothing in the kernel expects it, and it stays asserted."""

# op0, op1, CRn, CRm, op2 (DDI 0487, C5.3 and D19).
_MPIDR_EL1 = (3, 0, 0, 0, 5)
_SCR_EL3, _SPSR_EL3, _ELR_EL3 = (3, 6, 1, 1, 0), (3, 6, 4, 0, 0), (3, 6, 4, 0, 1)
_HCR_EL2, _CNTHCTL_EL2 = (3, 4, 1, 1, 0), (3, 4, 14, 1, 0)
_CNTP_CTL_EL0, _CNTP_CVAL_EL0 = (3, 3, 14, 2, 1), (3, 3, 14, 2, 2)
_NOWHERE = 0x1F_F000_0000
_DISORDER = {
    1: {
        (3, 0, 12, 0, 0): _NOWHERE,  # VBAR_EL1
        (3, 0, 1, 0, 2): 3 << 20,  # CPACR_EL1: no traps of floating point
        (3, 3, 9, 14, 0): 0xF,  # PMUSERENR_EL0: EL0 has the event counters
        (3, 0, 14, 1, 0): 0x3FF,  # CNTKCTL_EL1: EL0 has the timers
        (3, 0, 2, 0, 0): _NOWHERE,  # TTBR0_EL1
        (3, 0, 2, 0, 1): _NOWHERE,  # TTBR1_EL1
        (3, 3, 13, 0, 3): 0x5EC2E7,  # TPIDRRO_EL0
        (3, 0, 13, 0, 1): 0xFFFF_FFFF,  # CONTEXTIDR_EL1
    },
    2: {
        (3, 4, 12, 0, 0): _NOWHERE,  # VBAR_EL2
        (3, 4, 1, 1, 1): 0xFE0,  # MDCR_EL2: debug and performance registers trap; EL1 has no event counter
        (3, 4, 1, 1, 0): 1 << 27 | 1 << 26,  # HCR_EL2: TGE, TVM
        (3, 4, 1, 1, 2): 0x8000_33FF,  # CPTR_EL2: CPACR_EL1 traps
        (3, 4, 1, 1, 3): 0xFFFF,  # HSTR_EL2
        (3, 4, 14, 0, 3): 0x1234_5678_9ABC,  # CNTVOFF_EL2
        (3, 4, 14, 1, 0): 0,  # CNTHCTL_EL2: EL1 may not use the timers
        (3, 4, 0, 0, 0): 0,  # VPIDR_EL2
        (3, 4, 0, 0, 5): 3,  # VMPIDR_EL2: every core is core 3
    },
    3: {
        (3, 6, 12, 0, 0): _NOWHERE,  # VBAR_EL3
        (3, 6, 1, 3, 1): 0x640,  # MDCR_EL3: debug and performance registers trap
        (3, 6, 1, 1, 2): 1 << 31,  # CPTR_EL3: CPACR_EL1 and CPTR_EL2 trap
    },
}
"""What the kernel has to set right where it is entered at a level, or above it."""
_MODES = {1: 0x3C4, 2: 0x3C8}
"""SPSR_EL3 of EL1 and EL2 with all masked, on SP_EL0: firmware may have used either stack pointer."""


def program(level: int, tree: int = 0, *, stray_interrupt: bool = False) -> bytes:
    """An ELF of firmware that enters the kernel at `level`, on core 0 with `tree` in X0."""
    return _elf(_Code().firmware(level, tree, stray_interrupt))


class _Code:
    """Machine words, one after the other. X1 is the number of the core; X0, X2 and X3 change."""

    def __init__(self) -> None:
        self._words: list[int] = []

    def firmware(self, level: int, tree: int, stray_interrupt: bool) -> bytes:
        """The whole program."""
        self._add(0xD538_00A1, 0x9240_0421)  # mrs x1, mpidr_el1; and x1, x1, #3
        if level < 3:
            groups = _GIC_DISTRIBUTOR + 0x80  # GICD_IGROUPR
            self._store(groups, 0xFFFF_FFFF)
            # The cores share the others. Later than core 0, another core might undo what the kernel has set.
            self._add(0xB500_0000 | (1 + 7 * _WORDS_OF_STORE) << 5 | 1)  # cbnz x1, over them
            for number in range(1, 8):
                self._store(groups + 4 * number, 0xFFFF_FFFF)
            self._store(_GIC_CPU_INTERFACE + 4, 0xFF)  # GICC_PMR
        self._use_interrupts()
        if stray_interrupt:
            self._leave_an_interrupt()
        for upper in range(1, level + 1):
            for register, value in _DISORDER[upper].items():
                self._set(register, value)
        if level == 1:
            self._set(_HCR_EL2, 1 << 31)
            self._set(_CNTHCTL_EL2, 3)
        if level < 3:
            self._set(_SCR_EL3, 0x5B1)
            self._set(_SPSR_EL3, _MODES[level])
            self._set(_ELR_EL3, LOAD + _ENTER)
            self._add(0xD69F_03E0)  # eret
        else:
            self._move(2, LOAD + _ENTER)
            self._add(0xD61F_0040)  # br x2
        assert len(self._words) <= _ENTER // 4
        self._add(*[0] * (_ENTER // 4 - len(self._words)))
        self._enter(tree)
        return struct.pack(f"<{len(self._words)}I", *self._words)

    def _use_interrupts(self) -> None:
        """Core 0 leaves the kernel's interrupts (0, 27, 121) active, and of the lowest priority."""
        stores = {
            0x300: 1 << 27 | 1,  # GICD_ISACTIVER
            0x30C: 1 << 25,
            0x400: 0xFFFF_FFFF,  # GICD_IPRIORITYR
            0x418: 0xFFFF_FFFF,
            0x478: 0xFFFF_FFFF,
        }
        self._add(0xB500_0000 | (1 + len(stores) * _WORDS_OF_STORE) << 5 | 1)  # cbnz x1, over them
        for offset, value in stores.items():
            self._store(_GIC_DISTRIBUTOR + offset, value)

    def _leave_an_interrupt(self) -> None:
        """A timer that has fired, and whose interrupt is enabled."""
        self._set(_CNTP_CVAL_EL0, 0)
        self._set(_CNTP_CTL_EL0, 1)
        self._store(_GIC_DISTRIBUTOR + 0x100, 1 << STRAY_INTERRUPT)

    def _enter(self, tree: int) -> None:
        """Core 0 goes to the kernel, the others wait for an address in the spin table."""
        self._add(0xB500_0000 | 10 << 5 | 1)  # cbnz x1, to the second part
        self._move(0, tree)
        self._move(2, KERNEL)
        self._add(0xD61F_0040)  # br x2
        self._move(2, _SPIN_TABLE)
        # add x2, x2, x1, lsl #3; wfe; ldr x3, [x2]; cbz x3, to wfe; br x3
        self._add(0x8B01_0C42, 0xD503_205F, 0xF940_0043, 0xB4FF_FFC3, 0xD61F_0060)

    def _store(self, address: int, value: int) -> None:
        """Write 32 bits."""
        self._move(2, address)
        self._move(0, value)
        self._add(0xB900_0040)  # str w0, [x2]

    def _set(self, register: tuple[int, int, int, int, int], value: int) -> None:
        """Write a system register."""
        self._move(0, value)
        op0, op1, crn, crm, op2 = register
        self._add(0xD500_0000 | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5)

    def _move(self, register: int, value: int) -> None:
        """movz and three movk."""
        for quarter, opcode in enumerate((0xD280_0000, 0xF2A0_0000, 0xF2C0_0000, 0xF2E0_0000)):
            self._add(opcode | (value >> 16 * quarter & 0xFFFF) << 5 | register)

    def _add(self, *words: int) -> None:
        self._words += words


def _elf(program: bytes) -> bytes:
    """An ELF that QEMU loads at LOAD and enters there."""
    header, segment = 64, 56
    identification = b"\x7fELF\x02\x01\x01" + bytes(9)
    return (
        struct.pack(
            "<16sHHIQQQIHHHHHH", identification, 2, 183, 1, LOAD, header, 0, 0, header, segment, 1, 0, 0, 0
        )
        + struct.pack("<IIQQQQQQ", 1, 5, header + segment, LOAD, LOAD, len(program), len(program), 4)
        + program
    )
