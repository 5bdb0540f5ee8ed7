"""Where the stack pointer of a running task is: in its core's registers, not in the kernel's record."""

import pytest

from gdbplugin.kernel.snapshot import read_report
from gdbplugin.kernel.stacks import RunningStack, read_stack_list
from tests.commands.forms import text_of
from tests.kernel.synthetic import STACK_BASE, World

BASE = STACK_BASE + 0x20_0000
NOTED, LIVE, KERNELS = BASE - 64, BASE - 0x1230, 0xFFFF_8000_0027_C8E0
EL0, EL1_OWN_POINTER, EL1_TASKS_POINTER = 0x0, 0x5, 0x4


def world(state, **registers):
    made = World()
    made.registers = {"CPSR": 0x3C0 | state, **registers}
    return made


@pytest.mark.parametrize(
    ("state", "registers"),
    [
        # SP_EL0 is what it was at the last exception, until the next one.
        (EL0, {"SP": LIVE, "SP_EL0": NOTED}),
        (EL1_TASKS_POINTER, {"SP": LIVE, "SP_EL0": NOTED}),
        (EL1_OWN_POINTER, {"SP": KERNELS, "SP_EL0": LIVE}),
    ],
)
def test_it_is_the_register_that_is_in_use_or_the_one_kept(state, registers):
    kernel = world(state, **registers).kernel()
    assert read_stack_list(kernel).running == (RunningStack(1, 0, LIVE),)
    assert read_stack_list(kernel, 1).running == (RunningStack(1, 0, LIVE),)
    assert read_stack_list(kernel, 2).running == ()
    assert read_report(kernel).running == (RunningStack(1, 0, LIVE),)


def test_a_pointer_outside_its_stack_is_shown_only_at_el0():
    wild = 0xDEAD_BEE0
    assert read_stack_list(world(EL0, SP=wild).kernel()).running == (RunningStack(1, 0, wild),)
    assert read_stack_list(world(EL1_OWN_POINTER, SP_EL0=wild).kernel()).running == ()


def test_nobody_runs_where_the_registers_tell_of_nobody():
    assert read_stack_list(world(EL1_OWN_POINTER).kernel()).running == ()
    other = world(EL0, SP=LIVE, TTBR0_EL1=0x1234_5000)
    assert read_stack_list(other.kernel()).running == ()


def test_the_table_tells_the_live_pointer_from_the_noted_one():
    kernel = world(EL0, SP=LIVE).kernel()
    text = text_of("stacks", read_stack_list(kernel))
    first, second = [line for line in text.splitlines() if ".." in line]
    assert "  3fedd0*  " in first
    assert f"{BASE - 0x3000:#x}..400000" in first
    assert "  5fffc0   " in second
    assert "* as core 0 has it, which runs task 1" in text
    assert max(map(len, text.splitlines())) <= 100
    one = text_of("stacks", read_stack_list(kernel, 1))
    assert f"stack pointer  {LIVE:#x}, 4,656 B below the base, as core 0 has it now" in one
    assert f"last noted     {NOTED:#x}, 64 B below the base" in one
