"""Small ELF files with hand-made DWARF: forms and operations that the compilers here do not write."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.elf_files import Section

TAG = {"unit": 0x11, "base": 0x24, "function": 0x2E, "variable": 0x34, "namespace": 0x39, "skeleton": 0x4A}
# fmt: off
ATTRIBUTE = {
    "location": 0x02, "name": 0x03, "size": 0x0B, "low_pc": 0x11, "encoding": 0x3E, "type": 0x49,
    "str_offsets_base": 0x72, "addr_base": 0x73, "dwo_name": 0x76, "GNU_dwo_name": 0x2130, "sibling": 0x01,
}
FORM = {
    "addr": 0x01, "data1": 0x0B, "data2": 0x05, "string": 0x08, "ref4": 0x13, "sec_offset": 0x17,
    "exprloc": 0x18, "strx": 0x1A, "addrx": 0x1B, "ref_sup4": 0x1C, "strp_sup": 0x1D, "ref_sig8": 0x20,
    "strx1": 0x25, "strx2": 0x26, "strx3": 0x27, "strx4": 0x28,
    "addrx1": 0x29, "addrx2": 0x2A, "addrx3": 0x2B, "addrx4": 0x2C,
    "GNU_addr_index": 0x1F01, "GNU_ref_alt": 0x1F20, "GNU_strp_alt": 0x1F21, "LLVM_addrx_offset": 0x2001,
}
# fmt: on
ADDRESSES = (0xFFFF_8000_0000_1000, 0xFFFF_8000_0000_2000, 0xFFFF_8000_0000_3000)
"""The contents of `.debug_addr`."""
STRINGS = ("zero", "one", "two")
"""The contents of `.debug_str`, and the entries of `.debug_str_offsets`."""
TYPE = object()
"""Stands for a reference to the unit's own `u32`."""


def uleb(number: int) -> bytes:
    """A number as DWARF's LEB128."""
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def string(text: str) -> bytes:
    """A string as `DW_FORM_string` has it."""
    return text.encode() + b"\0"


def located(*operations: bytes) -> tuple[str, str, bytes]:
    """The location of a variable."""
    code = b"".join(operations)
    return "location", "exprloc", uleb(len(code)) + code


@dataclass(frozen=True)
class Entry:
    """A debugging information entry: its tag, attributes (name, form, bytes) and the entries below it."""

    tag: str
    attributes: Sequence[tuple[str, str, object]]
    below: Sequence[Entry] = ()


def variable(name: str, *more: tuple[str, str, object]) -> Entry:
    """A static of type `u32`, at address 0x1000 unless `more` says where it is."""
    where = more or (located(b"\x03" + struct.pack("<Q", 0x1000)),)
    return Entry("variable", [("name", "string", string(name)), ("type", "ref4", TYPE), *where])


def namespace(name: str, *below: Entry) -> Entry:
    """A module of the crate."""
    return Entry("namespace", [("name", "string", string(name))], below)


@dataclass
class Unit:
    """A compile unit of the crate `tinyos`: `u32`, and the entries `below`."""

    below: Sequence[Entry]
    version: int = 5
    top: Sequence[tuple[str, str, object]] = field(
        default_factory=lambda: [
            ("name", "string", string("src/lib.rs/@/tinyos.1234-cgu.0")),
            ("str_offsets_base", "sec_offset", struct.pack("<I", 8)),
            ("addr_base", "sec_offset", struct.pack("<I", 8)),
        ]
    )


class _Assembler:
    def __init__(self) -> None:
        self.info = bytearray()
        self.abbreviations = bytearray()

    def add(self, unit: Unit) -> None:
        start, table = len(self.info), len(self.abbreviations)
        self.info += bytes(4) + struct.pack("<H", unit.version)
        if unit.version >= 5:
            self.info += struct.pack("<BBI", 1, 8, table)
        else:
            self.info += struct.pack("<IB", table, 8)
        base = Entry(
            "base",
            [("name", "string", string("u32")), ("encoding", "data1", b"\7"), ("size", "data1", b"\4")],
        )
        self._code, self._type, self._start = 0, 0, start
        self._entry(Entry("unit", unit.top, [base, *unit.below]))
        self.abbreviations += b"\0"
        struct.pack_into("<I", self.info, start, len(self.info) - start - 4)

    def _entry(self, entry: Entry) -> None:
        if entry.tag == "base":
            self._type = len(self.info) - self._start
        self._code += 1
        self.abbreviations += uleb(self._code) + uleb(TAG[entry.tag]) + bytes([bool(entry.below)])
        self.info += uleb(self._code)
        for name, form, data in entry.attributes:
            self.abbreviations += uleb(ATTRIBUTE[name]) + uleb(FORM[form])
            self.info += struct.pack("<I", self._type) if data is TYPE else data
        self.abbreviations += b"\0\0"
        for below in entry.below:
            self._entry(below)
        if entry.below:
            self.info += b"\0"


def elf_with(*units: Unit, add: Sequence[Section] = (), without: Sequence[str] = ()) -> bytes:
    """An AArch64 ELF file with only these units and the tables that they refer to."""
    assembler = _Assembler()
    for unit in units:
        assembler.add(unit)
    offsets, text = b"", b""
    for word in STRINGS:
        offsets += struct.pack("<I", len(text))
        text += string(word)
    table = b"".join(struct.pack("<Q", address) for address in ADDRESSES)
    sections = [
        Section(".debug_info", bytes(assembler.info)),
        Section(".debug_abbrev", bytes(assembler.abbreviations)),
        Section(".debug_str", text),
        Section(".debug_str_offsets", struct.pack("<IHH", len(offsets) + 4, 5, 0) + offsets),
        Section(".debug_addr", struct.pack("<IHBB", len(table) + 4, 5, 8, 0) + table),
        *add,
    ]
    return elf_of([section for section in sections if section.name not in without])


def elf_of(sections: Sequence[Section]) -> bytes:
    """An AArch64 ELF file of these sections, without segments."""
    content, table, names = bytearray(64), bytearray(64), bytearray(b"\0")
    for section in [*sections, Section(".shstrtab", b"", 3)]:
        name = len(names)
        names += string(section.name)
        data = bytes(names) if section.name == ".shstrtab" else section.data
        size = len(data) if section.size is None else section.size
        place = (section.address, len(content), size)
        row = (name, section.kind, section.flags, *place, 0, 0, section.align, 0)
        table += struct.pack("<IIQQQQIIQQ", *row)
        content += data
    identity = b"\x7fELF\2\1\1" + bytes(9)
    count = len(table) // 64
    header = (identity, 2, 183, 1, 0, 0, len(content), 0, 64, 56, 0, 64, count, count - 1)
    struct.pack_into("<16sHHIQQQIHHHHHH", content, 0, *header)
    return bytes(content + table)
