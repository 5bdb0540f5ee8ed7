"""The kernel as other firmware than QEMU's enters it: at each exception level, with registers in disorder."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from gdbplugin.session import TinyOS
from gdbplugin.session.gdb import Gdb
from tests.integration import firmware, guest

_SECURE = ("-global", "arm_gic.has-security-extensions=on")
_SA, _SA0 = 1 << 3, 1 << 4  # Arm ARM, SCTLR_EL1


@pytest.fixture(params=[3, 2, 1])
def level(request: pytest.FixtureRequest) -> int:
    """The exception level at which the firmware enters the kernel."""
    return int(request.param)


@pytest.mark.parametrize("secure", [False, True], ids=["", "GIC with the Security Extensions"])
def test_what_firmware_left_in_registers_does_not_matter(
    entered: Callable[..., TinyOS], level: int, secure: bool
) -> None:
    machine = entered(level, *_SECURE if secure else ())
    assert "passed" in machine.shell("*c", timeout=60)
    with machine.stopped() as gdb:
        for core in range(4):
            _check_registers(gdb, core, level)


def _check_registers(gdb: Gdb, core: int, level: int) -> None:
    def register(*names: str) -> int:
        return guest.register(gdb, core, *names)

    assert register("PMUSERENR_EL0") == 0
    assert register("SCTLR", "SCTLR_EL1") & (_SA | _SA0) == _SA | _SA0
    assert register("CPACR", "CPACR_EL1") == 0
    assert register("cpsr") & 1 or core == 0, "the core is on SP_EL0"
    if level > 1:
        counters = register("PMCR_EL0") >> 11 & 0x1F
        assert register("MDCR_EL2") == counters
        symbol = gdb.execute("info address vectors_above_el1")
        vectors = re.search(r"0x[0-9a-f]+", symbol)
        assert vectors
        assert register("VBAR_EL2") == int(vectors[0], 16) & 0xFFFF_FFFF
    if level > 2:
        assert register("MDCR_EL3") == 0
        assert register("VBAR_EL3") == register("VBAR_EL2")


def test_an_interrupt_that_nobody_expects_is_disabled(entered: Callable[..., TinyOS], level: int) -> None:
    """The firmware has left it enabled, and its device asserts it for ever."""
    machine = entered(level, stray_interrupt=True)
    said = f"interrupt {firmware.STRAY_INTERRUPT} was not expected: disabled\n"
    assert machine.console.transcript.count(said) == 1
    assert "passed" in machine.shell("*c", timeout=60)
    assert machine.console.transcript.count(said) == 1
