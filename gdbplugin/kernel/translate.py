"""One address through the translation tables: what `tinyos translate` shows."""

from __future__ import annotations

from gdbplugin.aarch64.access import Access, MemoryAttributes, access_fault
from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.levels import ExplainedLevel
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.walk import Fault, Translation, translate
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.selection import Selection, View, choose, memory_type_of
from gdbplugin.kernel.target import Target
from gdbplugin.records import dataclass, replace


@dataclass(frozen=True)
class Stage2Translation:
    """What stage 2 makes of the output address of stage 1."""

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
        """The leaf's own attributes; null where none was found."""
        return _attributes(self.walk, self.regime, self.memory_type, None)


@dataclass(frozen=True)
class AddressTranslation(Noticed):
    """One address through the translation tables: the walk, and the outcome of a read from there.

    The walk may have an output where the read has none: where only the permission is missing. `memory_type`
    is None where no leaf was found or MAIR_ELx is not known; `asid` is None where the leaf is global.
    `stage2_memory_type` is the memory type of stage 2's leaf, if there is one: the weaker of both counts,
    unless HCR_EL2.FWB is set.
    """

    json_fields = ("walk", "output", "levels", "attributes", "stage2", "fault", "mapped_to", "view as regime")
    json_merged = ("walk",)

    view: View
    """The translation regime used, and whose it is."""
    control: TranslationControl
    walk: Translation
    output: int | None
    """The physical address that is read; null where the read faults."""
    fault: Fault | None
    """Why there is no output; null where there is one."""
    memory_type: str | None
    asid: int | None
    stage2_memory_type: str | None = None

    @property
    def levels(self) -> tuple[ExplainedLevel, ...]:
        """Every descriptor that was read, from the root table on."""
        return _levels(self.walk, self.control)

    @property
    def attributes(self) -> MemoryAttributes | None:
        """The effective attributes; null where no leaf was found, or the MMU is off."""
        return _attributes(self.walk, self.view.regime, self.memory_type, self.asid)

    @property
    def stage2(self) -> Stage2Translation | None:
        """What stage 2 makes of stage 1's output; null without a stage 2, or where stage 1 has no output."""
        walk, regime = self.walk.second, self.view.regime.stage2
        if walk is None or regime is None:
            return None
        return Stage2Translation(walk, regime, self.stage2_memory_type)

    @property
    def mapped_to(self) -> int | None:
        """The physical address that the tables lead to, even where the permission to read is missing."""
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
    found = translate_in(choose(target, Selection(**selection)), address)
    return replace(found, journal=target.journal)


def translate_in(view: View, address: int) -> AddressTranslation:
    """Translate a 64-bit input address; one read of eight bytes for each level of tables.

    Where a hypervisor translates as well, its tables' levels are read for each of these reads.
    """
    regime = view.regime
    walk = translate(view.machine, regime, address)
    fault = access_fault(regime, walk, Access.READ, view.level, pan=view.pan)
    found = walk.attributes
    beneath, stage2 = walk.second, None
    if regime.stage2 is not None and beneath is not None and beneath.attributes is not None:
        stage2 = memory_type_of(regime.stage2, None, beneath.attributes.attribute_index)
    return AddressTranslation(
        view=view,
        control=regime.control(address),
        walk=walk,
        output=None if fault is not None else walk.output,
        fault=fault,
        memory_type=None if found is None else view.memory_type(found.attribute_index),
        asid=view.asid if found is not None and regime.has_el0 and found.not_global else None,
        stage2_memory_type=stage2,
    )
