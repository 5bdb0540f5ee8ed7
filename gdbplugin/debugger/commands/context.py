"""`tinyos context`."""

from gdbplugin.debugger.command import Command


class Context(Command):
    """Show what each core translates by, and the address spaces that TinyOS switches between.

    TTBR0_EL1 and TTBR1_EL1 of every core by their fields; every address space with its task, table,
    ASID and generation, and switches; and the TLB invalidations by kind.
    """

    word = "context"
    letter = "c"
    reader = "gdbplugin.kernel.context:read_context"
    view = "gdbplugin.render.context"
    schema = "tinyos.context/1"
