"""The MMU's commands in GDB, on a machine that is not TinyOS's: every regime, and registers half set up."""

from __future__ import annotations

import json

import pytest

from tests.aarch64 import qemu
from tests.aarch64.processors import MAX
from tests.aarch64.setups import QEMU, Generator
from tests.debugger.conftest import gdb

REGIMES = {"EL1&0", "EL2", "EL2&0", "EL3"}
COMMANDS = ("tinyos maps --json", "tinyos registers --json", "tinyos fault --json")


@pytest.fixture(scope="module")
def board():
    with qemu.running(qemu.VIRT) as target:
        yield target


def answers(board, *commands):
    """The objects that commands print as JSON; nothing may go wrong in them."""
    done = gdb(f"target remote {board.gdb_address}", *commands)
    assert "Traceback" not in done.errors
    assert "Python Exception" not in done.errors
    return [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]


def test_every_regime_translates_as_qemu_does(board):
    base = board.base
    makes = Generator(21, MAX, base + qemu.TABLES, base + qemu.TABLES_END, base + qemu.SPIN, QEMU)
    left, mapped, permissions = set(REGIMES), 0, qemu.Permissions()
    while left:
        setup = makes.setup()
        owner = setup.regime
        if owner not in left:
            continue
        state = 0x3C0 | setup.level << 2 | (setup.level > 0)
        board.start(setup.registers, setup.words, state=state, at=setup.spin)
        probes = setup.probes[:12]
        found = answers(board, *[f"tinyos translate {address:#x} --json" for address in probes], *COMMANDS)
        assert len(found) == len(probes) + len(COMMANDS)
        for address, answer in zip(probes, found, strict=False):
            kind = answer["fault"] and answer["fault"]["kind"]
            output = answer["output"]
            if kind == "permission":
                output = answer["levels"][-1]["output"] | address & answer["size"] - 1
            # QEMU's walk on a debugger's behalf does not heed the access flag.
            if kind != "access flag":
                assert permissions.agree(board.gva2gpa(address), output, kind is None), (
                    f"{address:#x}: {answer}"
                )
                mapped += answer["output"] is not None
        left.discard(owner)
    assert mapped > 10


@pytest.mark.parametrize("level", [1, 2, 3])
def test_an_mmu_that_is_half_set_up_is_answered(board, level):
    registers = {"SCR_EL3": 0x5B1, "HCR_EL2": 1 << 31, f"SCTLR_EL{level}": 0x30C0_0801}
    board.start(registers, {}, state=0x3C0 | level << 2 | 1, at=0)
    translated, *others = answers(board, "tinyos translate 0x1000 --json", *COMMANDS)
    assert translated["output"] is None
    assert "T0SZ is 0" in translated["fault"]["reason"]
    assert len(others) == len(COMMANDS)
    assert others[0]["mappings"] == []
