"""What the texts of the MMU's commands share."""

from __future__ import annotations

from gdbplugin.aarch64.access import MemoryAttributes
from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.kernel.selection import View
from gdbplugin.render.style import Style


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


_MEMORY_SHORT = {
    "Normal write-back": "WB",
    "Normal write-through": "WT",
    "Normal non-cacheable": "NC",
}
_SHAREABILITY_SHORT = {"inner shareable": "ISH", "outer shareable": "OSH", "non-shareable": "NSH"}


def memory_words(memory: MemoryAttributes, style: Style) -> str:
    """A memory type as a table has it: `WB ISH`, `nGnRE`. Only cacheable memory heeds its shareability."""
    memory_type, shareability = memory.memory_type, memory.leaf.shareability
    if memory_type is None:
        return style.missing
    short = _MEMORY_SHORT.get(memory_type, memory_type.removeprefix("Device-"))
    if short == "NC" or memory_type.startswith("Device-"):
        return short
    return f"{short} {_SHAREABILITY_SHORT.get(shareability, shareability)}"
