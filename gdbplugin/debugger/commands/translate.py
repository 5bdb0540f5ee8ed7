"""`tinyos translate`."""

from gdbplugin.debugger.command import Argument, Command
from gdbplugin.debugger.selections import SELECTION


class Translate(Command):
    """Walk the translation tables for one address, on any AArch64 kernel.

    Shows each level's table, index and descriptor with what it says, the attributes that come of all
    levels together, and the output address, or the fault that a read from there takes and why.
    At most one descriptor is read for each level. Where a hypervisor translates EL1's and EL0's addresses
    once more, both stages are walked; --stage 2 takes ADDRESS for an intermediate physical one.
    """

    word = "translate"
    reader = "gdbplugin.kernel.translate:read_translation"
    view = "gdbplugin.render.translate"
    schema = "tinyos.translate/1"
    needs = "stopped"
    arguments = (
        Argument("ADDRESS", "the input address, a number or an expression", "address", required=True),
    )
    options = SELECTION
