"""The view of `tinyos maps`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.maps import AddressMap, Mapping
from gdbplugin.render.journal import journal_text
from gdbplugin.render.mmu import attribute_content, range_line, view_content, view_line
from gdbplugin.render.style import Style, indented, table

_ROWS_SHOWN = 400
_MALFORMED_SHOWN = 20


def content(found: AddressMap, journal: Journal) -> dict[str, Any]:
    """The map's part of its JSON object."""
    del journal  # Its findings and notes stand beside, in every command's object.
    return {
        "mappings": MappingObjects(found.mappings, found.aliases),
        "limited": found.limit is not None,
        "malformed": [entry._asdict() for entry in found.malformed],
        "malformed_count": found.malformed_count,
        "tables": found.tables,
        "leaves": found.leaves,
        "address_spaces": found.spaces,
        "find_physical": found.aliases,
        "regime": view_content(found.view),
    }


class MappingObjects:
    """Mappings as a list of objects, in JSON: written out here, for there may be very many of them.

    With `physical` each has the `alias` at which that address is seen.
    """

    def __init__(self, mappings: Sequence[Mapping], physical: int | None) -> None:
        self._mappings = mappings
        self._physical = physical

    def json(self) -> str:
        """The text."""
        tails: dict[tuple[Any, ...], str] = {}
        texts = []
        physical = self._physical
        for mapping in self._mappings:
            start, end, output, attributes, _, asid, sizes, owner, place, _ = mapping
            # What most mappings have in common is made once; equal attributes are one object as a rule.
            key = (id(attributes), asid, id(place), owner)
            tail = tails.get(key)
            if tail is None:
                tail = tails[key] = json.dumps(_common(mapping))[1:]
            leaves = ", ".join([f'"{size}": {count}' for size, count in sizes.items()])
            alias = "" if physical is None else f'"alias": {start + physical - output}, '
            texts.append(
                f'{{"start": {start}, "end": {end}, "size": {end - start}, "physical": {output}, '
                f'"leaves": {{{leaves}}}, {alias}{tail}'
            )
        return "[" + ", ".join(texts) + "]"


def _common(mapping: Mapping) -> dict[str, Any]:
    return {
        **attribute_content(mapping.attributes, mapping.memory_type, mapping.asid),
        "owner": mapping.owner,
        "kind": mapping.place.kind if mapping.place else None,
        "task": _task(mapping),
    }


def _task(mapping: Mapping) -> int | None:
    if mapping.place is not None and mapping.place.task is not None:
        return mapping.place.task
    return None if mapping.asid is None else mapping.task


class _Group:
    """Neighbouring mappings that differ only in where their memory is: one row to a reader."""

    def __init__(self, mapping: Mapping) -> None:
        self.first = mapping
        self.end = mapping.end
        self.pieces = 1
        self.sizes = dict(mapping.sizes)

    def takes(self, mapping: Mapping) -> bool:
        """Add a mapping, if it belongs here."""
        first = self.first
        if (
            mapping.start != self.end
            or mapping.attributes != first.attributes
            or mapping.place != first.place
            or mapping.owner != first.owner
            or mapping.asid != first.asid
        ):
            return False
        self.end = mapping.end
        self.pieces += 1
        for size, count in mapping.sizes.items():
            self.sizes[size] = self.sizes.get(size, 0) + count
        return True


def _groups(mappings: Sequence[Mapping]) -> Iterator[_Group]:
    group: _Group | None = None
    for mapping in mappings:
        if group is not None and group.takes(mapping):
            continue
        if group is not None:
            yield group
        group = _Group(mapping)
    if group is not None:
        yield group


def text(found: AddressMap, journal: Journal, style: Style) -> str:
    """The map as a table, the ranges that it is made of above, and what is wrong with it below."""
    view = found.view
    lines = [f"Map of {view_line(view)}"]
    if not view.regime.enabled:
        bits = view.regime.output_bits
        lines.append(f"  every address of up to {bits} bits is its own physical address")
    else:
        lines += ["  " + range_line(control, style) for control in view.regime.controls]
    lines += [f"  {note}" for note in view.regime.notes]
    if found.aliases is not None:
        lines += _aliases(found, style)
    else:
        lines += _table(found, style)
    if found.malformed_count:
        lines.append(f"Malformed: {style.count(found.malformed_count)}")
        for entry in found.malformed[:_MALFORMED_SHOWN]:
            lines.append(
                f"  level {entry.level} for {entry.start:#x}, entry {entry.entry} of the table at "
                f"{entry.table:#x}, {entry.descriptor:#x}: {entry.reason}"
            )
        if found.malformed_count > _MALFORMED_SHOWN:
            lines.append(f"  and {style.count(found.malformed_count - _MALFORMED_SHOWN)} more")
    return "\n".join(lines) + "\n" + journal_text(journal)


def _table(found: AddressMap, style: Style) -> list[str]:
    groups = list(_groups(found.mappings))
    lines = []
    if groups:
        rows = [_row(group, found, style) for group in groups[:_ROWS_SHOWN]]
        privileged = f"EL{found.view.regime.level}"
        headers = ("start", "end", "size", "physical", "EL0", privileged, "memory", "shared", "ASID", "what")
        lines.append(indented(table(headers, rows, ("size",))))
    total = sum(mapping.end - mapping.start for mapping in found.mappings)
    what = "of those asked for " if found.filtered else ""
    lines.append(
        f"{_counted(len(groups), 'range', style)} {what}with {_bytes(total, style)}, "
        f"{style.count(found.leaves)} blocks and pages in {style.count(found.tables)} tables"
    )
    if len(groups) > _ROWS_SHOWN:
        lines.append(
            f"  the first {_ROWS_SHOWN} are shown; narrow it by --range, --permissions or --owner, "
            "or take --json for all"
        )
    if found.limit is not None:
        lines.append(f"  only the first {style.count(found.limit)} mappings, as --limit says")
    return lines


def _row(group: _Group, found: AddressMap, style: Style) -> tuple[str, ...]:
    mapping = group.first
    attributes = mapping.attributes
    physical = style.address(mapping.physical)
    if group.pieces > 1:
        physical = f"{style.count(group.pieces)} pieces"
    has_el0 = found.view.regime.has_el0
    return (
        f"{mapping.start:#018x}",
        f"{group.end:#018x}",
        _bytes(group.end - mapping.start, style),
        physical,
        str(attributes.el0) if has_el0 else style.missing,
        str(attributes.el1),
        style.text(mapping.memory_type),
        SHAREABILITY_WORDS.get(attributes.shareability, attributes.shareability),
        _asid(mapping, has_el0, style),
        _what(mapping),
    )


SHAREABILITY_WORDS = {"inner shareable": "inner", "outer shareable": "outer", "non-shareable": "no"}


def _asid(mapping: Mapping, has_el0: bool, style: Style) -> str:
    if not has_el0:
        return style.missing
    return style.text(mapping.asid) if mapping.attributes.not_global else "global"


def _what(mapping: Mapping) -> str:
    task = _task(mapping)
    words = [mapping.owner] if mapping.owner else []
    if mapping.attributes.contiguous:
        words.append("contiguous")
    if mapping.attributes.guarded:
        words.append("guarded")
    if not mapping.attributes.access_flag:
        words.append("access flag clear")
    if mapping.attributes.dirty is False:
        words.append("clean")
    said = ", ".join(words)
    return said if task is None else f"{said} (task {task})".strip()


def _bytes(size: int, style: Style) -> str:
    """A size as a person reads it: exact where a unit makes it so, else rounded to the largest unit."""
    exact = style.size(size)
    if len(exact) <= 9:
        return exact
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB")):
        if size >= 1024**power:
            return f"{size / 1024**power:.1f} {unit}"
    return exact


def _aliases(found: AddressMap, style: Style) -> list[str]:
    """Each virtual address at which a frame is seen."""
    physical = found.aliases or 0
    count = len(found.mappings)
    lines = [
        f"Physical {physical:#x} is mapped {_counted(count, 'time', style)} "
        f"in the {_counted(found.spaces, 'range', style)} of addresses that are known"
    ]
    if not found.mappings:
        return lines
    has_el0 = found.view.regime.has_el0
    rows = [
        (
            f"{mapping.start + physical - mapping.physical:#018x}",
            str(mapping.attributes.el0) if has_el0 else style.missing,
            str(mapping.attributes.el1),
            style.text(mapping.memory_type),
            _asid(mapping, has_el0, style),
            _what(mapping),
            f"{mapping.start:#x} to {mapping.end:#x}",
        )
        for mapping in found.mappings[:_ROWS_SHOWN]
    ]
    headers = ("address", "EL0", f"EL{found.view.regime.level}", "memory", "ASID", "what", "within")
    lines.append(indented(table(headers, rows)))
    if count > _ROWS_SHOWN:
        lines.append(f"  the first {_ROWS_SHOWN} are shown; --json has all")
    return lines


def _counted(count: int, name: str, style: Style) -> str:
    """A number of things: `1 range`, `2 ranges`."""
    return f"{style.count(count)} {name}{'' if count == 1 else 's'}"
