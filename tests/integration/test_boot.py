"""Both ways onto the machine end in the same place: EL1, MMU and caches on, the other cores parked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gdbplugin.session import TinyOS
from tests.integration import guest

_SCTLR_M, _SCTLR_C, _SCTLR_I = 1 << 0, 1 << 2, 1 << 12  # Arm ARM, SCTLR_EL1


@pytest.fixture(params=["kernel.elf at EL3 on four cores", "kernel8.img at EL2 on one"])
def booted(
    request: pytest.FixtureRequest, boot: Callable[..., TinyOS], kernel_elf: Path, kernel_image: Path
) -> TinyOS:
    """The kernel, booted by each of its two ways."""
    way, level = (kernel_elf, 3) if "elf" in request.param else (kernel_image, 2)
    machine = boot(kernel=way)
    assert f"entered at EL{level}, now at EL1" in machine.console.transcript
    return machine


def test_the_kernel_runs_at_el1_with_mmu_and_caches_on(booted: TinyOS) -> None:
    with booted.stopped() as gdb:
        for core in range(4):
            level = guest.exception_level(gdb, core)
            assert level == 1 or (core == 0 and level == 0), f"core {core} is at EL{level}"
            control = guest.register(gdb, core, "SCTLR", "SCTLR_EL1")
            assert control & _SCTLR_M, f"core {core} has its MMU off: {control:#x}"
            assert control & _SCTLR_C, f"core {core} has its data cache off: {control:#x}"
            assert control & _SCTLR_I, f"core {core} has its instruction cache off: {control:#x}"


def test_the_other_cores_are_parked_in_a_named_loop(booted: TinyOS) -> None:
    with booted.stopped() as gdb:
        for core in (1, 2, 3):
            gdb.mi(f"-thread-select {core + 1}")
            assert "park" in gdb.execute("info symbol $pc"), f"core {core}"


def test_an_elf_is_entered_at_el3_and_an_image_at_el2(
    boot: Callable[..., TinyOS], kernel_image: Path
) -> None:
    """What the two boots above stand on: QEMU does enter them differently."""
    for machine, level, waiting in (
        (boot(paused=True), 3, 3),
        (boot(paused=True, kernel=kernel_image), 2, 2),
    ):
        with machine.stopped() as gdb:
            assert guest.exception_level(gdb, 0) == level
            assert guest.exception_level(gdb, 1) == waiting
