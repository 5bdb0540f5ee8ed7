"""The address spaces that can be found in a stopped machine: those of all cores, and of TinyOS's tasks."""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.regime import (
    RegimeUnknownError,
    RegisterUnreadableError,
    TranslationRegime,
    hypervisor_control,
    regime_at,
)
from gdbplugin.aarch64.registers import exception_level, is_secure
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.target import Target
from gdbplugin.machine import Machine, MachineError, MachineGoneError
from gdbplugin.records import NamedTuple, dataclass, replace

_LEVELS = (1, 2, 3)


@dataclass(frozen=True)
class FoundSpace:
    """One range of input addresses with its tables, and who uses it."""

    json_fields = ("name", "regime_name as regime", "root_address as table", "cores", "task")

    regime: TranslationRegime
    control: TranslationControl
    mair: int | None
    cores: tuple[int, ...]
    """The cores whose registers have it; empty if no core has it now."""
    task: int | None
    """The TinyOS task that it belongs to; null if there is none or it is not known."""
    secure: bool = False

    @property
    def name(self) -> str:
        """What it is called in findings."""
        if self.task is not None:
            return f"{self.control.name} of task {self.task}"
        return f"{self.control.name} of {cores_text(self.cores)}"

    @property
    def regime_name(self) -> str:
        """The translation regime."""
        return self.regime.name

    @property
    def root_address(self) -> int:
        """Physical address of its root table."""
        return self.control.root_address

    @property
    def permissions_unknown(self) -> bool:
        """Whether permissions come from registers that are not decoded here (FEAT_S1PIE)."""
        return self.regime.indirect_permissions

    def domain(self, non_secure: bool) -> int | None:
        """Which addresses its outputs are, as `Use` has it; `non_secure` is the NS bit of a descriptor."""
        if self.regime.second_stage:
            return None if self.regime.stage2 is None else self.regime.stage2.vmid
        return SECURE if self.secure and not non_secure else None


SECURE = -1
"""The domain of Secure physical addresses, which are others than the Non-secure ones."""


class CoreRegime(NamedTuple):
    """A regime of stage 1 that a core has on, by its registers."""

    core: int
    regime: TranslationRegime


def cores_text(cores: tuple[int, ...]) -> str:
    """`core 1`, `cores 0-3`, or `cores 0, 2` in words."""
    if len(cores) == 1:
        return f"core {cores[0]}"
    if len(cores) > 2 and cores == tuple(range(cores[0], cores[-1] + 1)):
        return f"cores {cores[0]}-{cores[-1]}"
    return f"cores {', '.join(map(str, cores))}"


def core_regimes(target: Target) -> list[CoreRegime]:
    """The regimes that are on, of every core and exception level; notes say which could not be looked at."""
    found: list[CoreRegime] = []
    off: list[int] = []
    unknown: dict[str, None] = {}
    machine = target.machine
    for core in machine.cores:
        here = exception_level(machine, core)
        for level in _LEVELS:
            if level == 1 and _serves_host_only(machine, core):
                continue
            try:
                regime = regime_at(machine, core, level)
            except RegisterUnreadableError as error:
                # A core without EL2 or EL3 has none of their registers.
                if here is None or max(here, 1) == level:
                    unknown[str(error)] = None
                continue
            except RegimeUnknownError as error:
                unknown[str(error)] = None
                continue
            if regime.second_stage and regime.stage2 is None:
                unknown[f"stage 2 of core {core} is not known: {regime.stage2_unknown}"] = None
            elif regime.enabled:
                found.append(CoreRegime(core, regime))
            elif here is not None and max(here, 1) == level:
                off.append(core)
    if off:
        which = cores_text(tuple(off))
        has = "has its MMU" if len(off) == 1 else "have their MMUs"
        target.diagnostics.add_note(f"{which} {has} off: nothing protects any memory from it there")
    for reason in unknown:
        target.diagnostics.add_note(f"a regime was not looked at: {reason}")
    return found


def _serves_host_only(machine: Machine, core: int) -> bool:
    """Whether EL1 is out of use, as a hypervisor's own EL0 runs (HCR_EL2.E2H and TGE)."""
    fields = hypervisor_control(machine, core)
    return bool(fields["E2H"] and fields["TGE"])


def find_spaces(target: Target, regimes: list[CoreRegime]) -> list[FoundSpace]:
    """Every range of addresses of the cores' regimes and of TinyOS's tasks, each table once.

    On another kernel the address spaces of programs that no core has now are not known: a note says so.
    """
    spaces: dict[object, FoundSpace] = {}
    for core, regime in regimes:
        for control in regime.controls:
            if control.walks_disabled or control.defect is not None or is_without_tables(regime, control):
                continue
            mair = target.machine.register(f"MAIR_EL{regime.level}", core)
            key = _key(regime, control, mair)
            secure = is_secure(target.machine, core, regime.level)
            found = spaces.get(key) or FoundSpace(regime, control, mair, (), None, secure)
            spaces[key] = replace(found, cores=(*found.cores, core))
    for space in _task_spaces(target, regimes):
        key = _key(space.regime, space.control, space.mair)
        known = spaces.get(key)
        spaces[key] = space if known is None else replace(known, task=space.task)
    if target.kernel is None and any(one.regime.has_el0 for one in regimes):
        target.diagnostics.add_note(
            "only the address spaces that cores have now were looked at; a kernel with page table isolation "
            "is whole only on a core that is in it"
        )
    return list(spaces.values())


def is_without_tables(regime: TranslationRegime, control: TranslationControl) -> bool:
    """Whether walks are on by a TTBR that nobody has set: of two ranges, a kernel may use only one."""
    return regime.upper is not None and not control.walks_disabled and control.base == 0


def _key(regime: TranslationRegime, control: TranslationControl, mair: int | None) -> object:
    """What distinguishes ranges: neither the ASID nor the core's number."""
    plain = replace(control, asid=None, common_not_private=False, base=control.root_address)
    stage2 = None if regime.stage2 is None else (regime.stage2.vmid, regime.stage2.lower.root_address)
    return regime.name, plain, mair, stage2


def _task_spaces(target: Target, regimes: list[CoreRegime]) -> Iterator[FoundSpace]:
    """The lower ranges of TinyOS's tasks, by the regime of the first core that is at EL1."""
    kernel = target.kernel
    own = next((one for one in regimes if one.regime.name == "EL1&0"), None)
    if kernel is None or own is None:
        return
    try:
        active = kernel.without_missing_notes(lambda: read_spaces(kernel)).active
    except MachineGoneError:
        raise
    except MachineError as error:
        target.diagnostics.add_note(f"the address spaces of tasks could not be read: {error}")
        return
    mair = target.machine.register("MAIR_EL1", own.core)
    for space in active:
        if space.table is not None:
            regime = own.regime.with_lower_table(space.table, space.asid)
            secure = is_secure(target.machine, own.core, regime.level)
            yield FoundSpace(regime, regime.lower, mair, (), space.number, secure)
