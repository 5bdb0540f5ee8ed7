"""Syndromes explained."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.aarch64.access import Access
from gdbplugin.aarch64.faults import explain_syndrome, fault_status, read_exception
from tests.aarch64.machines import WordMachine


def abort(exception_class, status, more=0):
    return explain_syndrome(exception_class << 26 | 1 << 25 | more | status)


@pytest.mark.parametrize(
    ("exception_class", "more", "access", "lower"),
    [
        (0x24, 0, Access.READ, True),
        (0x25, 1 << 6, Access.WRITE, False),
        (0x20, 0, Access.EXECUTE, True),
        (0x21, 1 << 6, Access.EXECUTE, False),
    ],
)
def test_aborts(exception_class, more, access, lower):
    found = abort(exception_class, 0x07, more)
    assert found.access is access
    assert ("lower" in found.name) == lower
    assert (found.status.kind, found.status.level) == ("translation fault", 3)
    assert found.far_valid
    assert found.instruction_bytes == 4


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0x00, "address size fault, level 0"),
        (0x05, "translation fault, level 1"),
        (0x0A, "access flag fault, level 2"),
        (0x0F, "permission fault, level 3"),
        (0x10, "synchronous external abort"),
        (0x13, "synchronous external abort on a table walk, level -1"),
        (0x16, "synchronous external abort on a table walk, level 2"),
        (0x21, "alignment fault"),
        (0x29, "address size fault, level -1"),
        (0x2B, "translation fault, level -1"),
        (0x30, "TLB conflict abort"),
        (0x3F, "reserved fault status code 0x3f"),
    ],
)
def test_fault_status_codes(code, text):
    assert str(fault_status(code)) == text


def test_a_fault_address_is_valid_unless_the_syndrome_denies_it():
    not_valid = 1 << 10
    assert not abort(0x25, 0x10, not_valid).far_valid
    assert abort(0x25, 0x10).far_valid
    assert abort(0x25, 0x07, not_valid).far_valid
    assert not explain_syndrome(0x15 << 26 | 42).far_valid
    assert explain_syndrome(0x22 << 26).far_valid


def test_a_load_described_by_its_syndrome():
    found = abort(0x24, 0x04, 1 << 24 | 3 << 22 | 17 << 16)
    assert (found.access_bytes, found.access_register) == (8, 17)
    assert abort(0x24, 0x04, 3 << 22).access_bytes is None


def test_cache_maintenance_is_neither_read_nor_write():
    found = abort(0x25, 0x04, 1 << 8 | 1 << 6)
    assert (found.access, found.cache_maintenance) == (None, True)


def test_system_calls_and_trapped_registers():
    assert explain_syndrome(0x15 << 26 | 42).immediate == 42
    # mrs x0, midr_el1: S3_0_C0_C0_0
    assert explain_syndrome(0x18 << 26 | 3 << 20 | 1).system_register == "S3_0_C0_C0_0"
    # msr ttbr0_el1, x3: S3_0_C2_C0_0
    assert explain_syndrome(0x18 << 26 | 3 << 20 | 2 << 10 | 3 << 5).system_register == "S3_0_C2_C0_0"


@given(st.integers(0, (1 << 64) - 1))
def test_any_value_is_explained(value):
    found = explain_syndrome(value)
    assert found.name
    assert found.value == value


def test_the_record_of_a_core():
    registers = {"ESR_EL1": 0x9600_0047, "FAR_EL1": 0x1234, "ELR_EL1": 0x8_0000, "SPSR_EL1": 0x3C5}
    found = read_exception(WordMachine({}, registers), 0, 1)
    assert (found.address, found.instruction, found.from_level) == (0x1234, 0x8_0000, 1)
    registers["ESR_EL1"] = 0x5600_002A
    assert read_exception(WordMachine({}, registers), 0, 1).address is None
    assert read_exception(WordMachine({}, {}), 0, 1) is None
    assert read_exception(WordMachine({}, {"ESR_EL2": 0}), 0, 2).from_level is None
