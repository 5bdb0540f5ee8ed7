"""System registers by their fields, core by core: what `tinyos registers` shows."""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.aarch64.description import REGISTERS, RegisterField, describe
from gdbplugin.aarch64.registers import decode
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.selection import choose_core
from gdbplugin.kernel.target import Target
from gdbplugin.machine import Machine, SelectionError
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class RegisterValue:
    """A value of a register, the cores that hold it, and its fields from bit 63 down.

    `fields` includes the bits that belong to no known field.
    """

    json_fields = ("cores", "value", "named_fields as fields", "reserved_bits")

    value: int
    """The value."""
    cores: tuple[int, ...]
    """The cores that hold this value."""
    fields: tuple[RegisterField, ...]

    @property
    def named_fields(self) -> tuple[RegisterField, ...]:
        """The known fields, from the highest bit down."""
        return tuple(field for field in self.fields if not field.reserved)

    @property
    def reserved_bits(self) -> int:
        """The bits that are set but belong to no known field."""
        return sum(field.value << field.low for field in self.fields if field.reserved)


@dataclass(frozen=True)
class Register:
    """A system register and the values that cores have for it."""

    name: str
    """Name of the register."""
    values: tuple[RegisterValue, ...]
    """Each value that cores have for it; empty if the target does not give the register."""
    unknown_cores: tuple[int, ...]
    """The cores whose value the target does not give."""


@dataclass(frozen=True)
class Registers(Diagnosed):
    """System registers by their fields, core by core.

    `chosen` is True if some were asked for by name.
    """

    json_fields = ("cores", "registers")

    registers: tuple[Register, ...]
    """The registers, in a fixed order."""
    cores: tuple[int, ...]
    """Numbers of the cores."""
    chosen: bool

    def __iter__(self) -> Iterator[Register]:
        return iter(self.registers)

    def __len__(self) -> int:
        return len(self.registers)

    @property
    def known(self) -> tuple[Register, ...]:
        """The registers that the target gives of at least one core."""
        return tuple(register for register in self.registers if register.values)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The names of the registers that the target does not give."""
        return tuple(register.name for register in self.registers if not register.values)


def names(target: Target) -> list[str]:
    """The names of registers, for completion."""
    del target  # The same for every target.
    return list(REGISTERS)


def matching(name: str) -> tuple[str, ...]:
    """The registers that a word names, with or without `_ELx`; else those whose names begin with it.

    Raises `SelectionError` if there are none.
    """
    wanted = name.upper()
    if wanted in REGISTERS:
        return (wanted,)
    exact = tuple(known for known in REGISTERS if known.rpartition("_EL")[0] == wanted)
    found = exact or tuple(known for known in REGISTERS if known.startswith(wanted))
    if not wanted or not found:
        stems = dict.fromkeys(known.rpartition("_EL")[0] or known for known in REGISTERS)
        raise SelectionError(f'no register "{name}" (known: {", ".join(stems)})')
    return found


def read_registers(target: Target, name: str | None = None, core: int | None = None) -> Registers:
    """Read registers of all cores, or of one. Raises `SelectionError` for an unknown name or core."""
    wanted = REGISTERS if name is None else matching(name)
    machine = target.machine
    cores = tuple(machine.cores) if core is None else (choose_core(target, core),)
    return Registers(
        registers=tuple(_register(machine, entry, cores) for entry in wanted),
        cores=cores,
        chosen=name is not None,
        diagnostics=target.diagnostics,
    )


def _register(machine: Machine, name: str, cores: tuple[int, ...]) -> Register:
    holders: dict[tuple[int, bool], list[int]] = {}
    unknown = []
    for core in cores:
        value = machine.register(name, core)
        if value is None:
            unknown.append(core)
        else:
            holders.setdefault((value, _hosts(machine, core)), []).append(core)
    values = tuple(
        RegisterValue(value, tuple(those), describe(name, value, e2h=e2h))
        for (value, e2h), those in holders.items()
    )
    return Register(name, values, tuple(unknown))


def _hosts(machine: Machine, core: int) -> bool:
    """Whether HCR_EL2.E2H is set, which gives some EL2 registers the layout of EL1's."""
    value = machine.register("HCR_EL2", core)
    return value is not None and bool(decode("HCR_EL2", value)["E2H"])
