"""`tinyos registers`."""

from gdbplugin.debugger.command import Argument, Command
from gdbplugin.debugger.selections import CORE


class Registers(Command):
    """Show the system registers of address translation and exceptions by their fields, core by core.

    TTBRn, TCR, MAIR, SCTLR, ESR, FAR, ELR, SPSR, VBAR, CONTEXTIDR, PAR, HCR, SCR and ID_AA64MMFRn of EL1 to
    EL3. With NAME every field of that register, or of all that begin so; without, the fields that are
    not zero. What the target does not give is named at the end. Works on any AArch64 kernel.
    """

    word = "registers"
    reader = "gdbplugin.kernel.registers:read_registers"
    view = "gdbplugin.render.registers"
    schema = "tinyos.registers/1"
    needs = "stopped"
    arguments = (
        Argument(
            "NAME",
            "a register, such as TCR_EL1, or the beginning of some: TTBR, ID_AA64",
            "text",
            complete="gdbplugin.kernel.registers:names",
        ),
    )
    options = (CORE,)
