"""A program for a bare machine that switches the MMU on and then writes translation tables, one word a step.

It is made here of words: no assembler is needed, and the address of each store is known.
"""

from __future__ import annotations

import struct

CODE, TABLES = 0x4020_0000, 0x4040_0000
MACHINE = ("-machine", "virt", "-cpu", "cortex-a72", "-m", "64")
"""QEMU's arguments; memory begins at 0x40000000."""

L1, L2, OTHER_L2, L3, COPY = (TABLES + 0x1000 * number for number in range(5))
FRAME = TABLES + 0x1_0000
WATCHED = 0x8000_0000
"""The address whose translation is written, through entry 2 of L1, then OTHER_L2, and L3 or COPY."""
TABLE, VALID, ACCESS_FLAG, READ_ONLY = 3, 1, 1 << 10, 1 << 7
PXN, UXN, SHARED = 1 << 53, 1 << 54, 3 << 8
PAGE = FRAME | 3 | ACCESS_FLAG | SHARED | UXN
_BLOCK = VALID | ACCESS_FLAG | SHARED | UXN
FIRST = {
    L1 + 8: L2 | TABLE,
    L2 + 8: CODE | _BLOCK | READ_ONLY,
    L2 + 16: TABLES | _BLOCK | PXN,
}
"""The tables at the start: the program may be executed, the tables written, neither both."""

WRITES = {
    "leaf": (L3, PAGE | PXN),
    "table": (OTHER_L2, L3 | TABLE),
    "map": (L1 + 16, OTHER_L2 | TABLE),
    "copy": (COPY, PAGE | PXN),
    "replace": (OTHER_L2, COPY | TABLE),
    "outdated": (L3, 0),
    "age": (COPY, (PAGE | PXN) & ~ACCESS_FLAG),
    "executable": (COPY, PAGE),
    "unmap": (COPY, 0),
}
"""What is written in this order: the physical address of a descriptor, and its value."""

_MAIR, _TCR, _TTBR0, _SCTLR = 0xD518_A200, 0xD518_2040, 0xD518_2000, 0xD518_1000
_ISB, _DSB, _NOP, _STAY = 0xD503_3FDF, 0xD503_3F9F, 0xD503_201F, 0x1400_0000
_TCR_VALUE = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32


def _move(register: int, value: int) -> list[int]:
    """MOVZ and MOVK of all four quarters."""
    parts = [value >> 16 * number & 0xFFFF for number in range(4)]
    opcodes = (0xD280_0000, 0xF2A0_0000, 0xF2C0_0000, 0xF2E0_0000)
    return [opcode | part << 5 | register for opcode, part in zip(opcodes, parts, strict=True)]


def _program() -> tuple[list[int], dict[str, int]]:
    """The instructions, and the addresses of the stores by name; `start` is after the MMU is on."""
    words, places = [], {}
    for register, value in ((_MAIR, 0xFF), (_TCR, _TCR_VALUE), (_TTBR0, L1), (_SCTLR, 0x30C5_0831)):
        words += [*_move(0, value), register]
        words += [_DSB, _ISB]
    places["start"] = CODE + 4 * len(words)
    words.append(_NOP)
    for name, (address, value) in WRITES.items():
        words += [*_move(0, address), *_move(1, value)]
        places[name] = CODE + 4 * len(words)
        words += [0xF900_0001, _NOP, _NOP]
    places["end"] = CODE + 4 * len(words)
    return [*words, _STAY], places


INSTRUCTIONS, PLACES = _program()


def arguments(folder):
    """QEMU's arguments for the program, whose files are made in a folder."""
    code, tables = folder / "code", folder / "tables"
    code.write_bytes(struct.pack(f"<{len(INSTRUCTIONS)}I", *INSTRUCTIONS))
    content = bytearray(0x1_1000)
    for address, value in FIRST.items():
        struct.pack_into("<Q", content, address - TABLES, value)
    tables.write_bytes(content)
    return (
        *MACHINE,
        *("-device", f"loader,file={code},addr={CODE:#x},force-raw=on"),
        *("-device", f"loader,file={tables},addr={TABLES:#x},force-raw=on"),
        *("-device", f"loader,addr={CODE:#x},cpu-num=0"),
    )
