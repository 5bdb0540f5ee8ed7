"""Which translation a command uses: a core's, at an exception level, through selected tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gdbplugin.aarch64.access import permissions_by_level
from gdbplugin.aarch64.descriptor import Attributes
from gdbplugin.aarch64.regime import RegimeUnknownError, TranslationRegime, el1_regime, regime_at
from gdbplugin.aarch64.registers import (
    decode,
    exception_level,
    is_in_aarch32,
    memory_type_at,
    read_cores,
    stage2_memory_type,
)
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.target import Target
from gdbplugin.machine import Machine, SelectionError, prefetch
from gdbplugin.records import dataclass

HIGHEST_LEVEL = 3


@dataclass(frozen=True)
class Selection:
    """The user's selection; None stands for what the machine has.

    `ttbr` is a value for TTBR0 of the exception level's regime, including the ASID. With `stage` 2, a
    hypervisor's, the addresses are intermediate physical ones, and `ttbr` is a value for VTTBR_EL2.
    """

    core: int | None = None
    el: int | None = None
    ttbr: int | None = None
    asid: int | None = None
    stage: int | None = None


@dataclass(frozen=True)
class View:
    """How a core translates addresses at an exception level, through the tables that were selected.

    `machine` answers with the selected TTBR in place of the core's own. `mair` is the regime's MAIR_ELx.
    """

    json_fields = ("core", "level", "current", "vmid", "asid", "task", "regime")
    json_merged = ("regime",)

    machine: Machine
    core: int
    """Number of the core."""
    level: int
    """Exception level."""
    regime: TranslationRegime
    current: bool
    """Whether the core translates like this now."""
    pan: bool
    mair: int | None
    task: int | None = None
    """The TinyOS task whose address space was selected by its ASID; null otherwise."""

    def memory_type(self, index: int) -> str | None:
        """The memory type of a descriptor's attribute index; None if MAIR_ELx is not known."""
        return memory_type_of(self.regime, self.mair, index)

    def access_words(self, found: Attributes) -> list[str]:
        """The permissions of each exception level, and the memory type, in words."""
        allowed = permissions_by_level(self.regime.levels, found)
        memory = self.memory_type(found.attribute_index) or f"memory type {found.attribute_index}"
        return [*(f"{level} {letters}" for level, letters in allowed.items()), memory]

    @property
    def asid(self) -> int | None:
        """The ASID of entries that are not global; null if there is none."""
        for control in self.regime.controls:
            if control.asid is not None:
                return control.asid
        return None

    @property
    def vmid(self) -> int | None:
        """The VMID of stage 2; null if there is none, or it is not known."""
        stage2 = self.regime if self.regime.stage == 2 else self.regime.stage2
        return None if stage2 is None else stage2.vmid


def memory_type_of(regime: TranslationRegime, mair: int | None, index: int) -> str | None:
    """The memory type of an attribute index in a regime; `mair` is its MAIR_ELx at stage 1."""
    if regime.stage == 2:
        return stage2_memory_type(index, regime.forced_memory_types)
    return memory_type_at(mair, index)


class SubstitutedMachine:
    """A machine with other values for some registers of one core. Nothing is written."""

    def __init__(self, machine: Machine, core: int, registers: dict[str, int]) -> None:
        self._machine = machine
        self._core = core
        self._registers = registers

    @property
    def cores(self) -> Sequence[int]:
        """See `Machine`."""
        return self._machine.cores

    def read_physical(self, address: int, length: int) -> bytes:
        """See `Machine`."""
        return self._machine.read_physical(address, length)

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """See `Prefetches`."""
        prefetch(self._machine, ranges)

    def register(self, name: str, core: int) -> int | None:
        """See `Machine`."""
        if core == self._core and name in self._registers:
            return self._registers[name]
        return self._machine.register(name, core)


def choose_core(target: Target, wanted: int | None) -> int:
    """The wanted core, or the user's selected core if None. Raises `SelectionError` if it does not exist."""
    core = target.core if wanted is None else wanted
    if core not in target.machine.cores:
        known = ", ".join(map(str, target.machine.cores)) or "none"
        raise SelectionError(f"no core {core} (known: {known})")
    return core


def choose(target: Target, selection: Selection) -> View:
    """The translation for a selection.

    TinyOS's records are read only to find an ASID. Raises `SelectionError`, `RegimeUnknownError`.
    """
    machine = target.machine
    core = choose_core(target, selection.core)
    if selection.el is not None and selection.el > HIGHEST_LEVEL:
        raise SelectionError(f"no exception level {selection.el} (known: 0 to {HIGHEST_LEVEL})")
    if selection.asid is not None and selection.ttbr is not None:
        raise SelectionError("--asid and --ttbr both select the tables: give only one of them")
    if selection.stage not in (None, 1, 2):
        raise SelectionError(f"no stage {selection.stage} of translation (known: 1, 2)")
    if selection.stage == 2:
        return _stage2(machine, core, selection)
    here = exception_level(machine, core)
    level = selection.el if selection.el is not None else here
    if level is None and is_in_aarch32(machine, core):
        raise RegimeUnknownError(f"core {core} is in AArch32 state, which has other translation tables")
    if level is None:
        raise RegimeUnknownError(f"the exception level of core {core} is not known: give one with --el")
    table, task = selection.ttbr, None
    if selection.asid is not None:
        table, task = _by_asid(machine, core, selection.asid, target.kernel)
    if table is not None:
        number = regime_at(machine, core, level).level
        machine = SubstitutedMachine(machine, core, {f"TTBR0_EL{number}": table})
    regime = regime_at(machine, core, level)
    current = level == here and table in (None, target.machine.register(f"TTBR0_EL{regime.level}", core))
    return View(
        machine=machine,
        core=core,
        level=level,
        regime=regime,
        current=current,
        pan=current and level > 0 and _pan(machine, core),
        mair=machine.register(f"MAIR_EL{regime.level}", core),
        task=task,
    )


def _stage2(machine: Machine, core: int, selection: Selection) -> View:
    """Stage 2 of the EL1&0 regime; raises `SelectionError`, `RegimeUnknownError`."""
    if selection.asid is not None:
        raise SelectionError("--asid selects tables of stage 1: it cannot be given with --stage 2")
    if selection.el not in (None, 0, 1):
        raise SelectionError(f"--stage 2 is for EL1 and EL0: it cannot be given with --el {selection.el}")
    table = selection.ttbr
    here, own = exception_level(machine, core), machine.register("VTTBR_EL2", core)
    if table is not None:
        machine = SubstitutedMachine(machine, core, {"VTTBR_EL2": table})
    guest = el1_regime(machine, core)
    regime = guest.stage2
    if regime is None:
        if guest.stage2_unknown is not None:
            raise SelectionError(f"stage 2 of core {core} is not known: {guest.stage2_unknown}")
        raise SelectionError(f"core {core} has no stage 2: no hypervisor has enabled it (HCR_EL2.VM)")
    level = 1 if selection.el is None else selection.el
    current = here in (0, 1) and table in (None, own)
    return View(machine, core, level, regime, current, pan=False, mair=None)


def _pan(machine: Machine, core: int) -> bool:
    state = machine.register("CPSR", core)
    return state is not None and bool(decode("CPSR", state)["PAN"])


def _by_asid(machine: Machine, core: int, asid: int, kernel: Kernel | None) -> tuple[int, int | None]:
    """A value for TTBR0 with that ASID, and its task: from TinyOS's records, or from a core."""
    known: list[int] = []
    if kernel is not None:
        spaces = read_spaces(kernel).by_asid
        found = spaces.get(asid)
        if found is not None and found.table is not None:
            return found.table | asid << 48, found.number
        known += [number for number, space in spaces.items() if space.table is not None]
    for other in sorted(read_cores(machine), key=lambda entry: entry.core != core):
        if other.ttbr0 is None:
            continue
        if other.ttbr0.asid == asid:
            return other.ttbr0.value, None
        known.append(other.ttbr0.asid)
    said = ", ".join(map(str, sorted(set(known)))) or "none"
    raise SelectionError(f"no address space with ASID {asid} (known: {said})")


def cores(target: Target) -> list[int]:
    """The numbers of the cores, for completion."""
    return list(target.machine.cores)


def asids(target: Target) -> list[int]:
    """The ASIDs that address spaces have now, for completion."""
    kernel = target.kernel
    found = {core.ttbr0.asid for core in read_cores(target.machine) if core.ttbr0 is not None}
    if kernel is not None:
        found |= read_spaces(kernel).by_asid.keys()
    return sorted(found)
