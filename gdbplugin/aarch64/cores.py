"""What each core of a stopped machine is doing: its exception level and its translation table registers."""

from __future__ import annotations

from gdbplugin.aarch64.registers import asid_bits, bits, exception_level
from gdbplugin.machine import Machine
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class TableRegister:
    """A TTBRn_EL1: its value, the physical address of the table (BADDR), its ASID field, and CnP."""

    value: int
    base: int
    asid: int
    common_not_private: bool


@dataclass(frozen=True)
class Core:
    """A core. What cannot be read of it is None."""

    core: int
    exception_level: int | None
    mmu_enabled: bool | None
    ttbr0: TableRegister | None
    ttbr1: TableRegister | None


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
