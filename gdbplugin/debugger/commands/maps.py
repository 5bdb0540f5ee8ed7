"""`tinyos maps`."""

from gdbplugin.debugger.command import Command, Option
from gdbplugin.debugger.selections import SELECTION


class Maps(Command):
    """Show the whole address space: every mapped range and what it is, on any AArch64 kernel.

    A row is a range of one kind of memory, with one set of permissions and attributes, that is one thing
    to the kernel. "pieces" stands where its memory is not in one piece; --json has each piece. "memory" is
    WB, WT or NC for Normal memory (write-back, write-through, non-cacheable) with its shareability (ISH, OSH
    or NSH: inner, outer, non-shareable), else the device type. TTBR1's mappings are global, TTBR0's are of
    its ASID, unless a row says otherwise. With --range only the tables that have a part in it are read. Of
    tables that have no end, or very many, a second's worth is read, and a note says where that stopped. Under
    a hypervisor the outputs are intermediate addresses, whose own map --stage 2 shows.
    """

    word = "maps"
    reader = "gdbplugin.debugger.mmu:read_maps"
    view = "gdbplugin.render.maps"
    schema = "tinyos.maps/1"
    needs = "stopped"
    options = (
        Option("--range", "only what lies in this range", "range", "START..END"),
        Option(
            "--permissions",
            "only what one of the levels may use like that: r-x, with ? for either; el0:?w? for EL0 alone",
            "text",
            "r-x",
        ),
        Option("--owner", "only what is called so: stack, kernel text, lazy range 2", "text", "TEXT"),
        Option(
            "--find-physical",
            "every address, in every address space known, at which this physical one is mapped",
            "address",
            "ADDRESS",
        ),
        Option("--limit", "at most so many ranges; with --json, mappings", "number", "N"),
        *SELECTION,
    )
