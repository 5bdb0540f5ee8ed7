"""`tinyos check`."""

from gdbplugin.debugger.command import Command


class Check(Command):
    """Hold TinyOS's records against the hardware's translation tables.

    Usage: tinyos check [--json]

    Walks every address space and compares it with the stacks, lazy pages and frames that the kernel has
    on record. Each finding names the object, what was expected and what is there;
    the last line counts them.
    """

    word = "check"
    reader = "gdbplugin.kernel.check:read_check"
    view = "gdbplugin.render.check"
    schema = "tinyos.check/1"
