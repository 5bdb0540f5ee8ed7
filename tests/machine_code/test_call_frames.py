"""The built kernel's call frame information: whole, readable by pyelftools, and not loaded."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from elftools.dwarf.callframe import FDE, RegisterRule
from elftools.elf.elffile import ELFFile

X30, SP, PC = 30, 31, 32
"""DWARF for the Arm 64-bit Architecture, 4.1."""
_ALLOCATED = 0x2
# Compiled with Rust's library, which has unwind tables of the loaded kind; leaf functions.
_OF_THE_LIBRARY = ("memcpy", "memmove", "memset", "memcmp", "bcmp")


class Frames:
    """The entries of .debug_frame, by address, and the symbols."""

    def __init__(self, path: Path):
        self._file = path.open("rb")
        self.elf = ELFFile(self._file)
        entries = self.elf.get_dwarf_info().CFI_entries()
        self.entries = [entry for entry in entries if isinstance(entry, FDE)]
        table = self.elf.get_section_by_name(".symtab")
        self.symbols = [symbol for symbol in table.iter_symbols() if symbol.name]

    def close(self) -> None:
        self._file.close()

    def at(self, address: int) -> list[FDE]:
        return [
            entry
            for entry in self.entries
            if 0 <= address - entry.header.initial_location < entry.header.address_range
        ]

    def address(self, name: str) -> int:
        return next(symbol["st_value"] for symbol in self.symbols if symbol.name == name)

    def instructions(self, section: str) -> list[int]:
        """The addresses of a section's instructions, by the mapping symbols (ELF for AArch64, 5.5.4).

        Without the zeros before data or the section's end, which align them.
        """
        header = self.elf.get_section_by_name(section)
        code = header.data()
        start, end = header["sh_addr"], header["sh_addr"] + header["sh_size"]
        marks = sorted(
            (symbol["st_value"], symbol.name[:2])
            for symbol in self.symbols
            if symbol.name[:2] in ("$x", "$d") and start <= symbol["st_value"] < end
        )
        bounds = [*(address for address, _ in marks[1:]), end]
        return [
            address
            for (first, kind), bound in zip(marks, bounds, strict=True)
            if kind == "$x"
            for address in range(first, bound, 4)
            if any(code[address - start : bound - start])
        ]


@pytest.fixture(scope="module")
def frames(kernel_elf):
    found = Frames(kernel_elf)
    yield found
    found.close()


def test_every_entry_is_read(frames):
    assert len(frames.entries) > 100
    for entry in frames.entries:
        table = entry.get_decoded().table
        assert table, hex(entry.header.initial_location)
        assert all(row["cfa"] is not None for row in table)


def test_every_instruction_of_vectors_and_programs_has_one(frames):
    vectors, last = frames.address("exception_vectors"), frames.address("fatal_common")
    text = [address for address in frames.instructions(".text") if address >= vectors]
    # The vectors' section ends with data, the addresses that it loads.
    end = next(address for address, after in pairwise(text) if address >= last and after != address + 4)
    found = text[: text.index(end) + 1]
    assert len(found) > 16 * 32
    programs = frames.instructions(".user")
    assert len(programs) > 300
    for address in found + programs:
        assert len(frames.at(address)) == 1, hex(address)


def test_every_function_has_one(frames):
    functions = [symbol for symbol in frames.symbols if symbol["st_info"].type == "STT_FUNC"]
    without = [
        symbol.name
        for symbol in functions
        if not any(frames.at(symbol["st_value"] + offset) for offset in (0, symbol["st_size"] - 4))
    ]
    assert all(name in _OF_THE_LIBRARY or "compiler_builtins" in name for name in without), without


def test_the_vectors_are_signal_frames_with_the_context(frames):
    vectors = frames.address("exception_vectors")
    for number in range(16):
        (entry,) = frames.at(vectors + 0x80 * number)
        assert entry.header.address_range == 0x80
        assert entry.cie.header.augmentation.startswith(b"zS")
        assert entry.cie.header.return_address_register == PC
        first = entry.get_decoded().table[0]
        assert first[PC].type == RegisterRule.UNDEFINED
    # Once all is saved, word n of the context is register n.
    last = frames.at(frames.address("resume"))[0].get_decoded().table[-1]
    for register in range(33):
        assert (last[register].type, last[register].arg) == (RegisterRule.OFFSET, 8 * register)


def test_the_first_function_of_a_task_has_no_caller(frames):
    programs = [symbol for symbol in frames.symbols if symbol.name.startswith("program_")]
    assert len(programs) > 15
    for symbol in programs:
        (entry,) = frames.at(symbol["st_value"])
        assert all(row[X30].type == RegisterRule.UNDEFINED for row in entry.get_decoded().table)


def test_nothing_of_it_is_loaded(frames):
    section = frames.elf.get_section_by_name(".debug_frame")
    assert not section["sh_flags"] & _ALLOCATED
    names = [each.name for each in frames.elf.iter_sections() if each["sh_flags"] & _ALLOCATED]
    assert not [name for name in names if "frame" in name]
    loaded = [s for s in frames.elf.iter_segments("PT_LOAD") if s["p_filesz"]]
    data = section.data()
    assert not [segment for segment in loaded if data[:64] in segment.data()]
