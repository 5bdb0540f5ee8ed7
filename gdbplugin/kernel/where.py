"""What one address is: everything that is known of it, for `tinyos where`."""

from __future__ import annotations

from gdbplugin.aarch64.description import REGISTERS
from gdbplugin.aarch64.regime import RegimeUnknownError, el1_regime, regime_at
from gdbplugin.aarch64.registers import GENERAL_REGISTERS, decode
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.locator import Locator
from gdbplugin.kernel.place import Place
from gdbplugin.kernel.selection import Selection, View, choose_core
from gdbplugin.kernel.target import Target
from gdbplugin.machine import SelectionError
from gdbplugin.records import dataclass

_REGISTERS = {name.upper(): name for name in (*GENERAL_REGISTERS, "SP", "PC", "SP_EL0", *REGISTERS)}
_STACK_POINTERS = ("SP", "SP_EL0")
_OTHER_NAMES = {"LR": "X30", "FP": "X29"}
_TABLE_REGISTERS = ("TTBR0_", "TTBR1_", "VTTBR_")


@dataclass(frozen=True)
class Where(Diagnosed):
    """What one address is."""

    json_fields = ("register", "value", "core", "place")
    json_merged = ("place",)

    register: str | None
    """The register whose value was asked for; null for an address."""
    value: int
    """The address, or the register's value."""
    core: int | None
    """The core of the register, or by whose tables the address was translated."""
    view: View | None
    """The translation that was selected; None if the registers for it are not known."""
    place: Place


def read_where(
    target: Target,
    address: int | str | None = None,
    physical: int | None = None,
    **selection: int | None,
) -> Where:
    """What is at a virtual address, in a register of a core, or at a physical address.

    `selection` are the fields of `Selection`. Raises `SelectionError` and what `choose` raises.
    """
    if (address is None) == (physical is None):
        raise SelectionError("give one address: ADDRESS, a register, or --physical PA")
    chosen = Selection(**selection)
    register, core = None, None
    if address is not None:
        register = _register(address)
        if register is not None:
            core = choose_core(target, chosen.core)
            address, physical = _value(target, register, core)
    locator = Locator(target, chosen)
    if physical is None:
        value = target.address(address or 0)
        place = locator.virtual(value)
        core = locator.view.core
        if register in _STACK_POINTERS:
            locator.note_empty_stack(register or "", value)
    else:
        value = physical if address is None or isinstance(address, str) else address
        place = locator.physical(physical)
    return Where(register, value, core, locator.known_view, place, diagnostics=target.diagnostics)


def _register(address: int | str) -> str | None:
    """The register that a word names; None for anything else."""
    name = address.upper() if isinstance(address, str) else ""
    return _REGISTERS.get(_OTHER_NAMES.get(name, name))


def _value(target: Target, register: str, core: int) -> tuple[int, int | None]:
    """A register's value, and the physical address in it if it has one. Raises `SelectionError`."""
    value = target.machine.register(register, core)
    if value is None:
        raise SelectionError(f"this target does not give {register} of core {core}")
    if register.startswith(_TABLE_REGISTERS):
        table = _table(target, register, core)
        return value, decode(register, value)["BADDR"] << 1 if table is None else table
    return value, None


def _table(target: Target, register: str, core: int) -> int | None:
    """The address of a register's table: which bits it has depends on others. None if they do not tell."""
    try:
        if register.startswith("VTTBR_"):
            regime = el1_regime(target.machine, core).stage2
        else:
            regime = regime_at(target.machine, core, int(register[-1]))
    except RegimeUnknownError:
        return None
    controls = () if regime is None else regime.controls
    return next((control.root_address for control in controls if control.name == register), None)
