"""The view of `tinyos translate`."""

from __future__ import annotations

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import Attributes, Kind, hierarchical_names
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.walk import Level, Translation
from gdbplugin.kernel.translate import AddressTranslation
from gdbplugin.render.mmu import (
    attribute_content,
    control_content,
    permission_words,
    range_lines,
    view_content,
    view_line,
)
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def content(found: AddressTranslation) -> dict[str, Any]:
    """The translation's part of its JSON object."""
    walk = found.walk
    return {
        "input": walk.input,
        "output": found.output,
        "size": walk.size,
        "contiguous_bytes": walk.contiguous_bytes,
        "levels": [_level_content(found.control, level) for level in walk.levels],
        "attributes": _attribute_content(found.view.regime, walk, found.memory_type, found.asid),
        "stage2": _stage2_content(found),
        "fault": None if found.fault is None else vars(found.fault),
        "mapped_to": walk.output,
        "regime": view_content(found.view),
    }


def _stage2_content(found: AddressTranslation) -> dict[str, Any] | None:
    """What stage 2 makes of stage 1's output; null where there is none of the one or of the other."""
    walk, regime = found.walk.second, found.view.regime.stage2
    if walk is None or regime is None:
        return None
    return {
        "input": walk.input,
        "size": walk.size,
        "contiguous_bytes": walk.contiguous_bytes,
        "levels": [_level_content(regime.lower, level) for level in walk.levels],
        "attributes": _attribute_content(regime, walk, found.stage2_memory_type, None),
        "range": control_content(regime.lower),
    }


def _attribute_content(
    regime: TranslationRegime, walk: Translation, memory_type: str | None, asid: int | None
) -> dict[str, Any] | None:
    if walk.attributes is None:
        return None
    return attribute_content(walk.attributes, regime, memory_type, asid)


def _level_content(control: TranslationControl, level: Level) -> dict[str, Any]:
    return {
        "level": level.level,
        "table": level.table,
        "index": level.index,
        "address": level.address,
        "descriptor": level.descriptor,
        "kind": level.kind.value,
        "output": _output(control, level),
        "meaning": _meaning(control, level),
    }


def _output(control: TranslationControl, level: Level) -> int | None:
    """The address a descriptor holds: of the next table, or of the memory."""
    if level.kind is Kind.TABLE:
        return control.output_address(level.descriptor, control.granule_bits)
    if level.kind in (Kind.BLOCK, Kind.PAGE):
        return control.output_address(level.descriptor, control.shift(level.level))
    return None


def _meaning(control: TranslationControl, level: Level) -> str:
    """What a descriptor says, in words."""
    output = _output(control, level)
    if output is None:
        if level.kind is Kind.RESERVED:
            return "reserved at this level: a translation fault"
        return "invalid" if level.descriptor == 0 else "invalid (bit 0 is clear)"
    span = Style().size(1 << control.shift(level.level))
    if level.kind is Kind.TABLE:
        limits = hierarchical_names(level.descriptor, control.rules)
        ignored = " (ignored: HPD)" if limits and control.hierarchical_disabled else ""
        return ", ".join([f"table at {output:#x}", *limits]) + ignored
    return f"{level.kind.value} of {span} at {output:#x}"


def text(found: AddressTranslation, style: Style) -> str:
    """The translation, level by level, and what came of it."""
    walk, regime = found.walk, found.view.regime
    lines = style.wrapped(f"{walk.input:#018x} by {view_line(found.view)}", "  ")
    if regime.enabled:
        lines += range_lines(found.control, style, "  ")
    lines += _level_lines(found.control, walk, style)
    lines += _attribute_lines(found, style)
    if regime.stage2 is not None and walk.second is not None:
        second, control = walk.second, regime.stage2.lower
        lines += style.wrapped(
            f"  intermediate physical {style.address(second.input)} by stage 2, VMID {regime.stage2.vmid}"
        )
        lines += range_lines(control, style, "  ")
        lines += _level_lines(control, second, style)
        lines += _stage2_lines(found, regime.stage2, second, style)
    lines += style.wrapped(_outcome(found, style))
    for note in regime.notes:
        lines += style.wrapped(f"  {note}")
    return "\n".join(lines) + "\n" + style.noticed(found)


def _level_lines(control: TranslationControl, walk: Translation, style: Style) -> list[str]:
    """A row for each descriptor that was read."""
    if not walk.levels:
        return []
    rows = [
        (
            str(level.level),
            style.address(level.table),
            str(level.index),
            style.address(level.address),
            f"{level.descriptor:#018x}",
            _meaning(control, level),
        )
        for level in walk.levels
    ]
    headers = ("level", "table", "index", "at", "descriptor", "meaning")
    return [style.table(headers, rows, ("index",), dispensable=("at", "table", "index"))]


def _attribute_lines(found: AddressTranslation, style: Style) -> list[str]:
    attributes, regime = found.walk.attributes, found.view.regime
    if attributes is None:
        return []
    allowed = permission_words(attributes, regime)
    words = [f"{level} {letters}" for level, letters in allowed.items()]
    if found.view.pan and attributes.el1_with_pan != attributes.el1:
        words.append(f"EL{regime.level} with PAN {attributes.el1_with_pan}")
    memory = found.memory_type
    unknown = f"memory type of index {attributes.attribute_index}, MAIR not known"
    words += [memory or unknown, attributes.shareability]
    if regime.has_el0 and regime.stage == 1:
        words.append("global" if not attributes.not_global else f"ASID {style.text(found.asid)}")
    words += _flag_words(attributes, found.walk, style)
    return style.wrapped("  " + ", ".join(words), "    ")


def _stage2_lines(
    found: AddressTranslation, regime: TranslationRegime, walk: Translation, style: Style
) -> list[str]:
    attributes = walk.attributes
    if attributes is None:
        return []
    words = [f"{level} {letters}" for level, letters in permission_words(attributes, regime).items()]
    words += [found.stage2_memory_type or style.missing, attributes.shareability]
    words += _flag_words(attributes, walk, style)
    return style.wrapped("  " + ", ".join(words), "    ")


def _flag_words(attributes: Attributes, walk: Translation, style: Style) -> list[str]:
    """What of a leaf's flags is not as usual."""
    words = []
    if not attributes.access_flag:
        words.append("access flag clear")
    if attributes.dirty is not None:
        words.append("dirty" if attributes.dirty else "clean (a write makes it dirty)")
    if attributes.guarded:
        words.append("guarded (BTI)")
    if attributes.non_secure:
        words.append("non-secure")
    if walk.contiguous_bytes is not None:
        words.append(f"contiguous, {style.size(walk.contiguous_bytes)} together")
    return words


def _outcome(found: AddressTranslation, style: Style) -> str:
    arrow = "->" if style.plain else "→"
    regime, fault = found.view.regime, found.fault
    is_intermediate = regime.second_stage and regime.stage2 is None
    what = "intermediate physical" if is_intermediate else "physical"
    if fault is None:
        return f"{arrow} {what} {style.address(found.output)}"
    stage = f" of stage {fault.stage}" if regime.second_stage or regime.stage == 2 else ""
    stage += ", on the way to a table of stage 1" if fault.on_walk else ""
    said = f"{arrow} {fault.title}{stage} at level {fault.level}: {fault.reason}"
    if found.walk.output is not None:
        said += f"; the memory is at {what} {found.walk.output:#x}"
    return said
