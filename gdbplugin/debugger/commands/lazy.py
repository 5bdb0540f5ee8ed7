"""`tinyos lazy`."""

from gdbplugin.debugger.command import Argument, Command, Option


class Lazy(Command):
    """Show the lazy pages by state and range, or one of them and its descriptor.

    Pages are pending (reserved only), zero (the shared zero page is mapped there, read-only) or allocated
    (a frame of their own). Neighbours of one state and task are summed up.
    With an ADDRESS, which may be a GDB expression: that page's record, and the walk to its descriptor.
    """

    word = "lazy"
    letter = "l"
    reader = "gdbplugin.kernel.lazy_list:read_lazy_list"
    view = "gdbplugin.render.lazy"
    schema = "tinyos.lazy/1"
    arguments = (Argument("ADDRESS", "any address in the page to tell all about", "address"),)
    options = (
        Option("--state", "only pages of this state", "text", choices=("pending", "zero", "allocated")),
        Option(
            "--asid",
            "only pages of the address space with this ASID",
            "number",
            "N",
            complete="gdbplugin.kernel.lazy_list:offered_asids",
        ),
        Option("--limit", "show this many runs; with --json, this many pages", "number", "N"),
    )
