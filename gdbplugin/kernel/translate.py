"""The translation of one address, for `tinyos translate`."""

from __future__ import annotations

from gdbplugin.aarch64.access import Access, MemoryAttributes, access_fault
from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import Kind, hierarchical_names
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.walk import Fault, Level, Translation, translate
from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics
from gdbplugin.kernel.selection import Selection, View, choose, memory_type_of
from gdbplugin.kernel.target import Target
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class ExplainedLevel:
    """One level of a table walk: the descriptor that was read, and its meaning."""

    json_fields = ("step", "output", "meaning")
    json_merged = ("step",)

    step: Level
    control: TranslationControl

    @property
    def output(self) -> int | None:
        """The address in the descriptor: that of the next table or of the memory; null if it is invalid."""
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


_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def _size(bits: int) -> str:
    """The size 2**bits, with a unit."""
    return f"{1 << bits % 10} {_UNITS[bits // 10]}"


@dataclass(frozen=True)
class Stage2Translation:
    """The translation of the output address of stage 1 by stage 2."""

    json_fields = ("walk", "levels", "attributes", "control as range")
    json_merged = ("walk",)

    walk: Translation
    regime: TranslationRegime
    memory_type: str | None

    @property
    def control(self) -> TranslationControl:
        """The range of intermediate physical addresses, and its tables."""
        return self.regime.lower

    @property
    def levels(self) -> tuple[ExplainedLevel, ...]:
        """Every descriptor that was read, from the root table on."""
        return _levels(self.walk, self.control)

    @property
    def attributes(self) -> MemoryAttributes | None:
        """The attributes of the stage 2 leaf; null if none was found."""
        return _attributes(self.walk, self.regime, self.memory_type, None)


@dataclass(frozen=True)
class AddressTranslation(Diagnosed):
    """The translation of one address: the table walk, and the result of a read from that address.

    If only the permission to read is missing, the walk has an output but the read has none. `memory_type` is
    None if no leaf was found or MAIR_ELx is not known; `asid` is None if the leaf is global.
    `stage2_memory_type` is the memory type of the stage 2 leaf, if there is one; the weaker of both memory
    types applies unless HCR_EL2.FWB is set.
    """

    json_fields = ("walk", "output", "levels", "attributes", "stage2", "fault", "mapped_to", "view as regime")
    json_merged = ("walk",)

    view: View
    """The translation regime used, and whose it is."""
    control: TranslationControl
    walk: Translation
    output: int | None
    """The physical address that is read; null if the read faults."""
    fault: Fault | None
    """Why there is no output; null if there is one."""
    memory_type: str | None
    asid: int | None
    stage2_memory_type: str | None = None

    @property
    def levels(self) -> tuple[ExplainedLevel, ...]:
        """Every descriptor that was read, from the root table on."""
        return _levels(self.walk, self.control)

    @property
    def attributes(self) -> MemoryAttributes | None:
        """The effective attributes; null if no leaf was found or the MMU is off."""
        return _attributes(self.walk, self.view.regime, self.memory_type, self.asid)

    @property
    def stage2(self) -> Stage2Translation | None:
        """The translation by stage 2; null without a stage 2, or if stage 1 has no output."""
        walk, regime = self.walk.stage2, self.view.regime.stage2
        if walk is None or regime is None:
            return None
        return Stage2Translation(walk, regime, self.stage2_memory_type)

    @property
    def mapped_to(self) -> int | None:
        """The physical address that the tables lead to, even if the permission to read is missing."""
        return self.walk.output


def _levels(walk: Translation, control: TranslationControl) -> tuple[ExplainedLevel, ...]:
    return tuple(ExplainedLevel(level, control) for level in walk.levels)


def _attributes(
    walk: Translation, regime: TranslationRegime, memory_type: str | None, asid: int | None
) -> MemoryAttributes | None:
    if walk.attributes is None:
        return None
    return MemoryAttributes(walk.attributes, regime.levels, memory_type, asid)


def read_translation(target: Target, address: int, **selection: int | None) -> AddressTranslation:
    """Translate a 64-bit input address; `selection` are the fields of `Selection`.

    Raises what `choose` raises.
    """
    return translate_in(choose(target, Selection(**selection)), address, target.diagnostics)


def translate_in(view: View, address: int, diagnostics: Diagnostics) -> AddressTranslation:
    """Translate a 64-bit input address, with one read of eight bytes for each level of tables.

    Under a hypervisor each of these reads takes a walk of the stage 2 tables.
    """
    regime = view.regime
    walk = translate(view.machine, regime, address)
    fault = access_fault(regime, walk, Access.READ, view.level, pan=view.pan)
    leaf = walk.attributes
    stage2_leaf, stage2_memory_type = None if walk.stage2 is None else walk.stage2.attributes, None
    if regime.stage2 is not None and stage2_leaf is not None:
        stage2_memory_type = memory_type_of(regime.stage2, None, stage2_leaf.attribute_index)
    return AddressTranslation(
        view=view,
        control=regime.control(address),
        walk=walk,
        output=None if fault is not None else walk.output,
        fault=fault,
        memory_type=None if leaf is None else view.memory_type(leaf.attribute_index),
        asid=view.asid if leaf is not None and regime.has_el0 and leaf.not_global else None,
        stage2_memory_type=stage2_memory_type,
        diagnostics=diagnostics,
    )
