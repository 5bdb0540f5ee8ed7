"""Translation regimes out of registers."""

import pytest

from gdbplugin.aarch64.regime import RegimeUnknownError, el1_regime
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
    assert control.levels == levels
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
    assert 1 <= control.levels <= 4


def test_registers_that_cannot_be_read_are_named():
    with pytest.raises(RegimeUnknownError, match="TCR_EL1 of core 0"):
        el1_regime(WordMachine({}, {}), 0)
