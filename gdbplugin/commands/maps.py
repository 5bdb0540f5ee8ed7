"""`tinyos maps`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import SELECTION, Command, Form, Option
from gdbplugin.commands.translate import other_space_lines, range_lines, view_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.aarch64.access import MemoryAttributes
    from gdbplugin.aarch64.control import TranslationControl
    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.maps import AddressMap
    from gdbplugin.kernel.owned_ranges import Mapping, OwnedRange
    from gdbplugin.kernel.selection import View
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style


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
    """Every mapped range of an address space and its owner; `range` is a start and an exclusive end."""
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


_ROWS_SHOWN = 400
_MALFORMED_SHOWN = 20


def show(found: AddressMap, style: Style) -> str:
    """A table for each range of addresses, then the malformed entries."""
    view = found.view
    lines = style.wrapped(f"Map of {view_line(view)}", "  ")
    if not view.regime.enabled:
        bits = view.regime.output_bits
        kind = "intermediate physical" if view.regime.second_stage else "physical"
        lines += style.wrapped(f"  every address of up to {bits} bits is its own {kind} address")
    elif found.aliases is not None:
        for control in view.regime.controls:
            lines += range_lines(control, style)
        lines += _aliases(found, style)
    else:
        lines += _tables(found, style)
    if view.vmid is not None and view.regime.stage == 1:
        lines += style.wrapped(f"  stage 2 translates once more, with VMID {view.vmid}: see --stage 2")
    for note in view.regime.notes:
        lines += style.wrapped(f"  {note}")
    lines += _malformed_lines(found, style)
    return "\n".join(lines) + "\n" + style.diagnostics(found)


def _malformed_lines(found: AddressMap, style: Style) -> list[str]:
    if not found.malformed_count:
        return []
    lines = [f"Malformed: {style.count(found.malformed_count)}"]
    for entry in found.malformed[:_MALFORMED_SHOWN]:
        lines += style.wrapped(
            f"  level {entry.level} for {entry.start:#x}, entry {entry.entry} of the table at "
            f"{entry.table:#x}, {entry.descriptor:#x}: {entry.reason}",
            "    ",
        )
    if found.malformed_count > _MALFORMED_SHOWN:
        lines.append(f"  and {style.count(found.malformed_count - _MALFORMED_SHOWN)} more")
    return lines


def _tables(found: AddressMap, style: Style) -> list[str]:
    """Each range of input addresses with its mapped ranges, then the totals."""
    regime = found.view.regime
    lines: list[str] = []
    rows_left = _ROWS_SHOWN
    for control in regime.controls if regime.enabled else ():
        lines += range_lines(control, style)
        ranges = [entry for entry in found.ranges if entry.start >= control.first_address]
        if not control.upper and regime.upper is not None:
            ranges = [entry for entry in ranges if entry.start < regime.upper.first_address]
        shown, rows_left = ranges[:rows_left], max(0, rows_left - len(ranges))
        if shown:
            output = "intermediate" if regime.second_stage else "physical"
            headers = ("start", "end", "size", output, *_levels(found), "memory", "what")
            rows = [_row(entry, control, found, style) for entry in shown]
            least = ("size", "memory")
            lines.append(style.table(headers, rows, ("size",), dispensable=least))
    total = rounded_size(sum(entry.end - entry.start for entry in found.ranges), style)
    counted = style.counted(found.range_count, "matching range" if found.filtered else "range")
    if found.is_limited:
        counted = f"The first {style.count(len(found.ranges))} of {counted}, as --limit says,"
    leaves = "1 block or page" if found.leaves == 1 else f"{style.count(found.leaves)} blocks and pages"
    lines += style.wrapped(f"{counted} with {total}; {leaves} in {style.counted(found.tables, 'table')}")
    if found.filtered and not found.ranges:
        lines += other_space_lines(found.view, style)
    if len(found.ranges) > _ROWS_SHOWN:
        lines += style.wrapped(
            f"  the first {_ROWS_SHOWN} are shown; narrow it with --range, --permissions or --owner, "
            "or use --json for all"
        )
    return lines


def _levels(found: AddressMap) -> tuple[str, ...]:
    """The columns of permissions."""
    return tuple(f"EL{level}" for level in found.view.regime.levels)


def _row(entry: OwnedRange, control: TranslationControl, found: AddressMap, style: Style) -> tuple[str, ...]:
    pieces = entry.piece_count
    physical = style.address(entry.physical) if pieces == 1 else f"{style.count(pieces)} pieces"
    # As many digits as addresses of that range may have.
    width = 2 + (16 if control.upper else -(-control.input_bits // 4))
    return (
        f"{entry.start:#0{width}x}",
        f"{entry.end:#0{width}x}",
        style.short_size(entry.end - entry.start),
        physical,
        *entry.memory.permissions.values(),
        _memory_words(entry.memory, style),
        ", ".join([*_what(entry), *_scope(entry, control, found)]),
    )


def _scope(entry: OwnedRange, control: TranslationControl, found: AddressMap) -> list[str]:
    """Global, or of an ASID: where that is not the usual case of the range."""
    if found.view.regime.stage == 2 or not found.view.regime.has_el0:
        return []
    if entry.attributes.not_global != control.upper:
        return []
    if not entry.attributes.not_global:
        return ["global"]
    return ["not global" if entry.asid is None else f"ASID {entry.asid}"]


def _what(entry: OwnedRange | Mapping) -> list[str]:
    words = [entry.owner] if entry.owner else []
    if entry.owner_task is not None:
        words = [f"{entry.owner} (task {entry.owner_task})".strip()]
    if entry.attributes.contiguous:
        words.append("contiguous")
    if entry.attributes.guarded:
        words.append("guarded")
    if not entry.attributes.access_flag:
        words.append("access flag clear")
    if entry.attributes.dirty is False:
        words.append("clean")
    return words


def rounded_size(size: int, style: Style) -> str:
    """A size in few characters: exact if it is short in some unit, else rounded to the largest unit."""
    exact = style.size(size)
    if len(exact) <= 9:
        return exact
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB")):
        if size >= 1024**power:
            return f"{size / 1024**power:.1f} {unit}"
    return exact


def _aliases(found: AddressMap, style: Style) -> list[str]:
    """Each virtual address at which a frame is mapped."""
    physical = found.aliases or 0
    kind = "Intermediate physical" if found.view.regime.second_stage else "Physical"
    others = " (other filters applied)" if found.filters_aliases else ""
    lines = style.wrapped(
        f"{kind} {physical:#x} is mapped {style.counted(found.range_count, 'time')}{others} "
        f"in the {style.counted(found.spaces, 'known range')} of addresses"
    )
    if found.is_limited:
        lines += style.wrapped(f"  the first {style.count(len(found.ranges))} of them, as --limit says")
    if not found.ranges:
        return lines
    lines.append(alias_table(found.ranges[:_ROWS_SHOWN], found.view, style))
    if len(found.ranges) > _ROWS_SHOWN:
        lines.append(f"  the first {_ROWS_SHOWN} are shown; --json has all")
    return lines


def alias_table(entries: Sequence[OwnedRange | Mapping], view: View, style: Style) -> str:
    """A row for each address at which a frame is mapped."""
    has_el0 = view.regime.has_el0
    rows = [
        (
            f"{entry.alias or 0:#018x}",
            *entry.memory.permissions.values(),
            _memory_words(entry.memory, style),
            _asid(entry, has_el0, style),
            ", ".join(_what(entry)),
            style.short_size(entry.end - entry.start),
        )
        for entry in entries
    ]
    levels = (f"EL{level}" for level in view.regime.levels)
    headers = ("address", *levels, "memory", "ASID", "what", "within")
    return style.table(headers, rows, headers[-1:], dispensable=("within", "memory"))


def _asid(entry: OwnedRange | Mapping, has_el0: bool, style: Style) -> str:
    if not has_el0:
        return style.missing
    return style.text(entry.asid) if entry.attributes.not_global else "global"


_MEMORY_SHORT = {
    "Normal write-back": "WB",
    "Normal write-through": "WT",
    "Normal non-cacheable": "NC",
}
_SHAREABILITY_SHORT = {"inner shareable": "ISH", "outer shareable": "OSH", "non-shareable": "NSH"}


def _memory_words(memory: MemoryAttributes, style: Style) -> str:
    """A memory type as a table has it: `WB ISH`, `nGnRE`. Only cacheable memory heeds its shareability."""
    memory_type, shareability = memory.memory_type, memory.leaf.shareability
    if memory_type is None:
        return style.missing
    short = _MEMORY_SHORT.get(memory_type, memory_type.removeprefix("Device-"))
    if short == "NC" or memory_type.startswith("Device-"):
        return short
    return f"{short} {_SHAREABILITY_SHORT.get(shareability, shareability)}"


LIMIT = Option("--limit", "at most this many ranges; with --json, mappings", "number", "N")
OPTIONS = (
    Option("--range", "only this range of addresses", "range", "START..END"),
    Option(
        "--permissions",
        "only what one exception level may use like this: r-x, ? for any; el0:?w? for EL0 alone",
        "text",
        "r-x",
    ),
    Option(
        "--owner",
        "only owners with this text in their name: stack, kernel text, lazy range 2",
        "text",
        "TEXT",
    ),
    Option(
        "--find-physical",
        "every address in every known address space that maps to this physical address",
        "address",
        "ADDRESS",
    ),
    LIMIT,
    *SELECTION,
)
HELP = """Show the whole address space: every mapped range and what it is, on any AArch64 kernel.

Each row is a range of addresses with one set of permissions and attributes, and one owner. If its memory
is in several pieces, the row has their number; --json lists each piece. "memory" is WB, WT or NC for
Normal memory (write-back, write-through, non-cacheable) with its shareability (ISH, OSH or NSH: inner,
outer, non-shareable), or the device type. Mappings of TTBR1 are global and those of TTBR0 belong to its
ASID, unless the row says otherwise. With --range only tables with a part in the range are read. Reading
stops after about a second, as tables may have no end; a note says where it stopped. Under a hypervisor
the outputs are intermediate addresses; --stage 2 shows the map of those.
"""
COMMAND = Command(
    "maps",
    Form("tinyos.maps/1", read, show, rows=lambda found: found.encoded_mappings, first=LIMIT),
    help=HELP,
    options=OPTIONS,
)
