"""Registers by field, core by core; names that mean one or several."""

import pytest

from gdbplugin.aarch64.description import REGISTERS
from gdbplugin.kernel.registers import matching, read_registers
from gdbplugin.machine import BytesMachine, SelectionError
from tests.aarch64.machines import el1_registers
from tests.commands.forms import text_of
from tests.kernel.stopped import stopped_machine


def stopped(**of_core):
    """A machine of four cores whose registers are alike but for what is given of `core0` and so on."""
    common = {**el1_registers(ttbr0=0x4000 | 7 << 48), "CPSR": 0x3C5, "ESR_EL1": 0x9600_0047}
    cores = {core: {**common, **of_core.get(f"core{core}", {})} for core in range(4)}
    return stopped_machine(BytesMachine({}, cores))


def text(found):
    return text_of("registers", found)


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("TCR_EL1", ("TCR_EL1",)),
        ("tcr_el1", ("TCR_EL1",)),
        ("TCR", ("TCR_EL1", "TCR_EL2", "TCR_EL3")),
        ("ttbr0", ("TTBR0_EL1", "TTBR0_EL2", "TTBR0_EL3")),
        ("ID_AA64", ("ID_AA64MMFR0_EL1", "ID_AA64MMFR1_EL1", "ID_AA64MMFR2_EL1")),
        ("cpsr", ("CPSR",)),
    ],
)
def test_a_word_means_one_register_or_all_that_begin_so(word, names):
    assert matching(word) == names


def test_an_unknown_register_is_named_with_the_known_ones():
    with pytest.raises(SelectionError, match="TTBR0, TTBR1, TCR"):
        read_registers(stopped(), name="XYZZY")


def test_cores_that_agree_share_a_value_and_gaps_are_named():
    found = read_registers(stopped(core2={"TTBR0_EL1": 0x5000 | 8 << 48}, core3={"TCR_EL1": 0}))
    assert [register.name for register in found.registers] == list(REGISTERS)
    by_name = {register.name: register for register in found.registers}
    assert [value.cores for value in by_name["TTBR0_EL1"].values] == [(0, 1, 3), (2,)]
    assert [value.cores for value in by_name["TCR_EL1"].values] == [(0, 1, 2), (3,)]
    assert by_name["VBAR_EL1"].unknown_cores == (0, 1, 2, 3)
    assert "VBAR_EL1" in found.unknown
    shown = text(found)
    assert "TTBR0_EL1         0x0007000000004000  cores 0-1, 3: ASID 7; BADDR 0x4000" in shown
    assert "                  0x0008000000005000  core 2: ASID 8; BADDR 0x5000" in shown
    assert "This target does not give: " in shown
    assert max(map(len, shown.splitlines())) <= 110


def test_a_register_in_full_shows_fields_and_where_cores_differ():
    shown = text(read_registers(stopped(core2={"TTBR0_EL1": 0x5000 | 8 << 48}), name="TTBR0_EL1"))
    assert "TTBR0_EL1 of cores 0-1, 3: 0x0007000000004000" in shown
    assert "TTBR0_EL1 of core 2: 0x0008000000005000" in shown
    (row,) = [line.split() for line in shown.splitlines() if " ASID " in line]
    assert row[:4] == ["63:48", "ASID", "7", "8"]


def test_classes_of_exceptions_have_fields_of_their_own():
    shown = text(read_registers(stopped(core1={"ESR_EL1": 0x5600_0003}), name="ESR_EL1"))
    assert "imm16" in shown
    assert "DFSC" in shown
    shown = text(read_registers(stopped(core1={"ESR_EL1": 0x9600_0047 | 1 << 60}), name="ESR_EL1"))
    assert "reserved" in shown
    assert "translation fault, level 3" in shown


def test_one_core_alone():
    found = read_registers(stopped(core2={"TTBR0_EL1": 0x5000}), core=2)
    assert found.cores == (2,)
    assert found.registers[0].values[0].value == 0x5000
    with pytest.raises(SelectionError, match="no core 9"):
        read_registers(stopped(), core=9)


def test_the_fields_of_a_value_make_up_the_value():
    for register in read_registers(stopped()).registers:
        for value in register.values:
            assert sum(field.value << field.low for field in value.fields) == value.value
