"""One address through the translation tables: what `tinyos translate` shows."""

from __future__ import annotations

from gdbplugin.aarch64.access import Access, access_fault
from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.walk import Fault, Translation, translate
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.selection import Selection, View, choose, memory_type_of
from gdbplugin.kernel.target import Target
from gdbplugin.records import dataclass, replace


@dataclass(frozen=True)
class AddressTranslation(Noticed):
    """The outcome: the walk, and what an access from the view's exception level makes of it.

    `output` is the physical address that a read comes to, None where it faults; `fault` says why then.
    The walk itself may have an output all the same: where only the permission is missing. `memory_type`
    is None where no leaf was found or MAIR_ELx is not known; `asid` is None where the leaf is global.
    `stage2_memory_type` is that of the hypervisor's leaf where there is one: of both the weaker counts,
    unless HCR_EL2.FWB is set.
    """

    view: View
    control: TranslationControl
    walk: Translation
    output: int | None
    fault: Fault | None
    memory_type: str | None
    asid: int | None
    stage2_memory_type: str | None = None


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
