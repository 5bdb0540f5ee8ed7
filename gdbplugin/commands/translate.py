"""`tinyos translate`."""

from __future__ import annotations

from gdbplugin.commands.descriptor import SELECTION, Argument, Command, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.aarch64.control import TranslationControl
    from gdbplugin.aarch64.descriptor import Attributes
    from gdbplugin.aarch64.walk import Translation
    from gdbplugin.commands.descriptor import Address
    from gdbplugin.kernel.selection import View
    from gdbplugin.kernel.target import Target
    from gdbplugin.kernel.translate import AddressTranslation, ExplainedLevel, Stage2Translation
    from gdbplugin.render import Style


def read(
    target: Target,
    address: Address,
    *,
    core: int | None = None,
    el: int | None = None,
    ttbr: int | None = None,
    asid: int | None = None,
    stage: int | None = None,
) -> AddressTranslation:
    """The walk of the translation tables for one address, and the outcome of a read from there."""
    from gdbplugin.kernel.translate import read_translation

    return read_translation(
        target, target.address(address), core=core, el=el, ttbr=ttbr, asid=asid, stage=stage
    )


def show(found: AddressTranslation, style: Style) -> str:
    """The translation, level by level, and its outcome."""
    walk, regime = found.walk, found.view.regime
    lines = style.wrapped(f"{walk.input:#018x} by {view_line(found.view)}", "  ")
    if regime.enabled:
        lines += range_lines(found.control, style, "  ")
    lines += _level_lines(found.levels, style)
    lines += attribute_lines(found, style)
    if found.stage2 is not None:
        lines += _stage2_lines(found.stage2, style)
    lines += style.wrapped(outcome(found, style))
    if found.fault is not None and found.control is regime.lower:
        lines += other_space_lines(found.view, style)
    for note in regime.notes:
        lines += style.wrapped(f"  {note}")
    return "\n".join(lines) + "\n" + style.diagnostics(found)


def _level_lines(levels: Sequence[ExplainedLevel], style: Style) -> list[str]:
    """A row for each descriptor that was read."""
    if not levels:
        return []
    rows = [
        (
            str(level.step.level),
            style.address(level.step.table),
            str(level.step.index),
            style.address(level.step.address),
            f"{level.step.descriptor:#018x}",
            level.meaning,
        )
        for level in levels
    ]
    headers = ("level", "table", "index", "at", "descriptor", "meaning")
    return [style.table(headers, rows, ("index",), dispensable=("at", "table", "index"))]


def attribute_lines(found: AddressTranslation, style: Style) -> list[str]:
    """The attributes that result from all levels; no line if no leaf was found."""
    attributes, regime = found.attributes, found.view.regime
    if attributes is None:
        return []
    leaf = attributes.leaf
    words = [f"{level} {letters}" for level, letters in attributes.permissions.items()]
    if found.view.pan and leaf.el1_with_pan != leaf.el1:
        words.append(f"EL{regime.level} with PAN {leaf.el1_with_pan}")
    unknown = f"memory type of index {leaf.attribute_index}, MAIR not known"
    words += [attributes.memory_type or unknown, leaf.shareability]
    if regime.has_el0 and regime.stage == 1:
        words.append("global" if leaf.is_global else f"ASID {style.text(attributes.asid)}")
    words += _flag_words(leaf, found.walk, style)
    return style.wrapped("  " + ", ".join(words), "    ")


def _stage2_lines(found: Stage2Translation, style: Style) -> list[str]:
    """The intermediate physical address, and what stage 2 makes of it."""
    walk, attributes = found.walk, found.attributes
    address = style.address(walk.input)
    lines = style.wrapped(f"  intermediate physical {address} by stage 2, VMID {found.regime.vmid}")
    lines += range_lines(found.control, style, "  ")
    lines += _level_lines(found.levels, style)
    if attributes is None:
        return lines
    words = [f"{level} {letters}" for level, letters in attributes.permissions.items()]
    words += [attributes.memory_type or style.missing, attributes.leaf.shareability]
    words += _flag_words(attributes.leaf, walk, style)
    return lines + style.wrapped("  " + ", ".join(words), "    ")


def _flag_words(attributes: Attributes, walk: Translation, style: Style) -> list[str]:
    """The flags of a leaf that are not as usual."""
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


def outcome(found: AddressTranslation, style: Style) -> str:
    """The physical address, or the fault and its reason."""
    arrow = style.arrow
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


def view_line(view: View) -> str:
    """How addresses were translated: core, exception level, regime."""
    regime = view.regime
    parts = [f"core {view.core}", f"EL{view.level}"]
    if not regime.enabled:
        return ", ".join(parts) + f", {regime.name} regime, MMU off"
    parts.append(f"{regime.name} regime")
    if view.task is not None:
        parts.append(f"address space of task {view.task}")
    if view.asid is not None:
        parts.append(f"ASID {view.asid}")
    if view.vmid is not None:
        parts.append(f"VMID {view.vmid}")
    if not view.current:
        parts.append("not the core's current translation")
    return ", ".join(parts)


def other_space_lines(view: View, style: Style) -> list[str]:
    """How to see another address space, if this is the core's own and there may be others."""
    if not view.current or not view.regime.has_el0 or not view.regime.enabled or view.regime.stage == 2:
        return []
    return style.wrapped("  This is the address space that the core has now: --asid N selects another.", "  ")


def range_lines(control: TranslationControl, style: Style, indent: str = "") -> list[str]:
    """One range of input addresses and its root table, in one line if it fits."""
    said = (
        f"{control.name}: table {style.address(control.root_address)}, "
        f"{style.size(1 << control.granule_bits)} granule, {control.input_bits}-bit input, "
        f"{control.output_bits}-bit output"
    )
    if control.defect is not None:
        said += f"; nothing is translated: {control.defect}"
    elif control.walks_disabled:
        said += "; walks disabled (EPD)"
    return style.wrapped(indent + said, indent + "  ")


ARGUMENTS = (Argument("ADDRESS", "the input address, a number or an expression", "address", required=True),)
HELP = """Walk the translation tables for one address, on any AArch64 kernel.

Shows each level's table, index and descriptor with its meaning, the attributes that result from all
levels, and the output address, or the fault that a read from there takes and why. At most one descriptor
is read for each level. Under a hypervisor both stages are walked for EL1 and EL0; with --stage 2 ADDRESS is
an intermediate physical address.
"""
COMMAND = Command(
    "translate",
    Form("tinyos.translate/1", read, show, rows=lambda found: found.levels),
    help=HELP,
    arguments=ARGUMENTS,
    options=SELECTION,
)
