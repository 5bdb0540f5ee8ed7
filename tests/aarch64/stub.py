"""A boot stub in machine code: it loads system registers from memory and goes to the level it is told.

Written out by hand (DDI 0487, C4.1), so that the tests need no assembler. Entered at EL3, it takes values
from a mailbox, sets the registers to them, and leaves in the mailbox what they read as then. It executes
address translation instructions (AT) on the addresses it finds there, says that it is done, and returns to
the level, the address and the state the mailbox names. There it finds `b .`, if that page is mapped, else
it takes exceptions for ever; either way the registers stay as they are.
"""

from __future__ import annotations

import struct

ENCODINGS = {
    "SCR_EL3": (3, 6, 1, 1, 0),
    "HCR_EL2": (3, 4, 1, 1, 0),
    "SCTLR_EL1": (3, 0, 1, 0, 0),
    "TTBR0_EL1": (3, 0, 2, 0, 0),
    "TTBR1_EL1": (3, 0, 2, 0, 1),
    "TCR_EL1": (3, 0, 2, 0, 2),
    "MAIR_EL1": (3, 0, 10, 2, 0),
    "SCTLR_EL2": (3, 4, 1, 0, 0),
    "TTBR0_EL2": (3, 4, 2, 0, 0),
    "TTBR1_EL2": (3, 4, 2, 0, 1),
    "TCR_EL2": (3, 4, 2, 0, 2),
    "MAIR_EL2": (3, 4, 10, 2, 0),
    "VTTBR_EL2": (3, 4, 2, 1, 0),
    "VTCR_EL2": (3, 4, 2, 1, 2),
    "TTBR0_EL3": (3, 6, 2, 0, 0),
    "TCR_EL3": (3, 6, 2, 0, 2),
    "SPSR_EL3": (3, 6, 4, 0, 0),
    "ELR_EL3": (3, 6, 4, 0, 1),
    "VBAR_EL1": (3, 0, 12, 0, 0),
    "VBAR_EL2": (3, 4, 12, 0, 0),
    "VBAR_EL3": (3, 6, 12, 0, 0),
    "SCTLR_EL3": (3, 6, 1, 0, 0),
    "MPIDR_EL1": (3, 0, 0, 0, 5),
    "PAR_EL1": (3, 0, 7, 4, 0),
    "ID_AA64MMFR0_EL1": (3, 0, 0, 7, 0),
    "ID_AA64MMFR1_EL1": (3, 0, 0, 7, 1),
    "ID_AA64MMFR2_EL1": (3, 0, 0, 7, 2),
}
_APART = ("SCTLR_EL3", "MPIDR_EL1", "PAR_EL1")
WRITTEN = tuple(name for name in ENCODINGS if name not in _APART and name[:3] != "ID_")
READ = tuple(name for name in ENCODINGS if name not in _APART)
SLOTS = {name: 8 * number for number, name in enumerate(ENCODINGS)}
READ_BACK, DONE, COUNT, PROBES, RESULTS, MAILBOX_BYTES = 0x400, 0x800, 0x808, 0x1000, 0x2000, 0x6000
MAXIMUM_PROBES = (RESULTS - PROBES) // 8
TRANSLATIONS = {
    "S1E1R": (0, 8, 0),
    "S1E1W": (0, 8, 1),
    "S1E0R": (0, 8, 2),
    "S1E0W": (0, 8, 3),
    "S1E2R": (4, 8, 0),
    "S1E2W": (4, 8, 1),
    "S1E1RP": (0, 9, 0),
    "S1E1WP": (0, 9, 1),
}
"""AT instructions, by op1, CRm and op2 (C5.5). The last two heed PSTATE.PAN, which the stub sets for them."""
WITH_PAN = frozenset({"S1E1RP", "S1E1WP"})

_ISB, _DSB, _ERET, _WFI = 0xD503_3FDF, 0xD503_3F9F, 0xD69F_03E0, 0xD503_207F
SPIN = struct.pack("<I", 0x1400_0000)
"""`b .`"""


def _system(operation: int, name: str) -> int:
    op0, op1, crn, crm, op2 = ENCODINGS[name]
    return operation | (op0 & 1) << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | 1


def _msr(name: str) -> int:
    """Msr NAME, x1."""
    return _system(0xD510_0000, name)


def _mrs(name: str) -> int:
    """Mrs x1, NAME."""
    return _system(0xD530_0000, name)


def _load(offset: int) -> int:
    """Ldr x1, [x0, #offset]."""
    return 0xF940_0000 | offset // 8 << 10 | 1


def _store(offset: int) -> int:
    """Str x1, [x0, #offset]."""
    return 0xF900_0000 | offset // 8 << 10 | 1


def _translations(names: tuple[str, ...]) -> list[int]:
    """Execute each AT on each of the mailbox's addresses, and leave PAR_EL1 in the mailbox."""
    body = []
    for name in names:
        op1, crm, op2 = TRANSLATIONS[name]
        body += [0xD508_7005 | op1 << 16 | crm << 8 | op2 << 5, _ISB, _mrs("PAR_EL1")]  # at NAME, x5
        body.append(0xF800_8481)  # str x1, [x4], #8
    # ldr x2, [x0, #COUNT]; add x3, x0, #PROBES; add x4, x0, #RESULTS
    head = [0xF940_0002 | COUNT // 8 << 10, 0x9140_0003 | PROBES >> 2, 0x9140_0004 | RESULTS >> 2]
    if WITH_PAN & set(names):
        head.append(0xD500_419F)  # msr pan, #1
    # again: cbz x2, out; ldr x5, [x3], #8; …; sub x2, x2, #1; b again; out:
    turn = [0xB400_0002 | (len(body) + 4) << 5, 0xF840_8465, *body, 0xD100_0442]
    return [*head, *turn, 0x1400_0000 | -len(turn) & 0x3FF_FFFF]


def code(mailbox: int, absent: frozenset[str] = frozenset(), translations: tuple[str, ...] = ()) -> bytes:
    """The stub, for a mailbox at that physical address and a processor without the registers `absent`."""
    body = []
    for name in WRITTEN:
        if name not in absent:
            body += [_load(SLOTS[name]), _msr(name)]
    body.append(_ISB)
    for name in READ:
        if name not in absent:
            body += [_mrs(name), _store(READ_BACK + SLOTS[name])]
    body += _translations(translations)
    body += [0xD280_0021, _DSB, _store(DONE), _DSB]  # mov x1, #1
    body += [_load(SLOTS["SCTLR_EL3"]), _msr("SCTLR_EL3"), _ISB, _ERET]
    # The first core only: and x1, x1, #0xff; cbnz x1, park; ldr x0, mailbox.
    park = len(body) + 4
    head = [_mrs("MPIDR_EL1"), 0x9240_1C21, 0xB500_0000 | (park - 2) << 5 | 1]
    literal = park + 2 + park % 2
    head.append(0x5800_0000 | (literal - 3) << 5)
    words = [*head, *body, _WFI, 0x17FF_FFFF]  # park: wfi; b park
    words += [0] * (literal - len(words))
    return struct.pack(f"<{len(words)}IQ", *words, mailbox)


def elf(address: int, program: bytes) -> bytes:
    """An ELF executable of one segment that is entered at its first byte (ELF-64, EM_AARCH64)."""
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, address, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = len(program)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0x1000, address, address, size, size, 0x1000)
    return (identity + header + segment).ljust(0x1000, b"\0") + program
