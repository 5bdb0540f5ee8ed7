"""What EL0 must not have: every register and instruction that the kernel keeps to itself, executed by a task.

The instruction replaces the one in the program `undefined`. After an allowed one the task runs on into the
next program, `guard`, and ends there.
"""

from __future__ import annotations

import pytest

from gdbplugin.layout.elf import read_image
from gdbplugin.session import TinyOS
from tests.integration.load import write_physical
from tests.machine_code.code import functions

_FORBIDDEN = "undefined or trapped instruction"


def _system(
    op0: int, op1: int, crn: int, crm: int, op2: int, *, read: bool = False, register: int = 0
) -> int:
    """The word of a system instruction (DDI 0487, C4.1.93): SYS and MSR, or MRS with `read`."""
    fields = op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | register
    return 0xD500_0000 | int(read) << 21 | fields


_REGISTERS = {
    "SCTLR_EL1": (3, 0, 1, 0, 0),
    "CPACR_EL1": (3, 0, 1, 0, 2),
    "TTBR0_EL1": (3, 0, 2, 0, 0),
    "TTBR1_EL1": (3, 0, 2, 0, 1),
    "TCR_EL1": (3, 0, 2, 0, 2),
    "SPSR_EL1": (3, 0, 4, 0, 0),
    "ELR_EL1": (3, 0, 4, 0, 1),
    "SP_EL0": (3, 0, 4, 1, 0),
    "SPSel": (3, 0, 4, 2, 0),
    "ESR_EL1": (3, 0, 5, 2, 0),
    "FAR_EL1": (3, 0, 6, 0, 0),
    "MAIR_EL1": (3, 0, 10, 2, 0),
    "VBAR_EL1": (3, 0, 12, 0, 0),
    "CONTEXTIDR_EL1": (3, 0, 13, 0, 1),
    "TPIDR_EL1": (3, 0, 13, 0, 4),
    "CNTKCTL_EL1": (3, 0, 14, 1, 0),
    "MDSCR_EL1": (2, 0, 0, 2, 2),
    "MDCCSR_EL0": (2, 3, 0, 1, 0),
    "DBGDTRRX_EL0": (2, 3, 0, 5, 0),
    "DAIF": (3, 3, 4, 2, 1),
    "CTR_EL0": (3, 3, 0, 0, 1),
    "PMCR_EL0": (3, 3, 9, 12, 0),
    "PMCCNTR_EL0": (3, 3, 9, 13, 0),
    "CNTPCT_EL0": (3, 3, 14, 0, 1),
    "CNTP_CTL_EL0": (3, 3, 14, 2, 1),
    "CNTP_CVAL_EL0": (3, 3, 14, 2, 2),
    "CNTV_TVAL_EL0": (3, 3, 14, 3, 0),
    "CNTV_CTL_EL0": (3, 3, 14, 3, 1),
    "CNTV_CVAL_EL0": (3, 3, 14, 3, 2),
    "SCTLR_EL2": (3, 4, 1, 0, 0),
    "SCR_EL3": (3, 6, 1, 1, 0),
}
_WRITABLE = ("SCTLR_EL1", "CPACR_EL1", "TTBR0_EL1", "TTBR1_EL1", "TCR_EL1", "VBAR_EL1", "CNTKCTL_EL1", "DAIF")
_OPERATIONS = {
    "msr daifset, #2": 0xD503_42DF,
    "msr DBGDTRTX_EL0, x0": _system(2, 3, 0, 5, 0),
    "msr spsel, #1": 0xD500_41BF,
    "tlbi vmalle1": _system(1, 0, 8, 7, 0, register=31),
    "tlbi vae1": _system(1, 0, 8, 7, 1),
    "at s1e1r": _system(1, 0, 7, 8, 0),
    "ic iallu": _system(1, 0, 7, 5, 0, register=31),
    "ic ivau": _system(1, 3, 7, 5, 1),
    "dc isw": _system(1, 0, 7, 6, 2),
    "dc ivac": _system(1, 0, 7, 6, 1),
    "dc cvac": _system(1, 3, 7, 10, 1),
    "dc cvau": _system(1, 3, 7, 11, 1),
    "dc civac": _system(1, 3, 7, 14, 1),
    "dc zva": _system(1, 3, 7, 4, 1),
    "hvc #0": 0xD400_0002,
    "smc #0": 0xD400_0003,
    "eret": 0xD69F_03E0,
    "fmov d0, xzr": 0x9E67_03E0,
    "add v0.16b, v0.16b, v0.16b": 0x4E20_8400,
    "str q0, [sp, #-16]!": 0x3C9F_0FE0,
    "udf #0": 0,
}
_CASES = {
    **{f"mrs x0, {name}": _system(*place, read=True) for name, place in _REGISTERS.items()},
    **{f"msr {name}, x0": _system(*_REGISTERS[name]) for name in _WRITABLE},
    **_OPERATIONS,
}


def _end_of(machine: TinyOS, word: int) -> str:
    """How a task ends that executes an instruction, in the kernel's words."""
    with machine.stopped():
        path = machine.kernel.path
        (program,) = [each for each in functions(path) if each.name == "program_undefined"]
        physical = read_image(path).physical(program.instructions[0].address)
        assert physical is not None
        write_physical(machine, physical, word.to_bytes(4, "little"))
    machine.console.send("spawn undefined\r")
    number = int(machine.console.expect(r"task (\d+) \(undefined\) started")[1])
    end = machine.console.expect(rf"\ntask {number} \(undefined\) ended: ([^\n,:]*)[\n,:]")[1]
    machine.console.wait_for_prompt()
    return str(end)


@pytest.mark.parametrize("instruction", _CASES)
def test_el0_may_not_execute(shared_machine: TinyOS, instruction: str) -> None:
    assert _end_of(shared_machine, _CASES[instruction]) == _FORBIDDEN


@pytest.mark.parametrize(
    ("instruction", "word"),
    [
        ("mrs x0, CNTVCT_EL0", _system(3, 3, 14, 0, 2, read=True)),
        ("mrs x0, CNTFRQ_EL0", _system(3, 3, 14, 0, 0, read=True)),
        ("mrs x0, NZCV", _system(3, 3, 4, 2, 0, read=True)),
        ("nop", 0xD503_201F),
    ],
)
def test_el0_may_execute(shared_machine: TinyOS, instruction: str, word: int) -> None:
    """So the table above does not pass because every replaced instruction is refused."""
    assert _end_of(shared_machine, word) in ("stack overflow", "wild access"), instruction
