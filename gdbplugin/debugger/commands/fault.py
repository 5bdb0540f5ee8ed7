"""`tinyos fault`."""

from gdbplugin.debugger.command import Command
from gdbplugin.debugger.selections import CORE


class Fault(Command):
    """Explain the last exception of a core.

    Its class, status and address, the instruction and what it does, what lies at the address, and which
    exception level took it. Where the syndrome, the instruction, its registers and the tables as they are
    now contradict each other, that is said. ESR_ELx keeps an exception after it is over: what is known of
    that is said too. On TinyOS also what stopped the kernel, if something did, and the tasks that exceptions
    ended. Works on any AArch64 kernel.
    """

    word = "fault"
    reader = "gdbplugin.debugger.mmu:read_fault"
    view = "gdbplugin.render.fault"
    schema = "tinyos.fault/1"
    needs = "stopped"
    options = (CORE,)
