"""The levels of a table walk with what their descriptors say, in words (DDI 0487, D8.3)."""

from __future__ import annotations

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import Kind, hierarchical_names
from gdbplugin.aarch64.walk import Level
from gdbplugin.records import dataclass

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


@dataclass(frozen=True)
class ExplainedLevel:
    """One level of a table walk: the descriptor that was read there, and what it says."""

    json_fields = ("step", "output", "meaning")
    json_merged = ("step",)

    step: Level
    control: TranslationControl

    @property
    def output(self) -> int | None:
        """The address in the descriptor: of the next table, or of the memory."""
        control, step = self.control, self.step
        if step.kind is Kind.TABLE:
            return control.output_address(step.descriptor, control.granule_bits)
        if step.kind in (Kind.BLOCK, Kind.PAGE):
            return control.output_address(step.descriptor, control.shift(step.level))
        return None

    @property
    def meaning(self) -> str:
        """What the descriptor means, in words."""
        step, control, output = self.step, self.control, self.output
        if output is None:
            if step.kind is Kind.RESERVED:
                return "reserved at this level: a translation fault"
            return "invalid" if step.descriptor == 0 else "invalid (bit 0 is clear)"
        if step.kind is Kind.TABLE:
            limits = hierarchical_names(step.descriptor, control.rules)
            ignored = " (ignored: HPD)" if limits and control.hierarchical_disabled else ""
            return ", ".join([f"table at {output:#x}", *limits]) + ignored
        return f"{step.kind.value} of {_size(control.shift(step.level))} at {output:#x}"


def _size(bits: int) -> str:
    """The size of a range of addresses that differ in that many low bits."""
    return f"{1 << bits % 10} {_UNITS[bits // 10]}"
