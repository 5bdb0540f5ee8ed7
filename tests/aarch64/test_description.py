"""Registers described by their fields: nothing lost, and the right words."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.aarch64.description import REGISTERS, describe


def field(name, value, wanted, **how):
    (found,) = [entry for entry in describe(name, value, **how) if entry.name == wanted]
    return found


@given(st.sampled_from(REGISTERS), st.integers(0, (1 << 64) - 1), st.booleans())
def test_every_bit_is_in_exactly_one_field(name, value, e2h):
    fields = describe(name, value, e2h=e2h)
    assert fields[0].high == 63
    assert fields[-1].low == 0
    assert all(upper.low == lower.high + 1 for upper, lower in itertools.pairwise(fields))
    assert sum(entry.value << entry.low for entry in fields) == value


@given(st.sampled_from(REGISTERS), st.integers(0, (1 << 64) - 1))
def test_names_are_unique(name, value):
    names = [entry.name for entry in describe(name, value) if not entry.reserved]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("register", "value", "name", "meaning"),
    [
        ("TCR_EL1", 0x14_B510_3510, "T0SZ", "48-bit addresses"),
        ("TCR_EL1", 0x14_B510_3510, "TG0", "4 KiB"),
        ("TCR_EL1", 0x14_B510_3510, "TG1", "4 KiB"),
        ("TCR_EL1", 0x14_B510_3510, "IPS", "44 bits, 16 TiB"),
        ("TCR_EL3", 3 << 16 | 1 << 14, "PS", "42 bits, 4 TiB"),
        ("TCR_EL3", 3 << 16 | 1 << 14, "TG0", "64 KiB"),
        ("TTBR0_EL1", 0x0042_0000_8020_1001, "BADDR", "0x80201000"),
        ("MAIR_EL2", 0x44FF_0400, "Attr3", "Normal non-cacheable"),
        ("MAIR_EL2", 0x44FF_0400, "Attr1", "Device-nGnRE"),
        ("SCTLR_EL2", 1, "M", "MMU on"),
        ("HCR_EL2", 1 << 31, "RW", "EL1 is AArch64"),
        ("ESR_EL1", 0x9600_0047, "EC", "data abort at the same exception level"),
        ("ESR_EL1", 0x9600_0047, "DFSC", "translation fault, level 3"),
        ("ESR_EL1", 0x8200_000F, "IFSC", "permission fault, level 3"),
        ("ESR_EL3", 0x9600_002B, "DFSC", "translation fault, level -1"),
        ("ESR_EL1", 0x6232_F801, "Direction", "read (MRS)"),
        ("SPSR_EL1", 0x3C5, "EL", "EL1"),
        ("CPSR", 1 << 22, "PAN", "EL0's memory not accessible"),
        ("PAR_EL1", 0x0F, "FST", "translation fault, level 3"),
        ("PAR_EL1", 0xFF00_0000_8020_1000, "ATTR", "Normal write-back"),
        ("PAR_EL1", 0xFF00_0000_8020_1000, "PA", "0x80201000"),
        ("ID_AA64MMFR0_EL1", 0x1124, "PARange", "44 bits, 16 TiB"),
        ("ID_AA64MMFR0_EL1", 0x1124, "TGran16", "no 16 KiB"),
    ],
)
def test_meanings(register, value, name, meaning):
    assert field(register, value, name).meaning == meaning


def test_el2_registers_change_their_layout_with_e2h():
    assert field("TCR_EL2", 5 << 32, "IPS", e2h=True).value == 5
    assert field("TCR_EL2", 5 << 16, "PS").value == 5
    assert field("TTBR0_EL2", 7 << 48, "ASID", e2h=True).value == 7


def test_other_exception_classes_keep_their_syndrome_whole():
    assert field("ESR_EL1", 0x3A << 26 | 0x123, "ISS").value == 0x123
    assert field("ESR_EL1", 0x3F << 26, "EC").meaning == "reserved exception class 0x3f"
