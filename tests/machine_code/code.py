"""The machine code of the built kernel: its barriers and TLB maintenance. Pure, from the ELF's bytes.

QEMU needs no barriers: a kernel that lacks one runs there like any other. So they are looked for in the
instructions (DDI 0487, C5.5 and C6.2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

_NAMES = {
    0xD503_3A9F: "dsb ishst",
    0xD503_369F: "dsb nshst",
    0xD503_379F: "dsb nsh",
    0xD503_3B9F: "dsb ish",
    0xD503_3F9F: "dsb sy",
    0xD503_3FDF: "isb",
    0xD503_209F: "sev",
    0xD508_871F: "tlbi vmalle1",
    0xD508_751F: "ic iallu",
    0xD69F_03E0: "eret",
    0xD65F_03C0: "ret",
}
# With a register in the lowest five bits.
_WITH_REGISTER = {
    0xD508_8720: "tlbi vae1",
    0xD508_8740: "tlbi aside1",
    0xD50B_7E20: "dc civac",
    0xD50B_7420: "dc zva",
    0xD518_2000: "msr ttbr0_el1",
    0xD518_2020: "msr ttbr1_el1",
    0xD518_2040: "msr tcr_el1",
    0xD518_1000: "msr sctlr_el1",
    0xD518_A200: "msr mair_el1",
    0xD53B_E000: "mrs cntfrq_el0",
    0xD519_F220: "msr cpuectlr_el1",
}


@dataclass(frozen=True)
class Instruction:
    """One instruction: its address, and its name if it matters here, else an empty one."""

    address: int
    name: str


@dataclass(frozen=True)
class Function:
    """A function of the kernel with its instructions, in the order of their addresses."""

    name: str
    instructions: tuple[Instruction, ...]

    def names(self) -> list[str]:
        """The names of its instructions; empty ones for those that do not matter here."""
        return [instruction.name for instruction in self.instructions]

    def places(self, name: str) -> list[int]:
        """Where an instruction stands, as indexes."""
        return [index for index, each in enumerate(self.instructions) if each.name == name]


def name_of(word: int) -> str:
    """The name of an instruction that has to do with barriers or translation; empty for any other."""
    return _NAMES.get(word) or _WITH_REGISTER.get(word & ~0x1F, "")


def functions(elf: Path) -> list[Function]:
    """The functions of an ELF's symbol table, and what lies between them under the symbol before."""
    with elf.open("rb") as file:
        content = ELFFile(file)
        table = content.get_section_by_name(".symtab")
        symbols = sorted(
            {
                symbol["st_value"]: symbol.name
                for symbol in table.iter_symbols()
                if symbol.name and not symbol.name.startswith("$") and symbol["st_shndx"] != "SHN_ABS"
            }.items()
        )
        found = []
        for section in content.iter_sections():
            if section["sh_flags"] & 0x4 and section["sh_size"]:  # SHF_EXECINSTR
                start, data = section["sh_addr"], section.data()
                end = start + len(data)
                inside = [symbol for symbol in symbols if start <= symbol[0] < end]
                bounds = [*(address for address, _ in inside[1:]), end]
                for (address, name), bound in zip(inside, bounds, strict=True):
                    part = data[address - start : bound - start]
                    found.append(Function(name, tuple(_decoded(address, part))))
        return found


def _decoded(address: int, data: bytes) -> Iterator[Instruction]:
    for index, (word,) in enumerate(struct.iter_unpack("<I", data[: len(data) // 4 * 4])):
        yield Instruction(address + 4 * index, name_of(word))
