"""`tinyos maps`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Command, Form, Option
from gdbplugin.commands.selection import SELECTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.maps import AddressMap
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style


def read(
    target: Target,
    *,
    range: Sequence[Address | None] | None = None,  # noqa: A002 (the command's word)
    permissions: str | None = None,
    owner: str | None = None,
    find_physical: Address | None = None,
    limit: int | None = None,
    core: int | None = None,
    el: int | None = None,
    ttbr: int | None = None,
    asid: int | None = None,
    stage: int | None = None,
) -> AddressMap:
    """Every mapped range of an address space and what it is; `range` is a start and an exclusive end."""
    from gdbplugin.kernel.maps import read_maps

    return read_maps(
        target,
        target.symbols,
        range=None if range is None else target.range(range),
        permissions=permissions,
        owner=owner,
        find_physical=None if find_physical is None else target.address(find_physical),
        limit=limit,
        core=core,
        el=el,
        ttbr=ttbr,
        asid=asid,
        stage=stage,
    )


def show(shown: AddressMap, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import maps

    return maps.text(shown, style)


def content(shown: AddressMap) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import maps

    return maps.content(shown)


OPTIONS = (
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
HELP = """Show the whole address space: every mapped range and what it is, on any AArch64 kernel.

A row is a range of one kind of memory, with one set of permissions and attributes, that is one thing
to the kernel. "pieces" stands where its memory is not in one piece; --json has each piece. "memory" is
WB, WT or NC for Normal memory (write-back, write-through, non-cacheable) with its shareability (ISH, OSH
or NSH: inner, outer, non-shareable), else the device type. TTBR1's mappings are global, TTBR0's are of
its ASID, unless a row says otherwise. With --range only the tables that have a part in it are read. Of
tables that have no end, or very many, a second's worth is read, and a note says where that stopped. Under
a hypervisor the outputs are intermediate addresses, whose own map --stage 2 shows.
"""
COMMAND = Command(
    "maps",
    Form("tinyos.maps/1", read, show, content),
    help=HELP,
    options=OPTIONS,
)
