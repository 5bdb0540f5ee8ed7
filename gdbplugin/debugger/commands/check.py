"""`tinyos check`."""

from gdbplugin.debugger.command import STRICT, Command


class Check(Command):
    """Hold TinyOS's records against the hardware's translation tables.

    Walks every address space and compares it with the stacks, lazy pages and frames that the kernel has
    on record, and the kernel's own half with what it maps at boot. Each finding names the object, what was
    expected and what is there; the last line counts them. With --strict it then fails if there are any, which
    ends a script and makes `scripts/run --batch` exit with status 1.
    """

    word = "check"
    reader = "gdbplugin.debugger.mmu:read_check"
    view = "gdbplugin.render.check"
    schema = "tinyos.check/1"
    options = (STRICT,)
