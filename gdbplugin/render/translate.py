"""The view of `tinyos translate`."""

from __future__ import annotations

from typing import Any

from gdbplugin.aarch64.descriptor import Kind, hierarchical_names
from gdbplugin.aarch64.walk import Level
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.translate import AddressTranslation
from gdbplugin.render.journal import journal_text
from gdbplugin.render.mmu import (
    attribute_content,
    permission_words,
    range_line,
    view_content,
    view_line,
)
from gdbplugin.render.style import Style, indented, table, wrapped


def content(found: AddressTranslation, journal: Journal) -> dict[str, Any]:
    """The translation's part of its JSON object."""
    del journal  # Its findings and notes stand beside, in every command's object.
    walk = found.walk
    attributes = walk.attributes
    return {
        "input": walk.input,
        "output": found.output,
        "size": walk.size,
        "contiguous_bytes": walk.contiguous_bytes,
        "levels": [_level_content(found, level) for level in walk.levels],
        "attributes": None
        if attributes is None
        else attribute_content(attributes, found.memory_type, found.asid),
        "fault": None if found.fault is None else vars(found.fault),
        "mapped_to": walk.output,
        "regime": view_content(found.view),
    }


def _level_content(found: AddressTranslation, level: Level) -> dict[str, Any]:
    return {
        "level": level.level,
        "table": level.table,
        "index": level.index,
        "address": level.address,
        "descriptor": level.descriptor,
        "kind": level.kind.value,
        "output": _output(found, level),
        "meaning": _meaning(found, level),
    }


def _output(found: AddressTranslation, level: Level) -> int | None:
    """The address a descriptor holds: of the next table, or of the memory."""
    control = found.control
    if level.kind is Kind.TABLE:
        return control.output_address(level.descriptor, control.granule_bits)
    if level.kind in (Kind.BLOCK, Kind.PAGE):
        return control.output_address(level.descriptor, control.shift(level.level))
    return None


def _meaning(found: AddressTranslation, level: Level) -> str:
    """What a descriptor says, in words."""
    output = _output(found, level)
    if output is None:
        if level.kind is Kind.RESERVED:
            return "reserved at this level: a translation fault"
        return "invalid" if level.descriptor == 0 else "invalid (bit 0 is clear)"
    span = Style().size(1 << found.control.shift(level.level))
    if level.kind is Kind.TABLE:
        limits = hierarchical_names(level.descriptor)
        ignored = " (ignored: HPD)" if limits and found.control.hierarchical_disabled else ""
        return ", ".join([f"table at {output:#x}", *limits]) + ignored
    return f"{level.kind.value} of {span} at {output:#x}"


def text(found: AddressTranslation, journal: Journal, style: Style) -> str:
    """The translation, level by level, and what came of it."""
    walk = found.walk
    lines = wrapped(f"{walk.input:#018x} by {view_line(found.view)}", "  ")
    if found.view.regime.enabled:
        lines.append("  " + range_line(found.control, style))
    if walk.levels:
        rows = [
            (
                str(level.level),
                style.address(level.table),
                str(level.index),
                style.address(level.address),
                f"{level.descriptor:#018x}",
                _meaning(found, level),
            )
            for level in walk.levels
        ]
        lines.append(
            indented(table(("level", "table", "index", "at", "descriptor", "meaning"), rows, ("index",)))
        )
    lines += _attribute_lines(found, style)
    lines.append(_outcome(found, style))
    lines += [f"  {note}" for note in found.view.regime.notes]
    return "\n".join(lines) + "\n" + journal_text(journal)


def _attribute_lines(found: AddressTranslation, style: Style) -> list[str]:
    attributes, regime = found.walk.attributes, found.view.regime
    if attributes is None:
        return []
    allowed = permission_words(attributes, regime.level, regime.has_el0)
    words = [f"{level} {letters}" for level, letters in allowed.items()]
    if found.view.pan and attributes.el1_with_pan != attributes.el1:
        words.append(f"EL{regime.level} with PAN {attributes.el1_with_pan}")
    memory = found.memory_type
    unknown = f"memory type of index {attributes.attribute_index}, MAIR not known"
    words += [memory or unknown, attributes.shareability]
    if regime.has_el0:
        words.append("global" if not attributes.not_global else f"ASID {style.text(found.asid)}")
    if not attributes.access_flag:
        words.append("access flag clear")
    if attributes.dirty is not None:
        words.append("dirty" if attributes.dirty else "clean (a write makes it dirty)")
    if attributes.guarded:
        words.append("guarded (BTI)")
    if attributes.non_secure:
        words.append("non-secure")
    if found.walk.contiguous_bytes is not None:
        words.append(f"contiguous, {style.size(found.walk.contiguous_bytes)} together")
    return wrapped("  " + ", ".join(words), "    ")


def _outcome(found: AddressTranslation, style: Style) -> str:
    arrow = "->" if style.plain else "→"
    what = "intermediate physical" if found.view.regime.second_stage else "physical"
    if found.fault is None:
        return f"{arrow} {what} {style.address(found.output)}"
    fault = found.fault
    said = f"{arrow} {fault.kind} fault at level {fault.level}: {fault.reason}"
    if found.walk.output is not None:
        said += f"; the memory is at {what} {found.walk.output:#x}"
    return said
