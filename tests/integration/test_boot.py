"""Every way onto the machine ends in the same place: EL1, MMU and caches on, the other cores parked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gdbplugin.kernel.kernel import SCHEDULER
from gdbplugin.layout.elf import read_image
from gdbplugin.session import TinyOS
from tests.integration import device, guest
from tests.integration.answers import figures
from tests.integration.device import Devices
from tests.machine_code.code import functions

_SCTLR_M, _SCTLR_C, _SCTLR_I = 1 << 0, 1 << 2, 1 << 12  # Arm ARM, SCTLR_EL1
_SECURE = ("-global", "arm_gic.has-security-extensions=on")
"""The interrupt controller as the board has it: the kernel is on its non-secure side."""

_ENABLE, _TIMER = 0x100, 1 << 27
"""GICD_ISENABLER0, and the bit of the virtual timer there."""
_UART_GROUP, _UART = 0x80 + 4 * (153 // 32), 1 << 153 % 32
"""GICD_IGROUPR4, and the bit of the UART there."""
_PRIORITY_MASK = 4
"""GICC_PMR."""


@pytest.fixture(params=["kernel.elf at EL3 on four cores", "kernel8.img at EL2 on one"])
def way(request: pytest.FixtureRequest, kernel_elf: Path, kernel_image: Path) -> tuple[Path, int]:
    """The two ways onto the machine: what QEMU loads, and the exception level it enters it at."""
    return (kernel_elf, 3) if "elf" in request.param else (kernel_image, 2)


@pytest.fixture(params=["", "GIC with the Security Extensions"])
def booted(request: pytest.FixtureRequest, boot: Callable[..., TinyOS], way: tuple[Path, int]) -> TinyOS:
    """The kernel, booted by each of its two ways, with and without what only the board's GIC has."""
    kernel, level = way
    machine = boot(kernel=kernel, extra=_SECURE if request.param else ())
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


def test_ticks_and_typed_characters_arrive(booted: TinyOS) -> None:
    """By the timer's interrupt, which is core 0's own, and by the UART's, which the cores share."""
    booted.shell("spawn spinner")
    before = _ticks(booted)
    deadline = time.monotonic() + 10.0
    while _ticks(booted) < before + 3:
        assert time.monotonic() < deadline, "the timer does not tick"


def _ticks(machine: TinyOS) -> int:
    return int(figures(machine.shell("tasks"))["tick_count"])


def test_an_interrupt_of_the_other_group_is_left_alone(machine: TinyOS, kernel_elf: Path) -> None:
    """GICC_IAR then has 1022, which is not an interrupt, as often as it is read."""
    machine.shell("spawn spinner")
    machine.interrupt()
    machine.gdb("thbreak kernel::scheduler::tick")
    machine.gdb("continue")
    with machine.stopped() as gdb:
        devices = Devices(gdb, kernel_elf, 0)
        devices.write(device.GIC_DISTRIBUTOR + _UART_GROUP, _UART)
    machine.console.send("\r")
    before = _ticked(machine)
    machine.resume()
    deadline = time.monotonic() + 10.0
    while _ticked(machine) < before + 3:
        assert time.monotonic() < deadline, "the timer does not tick"
    assert "not expected" not in machine.console.transcript


def _ticked(machine: TinyOS) -> int:
    with machine.stopped_target() as target:
        return target.required_kernel().read_integer(SCHEDULER, "tick_count")


def test_asids_have_as_many_bits_as_the_cpu_supports(booted: TinyOS) -> None:
    with booted.stopped() as gdb:
        supported = guest.register(gdb, 0, "ID_AA64MMFR0_EL1") >> 4 & 0xF  # ASIDBits
        for core in range(4):
            control = guest.register(gdb, core, "TCR_EL1")
            assert control >> 36 & 1 == (supported == 2), f"core {core}: TCR_EL1 is {control:#x}"  # AS


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


def test_every_core_may_use_its_interrupts(
    boot: Callable[..., TinyOS], way: tuple[Path, int], kernel_elf: Path
) -> None:
    """GICC_PMR and the groups of interrupts 0 to 31 are a core's own, and only the secure side sets them."""
    machine = boot(kernel=way[0], extra=_SECURE, paused=True)
    seen: set[int] = set()
    with machine.stopped() as gdb:
        gdb.execute("break secondary_parked")
        while len(seen) < 3:
            machine.gdb("continue")
            core = int(gdb.execute("output $_thread")) - 1
            devices = Devices(gdb, kernel_elf, core)
            devices.write(device.GIC_CPU_INTERFACE + _PRIORITY_MASK, 0xF0)
            assert devices.read(device.GIC_CPU_INTERFACE + _PRIORITY_MASK) == 0xF0, f"core {core}"
            devices.write(device.GIC_DISTRIBUTOR + _ENABLE, _TIMER)
            assert devices.read(device.GIC_DISTRIBUTOR + _ENABLE) & _TIMER, f"core {core}"
            seen.add(core)


def _at_el3(elf: Path, name: str) -> int:
    """The physical address of the one instruction of a name that only the entry at EL3 executes."""
    (place,) = [
        instruction.address
        for function in functions(elf)
        if function.name == "from_el3"
        for instruction in function.instructions
        if instruction.name == name
    ]
    physical = read_image(elf).physical(place)
    assert physical is not None
    return physical


def test_a_timer_that_no_firmware_has_set_up_counts_at_54_mhz(
    boot: Callable[..., TinyOS], kernel_elf: Path
) -> None:
    """QEMU's CNTFRQ_EL0 never reads 0: the value that was read is replaced."""
    machine = boot(paused=True)
    with machine.stopped() as gdb:
        gdb.execute(f"break *{_at_el3(kernel_elf, 'mrs cntfrq_el0') + 4:#x}")
        for _ in range(4):
            machine.gdb("continue")
            gdb.execute("set var $x0 = 0")
        gdb.execute("delete")
    machine.resume()
    machine.console.wait_for_prompt()
    with machine.stopped() as gdb:
        assert {guest.register(gdb, core, "CNTFRQ_EL0") for core in range(4)} == {54_000_000}
    assert machine.shell("uptime")


def test_a_timer_that_counts_already_keeps_its_frequency(machine: TinyOS) -> None:
    with machine.stopped() as gdb:
        assert {guest.register(gdb, core, "CNTFRQ_EL0") for core in range(4)} == {62_500_000}


def test_every_core_joins_the_coherency_of_the_caches(boot: Callable[..., TinyOS], kernel_elf: Path) -> None:
    """CPUECTLR_EL1.SMPEN, which QEMU does not keep: as it is written, before MMU and caches are on."""
    machine = boot(paused=True)
    seen: set[int] = set()
    with machine.stopped() as gdb:
        gdb.execute(f"break *{_at_el3(kernel_elf, 'msr cpuectlr_el1'):#x}")
        for _ in range(4):
            machine.gdb("continue")
            core = int(gdb.execute("output $_thread")) - 1
            assert guest.register(gdb, core, "x0") & 1 << 6
            assert not guest.register(gdb, core, "SCTLR", "SCTLR_EL1") & (_SCTLR_M | _SCTLR_C)
            seen.add(core)
    assert len(seen) == 4
