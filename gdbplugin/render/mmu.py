"""What the views of the MMU's commands have in common."""

from __future__ import annotations

from gdbplugin.aarch64.access import permissions_by_level
from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import Attributes
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.kernel.selection import View
from gdbplugin.render.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def view_content(view: View) -> dict[str, Any]:
    """What was translated by, for JSON. `level` is the exception level, `ttbr` each range's table."""
    regime = view.regime
    return {
        "core": view.core,
        "level": view.level,
        "name": regime.name,
        "enabled": regime.enabled,
        "current": view.current,
        "stage": regime.stage,
        "second_stage": regime.second_stage,
        "vmid": view.vmid,
        "asid": view.asid,
        "task": view.task,
        "ranges": [control_content(control) for control in regime.controls],
        "notes": list(regime.notes),
    }


def control_content(control: TranslationControl) -> dict[str, Any]:
    """One range of input addresses, for JSON. Widths in bits, `granule` in bytes."""
    return {
        "register": control.name,
        "table": control.root_address,
        "first": control.first_address,
        "granule": 1 << control.granule_bits,
        "input_bits": control.input_bits,
        "output_bits": control.output_bits,
        "start_level": control.start_level,
        "walks_disabled": control.walks_disabled,
        "defect": control.defect,
    }


def permission_content(found: Attributes, regime: TranslationRegime) -> dict[str, Any]:
    """Permissions by exception level, for JSON: as `r-x`; null for EL0 or EL1 where there is none."""
    allowed = permission_words(found, regime)
    with_pan = permission_words(found, regime, pan=True)
    return {
        "permissions": allowed,
        "permissions_with_pan": with_pan,
        "el0": allowed.get("EL0"),
        "el1": allowed.get("EL1"),
        "el1_with_pan": with_pan.get("EL1"),
    }


def attribute_content(
    found: Attributes, regime: TranslationRegime, memory_type: str | None, asid: int | None
) -> dict[str, Any]:
    """Effective attributes, for JSON."""
    return {
        **permission_content(found, regime),
        "memory_type": memory_type,
        "shareability": found.shareability,
        "global": not found.not_global,
        "asid": asid,
        "access_flag": found.access_flag,
        "dirty": found.dirty,
        "contiguous": found.contiguous,
        "non_secure": found.non_secure,
        "guarded": found.guarded,
    }


def view_line(view: View) -> str:
    """A line on what was translated by: core, level, regime."""
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
        parts.append("not what the core does now")
    return ", ".join(parts)


def range_lines(control: TranslationControl, style: Style, indent: str = "") -> list[str]:
    """What there is to say of one range of input addresses and its root table, in one line if it fits."""
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


def memory_words(memory_type: str | None, shareability: str, style: Style) -> str:
    """A memory type as a table has it: `WB ISH`, `nGnRE`. Only cacheable memory heeds its shareability."""
    if memory_type is None:
        return style.missing
    short = _MEMORY_SHORT.get(memory_type, memory_type.removeprefix("Device-"))
    if short == "NC" or memory_type.startswith("Device-"):
        return short
    return f"{short} {_SHAREABILITY_SHORT.get(shareability, shareability)}"


def permission_words(found: Attributes, regime: TranslationRegime, *, pan: bool = False) -> dict[str, str]:
    """Permissions by the regime's exception levels, as they are shown: `{"EL0": "r--", "EL1": "rw-"}`."""
    allowed = permissions_by_level(regime, found, pan=pan)
    return {level: str(permissions) for level, permissions in allowed.items()}
