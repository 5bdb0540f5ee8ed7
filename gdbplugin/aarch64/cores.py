"""What each core of a stopped machine is doing: its exception level and its translation table registers."""

from __future__ import annotations

from gdbplugin.aarch64.registers import asid_bits, bits, exception_level
from gdbplugin.machine import Machine
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class TableRegister:
    """A TTBRn_EL1."""

    value: int
    """The value of the register."""
    base: int
    """Physical address of the table: BADDR."""
    asid: int
    """The ASID field."""
    common_not_private: bool
    """The CnP bit."""


@dataclass(frozen=True)
class Core:
    """A core. What cannot be read of it is None."""

    core: int
    """Its number."""
    exception_level: int | None
    """The exception level it is at, 0 to 3."""
    mmu_enabled: bool | None
    """Whether the MMU is on for EL1 and EL0: SCTLR_EL1.M."""
    ttbr0: TableRegister | None
    """TTBR0_EL1; null if it cannot be read."""
    ttbr1: TableRegister | None
    """TTBR1_EL1; null if it cannot be read."""


def table_register(value: int, asid_width: int) -> TableRegister:
    """Decode a TTBRn_EL1 where ASIDs are `asid_width` bits wide."""
    return TableRegister(value, bits(value, 47, 1) << 1, bits(value, 47 + asid_width, 48), bool(value & 1))


def read_cores(machine: Machine) -> tuple[Core, ...]:
    """Every core of the machine."""
    return tuple(_read_core(machine, core) for core in machine.cores)


def _read_core(machine: Machine, core: int) -> Core:
    width = asid_bits(machine, core)
    tables = []
    for name in ("TTBR0_EL1", "TTBR1_EL1"):
        value = machine.register(name, core)
        tables.append(None if value is None else table_register(value, width))
    control = machine.register("SCTLR_EL1", core)
    enabled = None if control is None else bool(control & 1)
    return Core(core, exception_level(machine, core), enabled, tables[0], tables[1])
