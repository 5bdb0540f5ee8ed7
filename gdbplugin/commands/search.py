"""`tinyos search`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import SELECTION_OF_STAGE_1, Argument, Command, Form, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.search import Hit, Search
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


def read(
    target: Target,
    value: Address | bytes | None = None,
    *,
    in_: str | Sequence[Address | None] | None = None,
    pointer_to: Sequence[Address | None] | None = None,
    size: int | None = None,
    align: int | None = None,
    limit: int | None = None,
    core: int | None = None,
    el: int | None = None,
    ttbr: int | None = None,
    asid: int | None = None,
) -> Search:
    """Every place with a value, `b"bytes"`, or a pointer into a range; at most `limit` of them (50).

    `in_` is "mapped", "physical", or a range of virtual addresses.
    """
    from gdbplugin.kernel.search import read_search

    return read_search(
        target,
        value,
        within=in_ if in_ is None or isinstance(in_, str) else target.range(in_),
        pointer_to=None if pointer_to is None else target.range(pointer_to),
        size=size,
        align=align,
        limit=limit,
        core=core,
        el=el,
        ttbr=ttbr,
        asid=asid,
    )


_SCOPES = {
    "physical": "physical memory",
    "mapped": "mapped memory",
    "range": "the range",
}


def show(found: Search, style: Style) -> str:
    """Each hit in one sentence, and how much was searched."""
    from gdbplugin.commands.maps import rounded_size

    lines = []
    for hit in found.hits:
        lines += _hit_lines(hit, found, style)
    count = style.counted(len(found), "hit") if len(found) else "No hit"
    said = f"{count} for {found.pattern} in {rounded_size(found.searched, style)} of {_SCOPES[found.scope]}"
    if found.limited:
        said += "; there are more: --limit N shows N"
    return "\n".join([*lines, *style.wrapped(said, "  ")]) + "\n" + style.diagnostics(found)


def _hit_lines(hit: Hit, found: Search, style: Style) -> list[str]:
    place = hit.place
    physical = f"physical {place.physical or 0:#x}"
    head = physical if place.address is None else f"{place.address:#018x} ({physical})"
    # A value that was asked for needs no second mention.
    is_asked_for = hit.found is None or found.pattern == f"{hit.found:#x}"
    points = "" if is_asked_for else f" {style.arrow} {hit.found:#x}"
    return style.wrapped(f"  {head}{points}: {place.text}", "      ")


_MOST_ASKED_ABOUT = 10_000
LIMIT = Option(
    "--limit", "at most this many hits; 50 unless given, or the list is asked about", "number", "N"
)
OPTIONS = (
    Option(
        "--in",
        "only mapped memory, all physical memory, or a range",
        "range",
        "MAPPED|PHYSICAL|START..END",
        choices=("mapped", "physical"),
    ),
    Option(
        "--pointer-to", "words that are an address in this range, instead of a VALUE", "range", "START..END"
    ),
    Option(
        "--size", "bytes of VALUE, little-endian: 8 unless given", "number", "N", choices=("1", "2", "4", "8")
    ),
    Option(
        "--align", "only at multiples of N; a VALUE's size unless given, 1 for text and bytes", "number", "N"
    ),
    LIMIT,
    *SELECTION_OF_STAGE_1,
)
HELP = """Search memory for a value, a text, bytes or pointers, on any AArch64 kernel.

VALUE is a number or an expression; text stands in quotes, and bytes are pairs of hexadecimal digits with
spaces between. Each hit is told in one sentence, as tinyos where tells it; --json has everything. Without
--in all physical memory is searched, from the RAM that a session shares with QEMU, or from a dump; where the
machine must be asked for each part of it, what the known address spaces map. Devices are never read. Ctrl-C
ends the search and shows what was found.
"""
COMMAND = Command(
    "search",
    Form("tinyos.search/1", read, show, rows=lambda found: found.hits, first=LIMIT, most=_MOST_ASKED_ABOUT),
    help=HELP,
    arguments=(Argument("VALUE", 'a value, "a text", or bytes: 7f 45 4c 46', "address"),),
    options=OPTIONS,
)
