"""System registers by their fields."""

import pytest

from gdbplugin.aarch64.registers import asid_bits, bits, decode, exception_level, physical_address_bits
from tests.aarch64.machines import WordMachine, el1_registers


def test_bits_are_inclusive_of_both_ends():
    assert bits(0xABCD, 15, 12) == 0xA
    assert bits(0xABCD, 3, 0) == 0xD
    assert bits(1 << 63, 63, 63) == 1


def test_ttbr_fields():
    assert decode("TTBR0_EL1", 0x0042_0000_8020_1001) == {"ASID": 0x42, "BADDR": 0x8020_1000 >> 1, "CnP": 1}


def test_translation_control_fields():
    fields = decode("TCR_EL1", 0x0000_0014_B510_3510)
    assert (fields["T0SZ"], fields["T1SZ"]) == (16, 16)
    assert (fields["TG0"], fields["TG1"]) == (0, 2)
    assert (fields["IPS"], fields["AS"], fields["A1"]) == (4, 1, 0)


def test_features_of_a_cortex_a72():
    fields = decode("ID_AA64MMFR0_EL1", 0x1124)
    assert physical_address_bits(fields["PARange"]) == 44
    assert fields["ASIDBits"] == 2
    assert fields["TGran4"] == 0


@pytest.mark.parametrize(
    ("state", "level"),
    [(0x6000_0000, 0), (0x4000_03C5, 1), (0x3C9, 2), (0x4000_03CD, 3), (0x10, 0), (0x13, None)],
)
def test_exception_level(state, level):
    assert exception_level(WordMachine({}, {"CPSR": state}), 0) == level


def test_exception_level_of_an_unreadable_state():
    assert exception_level(WordMachine({}, {}), 0) is None


def test_asids_are_16_bits_only_where_both_agree():
    registers = el1_registers()
    assert asid_bits(WordMachine({}, registers), 0) == 16
    assert asid_bits(WordMachine({}, {**registers, "ID_AA64MMFR0_EL1": 0x1104}), 0) == 8
    assert asid_bits(WordMachine({}, {**registers, "TCR_EL1": registers["TCR_EL1"] & ~(1 << 36)}), 0) == 8
    without_features = {name: value for name, value in registers.items() if name != "ID_AA64MMFR0_EL1"}
    assert asid_bits(WordMachine({}, without_features), 0) == 16
