"""`tinyos lazy`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import Argument, Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.lazy_list import LazyList
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style


def read(
    target: Target,
    address: Address | None = None,
    *,
    state: str | None = None,
    asid: int | None = None,
    limit: int | None = None,
) -> LazyList:
    """The lazy pages of a state (pending, zero, allocated) or an ASID; or the one at an address."""
    from gdbplugin.kernel.lazy_list import read_lazy_list

    return read_lazy_list(
        target.required_kernel(),
        address=None if address is None else target.address(address),
        state=state,
        asid=asid,
        limit=limit,
    )


def show(shown: LazyList, style: Style) -> str:
    """The object as text."""
    from gdbplugin.render import lazy

    return lazy.text(shown, style)


def content(shown: LazyList) -> dict[str, Any]:
    """The object's own part of its JSON."""
    from gdbplugin.render import lazy

    return lazy.content(shown)


def offered_asids(target: Target) -> list[int]:
    """The ASIDs of address spaces that have lazy pages."""
    from gdbplugin.kernel import lazy_list

    return lazy_list.offered_asids(target)


ARGUMENTS = (Argument("ADDRESS", "any address in the page to tell all about", "address"),)
OPTIONS = (
    Option("--state", "only pages of this state", "text", choices=("pending", "zero", "allocated")),
    Option(
        "--asid",
        "only pages of the address space with this ASID",
        "number",
        "N",
        complete=offered_asids,
    ),
    Option("--limit", "show this many runs; with --json, this many pages", "number", "N"),
)
HELP = """Show the lazy pages by state and range, or one of them and its descriptor.

Pages are pending (reserved only), zero (the shared zero page is mapped there, read-only) or allocated
(a frame of their own). Neighbours of one state and task are summed up.
With an ADDRESS, which may be a GDB expression: that page's record, and the walk to its descriptor.
"""
COMMAND = Command(
    "lazy",
    Form("tinyos.lazy/1", read, show, content),
    help=HELP,
    letter="l",
    arguments=ARGUMENTS,
    options=OPTIONS,
)
