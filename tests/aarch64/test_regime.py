"""Translation regimes out of registers."""

import pytest

from gdbplugin.aarch64.descriptor import attributes
from gdbplugin.aarch64.regime import RegimeUnknownError, current_regime, el1_regime, el2_regime, regime_at
from tests.aarch64.machines import WordMachine, el1_registers


def regime(**arguments):
    return el1_regime(WordMachine({}, el1_registers(**arguments)), 0)


@pytest.mark.parametrize(
    ("granule", "size_offset", "levels", "root_bytes"),
    [
        ("4K", 16, 4, 4096),
        ("4K", 25, 3, 4096),
        ("4K", 24, 4, 16),
        ("4K", 39, 2, 128),
        ("16K", 16, 4, 16),
        ("16K", 17, 3, 16384),
        ("64K", 16, 3, 512),
        ("64K", 22, 2, 65536),
        ("64K", 39, 1, 4096),
    ],
)
def test_shape_of_the_tables(granule, size_offset, levels, root_bytes):
    control = regime(granule=granule, t0sz=size_offset, t1sz=size_offset).lower
    assert 4 - control.start_level == levels
    assert control.table_bytes(control.start_level) == root_bytes
    assert control == regime(granule=granule, t0sz=size_offset, t1sz=size_offset).lower


def test_root_is_aligned_to_its_size_and_carries_no_asid():
    control = regime(ttbr0=0x0007_0000_8020_1FC1, t0sz=39).lower
    assert control.root_address == 0x8020_1F80
    assert control.asid == 7


def test_asid_belongs_to_the_register_a1_names():
    registers = el1_registers(ttbr0=5 << 48, ttbr1=9 << 48)
    assert el1_regime(WordMachine({}, registers), 0).lower.asid == 5
    registers["TCR_EL1"] |= 1 << 22
    chosen = el1_regime(WordMachine({}, registers), 0)
    assert (chosen.lower.asid, chosen.upper.asid) == (None, 9)


def test_upper_range_covers_only_sign_extended_addresses():
    upper = regime(t1sz=25).upper
    assert upper.first_address == 0xFFFF_FF80_0000_0000
    assert upper.covers(0xFFFF_FF80_0000_0000)
    assert not upper.covers(0xFFFF_FF7F_FFFF_FFFF)
    assert not upper.covers(0x00FF_FF80_0000_0000)


def test_tagged_addresses_are_covered_only_with_top_byte_ignored():
    registers = el1_registers()
    address = 0xAB00_0000_0000_1000
    assert not el1_regime(WordMachine({}, registers), 0).lower.covers(address)
    registers["TCR_EL1"] |= 1 << 37
    assert el1_regime(WordMachine({}, registers), 0).lower.covers(address)


@pytest.mark.parametrize("size_offset", [0, 15, 40, 63])
def test_sizes_out_of_bounds_are_a_defect_not_a_crash(size_offset):
    control = regime(t0sz=size_offset).lower
    assert f"T0SZ is {size_offset}" in control.defect
    assert 1 <= 4 - control.start_level <= 4


def test_registers_that_cannot_be_read_are_named():
    with pytest.raises(RegimeUnknownError, match="TCR_EL1 of core 0"):
        el1_regime(WordMachine({}, {}), 0)


LONG = {"ID_AA64MMFR0_EL1": 1 << 28 | 2 << 20 | 6, "ID_AA64MMFR2_EL1": 1 << 28 | 1 << 16}


def long_regime(granule, size_offset, ttbr0=0, more=0):
    registers = el1_registers(granule, t0sz=size_offset, t1sz=size_offset, ttbr0=ttbr0, **LONG)
    registers["TCR_EL1"] = registers["TCR_EL1"] & ~(7 << 32) | 6 << 32 | more
    return el1_regime(WordMachine({}, registers), 0)


@pytest.mark.parametrize(
    ("granule", "more", "start", "root_bytes", "blocks"),
    [
        ("4K", 1 << 59, -1, 128, {0, 1, 2}),
        ("16K", 1 << 59, 0, 256, {1, 2}),
        ("64K", 0, 1, 8192, {1, 2}),
    ],
)
def test_addresses_of_52_bits(granule, more, start, root_bytes, blocks):
    control = long_regime(granule, 12, 0x2_0000_0024, more).lower
    assert control.defect is None
    assert (control.start_level, control.table_bytes(start), control.block_levels) == (
        start,
        root_bytes,
        blocks,
    )
    assert control.output_bits == 52
    # Bits 5:2 of the register are bits 51:48 of the address.
    assert control.root_address == (9 << 48 | 0x2_0000_0000)


def test_without_ds_the_small_granules_stay_at_48_bits():
    control = long_regime("4K", 12).lower
    assert "outside 16 to 48" in control.defect
    assert control.output_bits == 48


def test_shareability_comes_from_tcr_if_descriptors_have_none():
    control = long_regime("4K", 16, more=1 << 59 | 2 << 12).lower
    assert attributes(0x703, 0, control.rules).shareability == "outer shareable"


def test_small_tables():
    assert long_regime("4K", 48).lower.table_bytes(3) == 8 << 4
    assert long_regime("64K", 47).lower.table_bytes(3) == 8 << 1
    assert long_regime("64K", 48).lower.defect


def test_a_granule_that_is_not_there_counts_as_the_smallest():
    assert regime(granule="16K", ID_AA64MMFR0_EL1=0x1124).lower.granule_bits == 12


def el2(hypervisor, **more):
    values = {
        "HCR_EL2": hypervisor,
        "SCTLR_EL2": 1,
        "TCR_EL2": 25 | 25 << 16 | 4 << 16,
        "TTBR0_EL2": 5 << 48 | 0x1000,
        "TTBR1_EL2": 0x2000,
        "ID_AA64MMFR0_EL1": 0x1124,
    }
    return WordMachine({}, {**values, **more})


def test_el2_has_one_range_or_two():
    one = el2_regime(el2(0), 0)
    assert (one.name, one.upper, one.has_el0, one.lower.asid) == ("EL2", None, False, None)
    assert one.control(1 << 63) is one.lower
    two = el2_regime(el2(1 << 34), 0)
    assert (two.name, two.upper.name, two.has_el0) == ("EL2&0", "TTBR1_EL2", True)
    assert two.lower.asid == 5
    assert (one.levels, two.levels) == ((2,), (0, 2))
    assert "the EL1&0 regime translates the addresses of EL0" in two.notes[0]
    assert el2_regime(el2(1 << 34 | 1 << 27), 0).notes == ()


def test_el2_without_its_control_register_gives_a_note():
    machine = el2(0)
    del machine.registers["HCR_EL2"]
    assert "HCR_EL2" in el2_regime(machine, 0).notes[0]


def test_el0_belongs_to_el2_where_it_is_a_host():
    machine = el2(1 << 34 | 1 << 27, CPSR=0)
    assert current_regime(machine, 0).name == "EL2&0"
    machine.registers.update(el1_registers(), HCR_EL2=1 << 34)
    assert current_regime(machine, 0).name == "EL1&0"
    machine.registers["CPSR"] = 9
    assert current_regime(machine, 0).name == "EL2&0"


@pytest.mark.parametrize(("hypervisor", "enabled"), [(0, True), (1 << 12, False), (1 << 27, False)])
def test_a_hypervisor_may_have_the_mmu_off(hypervisor, enabled):
    found = regime(HCR_EL2=hypervisor)
    assert found.enabled == enabled
    assert bool(found.notes) != enabled


def test_a_second_stage_is_noted_unless_el2_does_not_count():
    assert regime(HCR_EL2=1).second_stage
    assert not regime(HCR_EL2=1, SCR_EL3=0).second_stage
    assert regime(HCR_EL2=1, SCR_EL3=1 << 18).second_stage


def test_el3():
    machine = WordMachine({}, {"SCTLR_EL3": 1, "TCR_EL3": 32 | 1 << 14, "TTBR0_EL3": 0x1_0000, "CPSR": 0xD})
    found = current_regime(machine, 0)
    assert (found.name, found.lower.granule_bits, found.lower.input_bits) == ("EL3", 16, 32)
    with pytest.raises(RegimeUnknownError, match="TCR_EL2 of core 0"):
        regime_at(machine, 0, 2)


@pytest.mark.parametrize(("state", "message"), [(None, "cannot be read"), (0x13, "AArch32")])
def test_a_state_that_says_no_level(state, message):
    machine = WordMachine({}, {} if state is None else {"CPSR": state})
    with pytest.raises(RegimeUnknownError, match=message):
        current_regime(machine, 0)


def test_unknown_features_are_believed_in():
    registers = el1_registers("4K", t0sz=12, t1sz=48)
    registers["TCR_EL1"] |= 1 << 59 | 6 << 32
    for name in ("ID_AA64MMFR0_EL1", "ID_AA64MMFR1_EL1", "ID_AA64MMFR2_EL1"):
        del registers[name]
    found = el1_regime(WordMachine({}, registers), 0)
    assert (found.lower.defect, found.upper.defect) == (None, None)
    assert found.lower.start_level == -1


def test_extensions_that_change_the_tables_meaning_are_named():
    assert "PIR" in regime(TCR2_EL1=2).notes[0]
    with pytest.raises(RegimeUnknownError, match="128-bit"):
        regime(TCR2_EL1=1 << 5)
