"""`tinyos registers`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form
from gdbplugin.commands.selection import CORE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.registers import Registers
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style


def read(target: Target, name: str | None = None, *, core: int | None = None) -> Registers:
    """System registers by their fields: all, one, or those whose names begin so."""
    from gdbplugin.kernel.registers import read_registers

    return read_registers(target, name, core)


def show(shown: Registers, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import registers

    return registers.text(shown, style)


def content(shown: Registers) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import registers

    return registers.content(shown)


def offered_names(target: Target) -> list[str]:
    """The names of the registers."""
    from gdbplugin.kernel import registers

    return registers.names(target)


ARGUMENTS = (
    Argument(
        "NAME",
        "a register, such as TCR_EL1, or the beginning of some: TTBR, ID_AA64",
        "text",
        complete=offered_names,
    ),
)
HELP = """Show the system registers of address translation and exceptions by their fields, core by core.

TTBRn, TCR, MAIR, SCTLR, ESR, FAR, ELR, SPSR, VBAR, CONTEXTIDR, PAR, HCR, SCR and ID_AA64MMFRn of EL1 to
EL3. With NAME every field of that register, or of all that begin so; without, the fields that are
not zero. What the target does not give is named at the end. Works on any AArch64 kernel.
"""
COMMAND = Command(
    "registers",
    Form("tinyos.registers/1", read, show, content),
    help=HELP,
    arguments=ARGUMENTS,
    options=(CORE,),
)
