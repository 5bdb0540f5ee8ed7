"""What runs where: the cores' translation table registers, and the address spaces they may hold."""

from __future__ import annotations

from gdbplugin.aarch64.cores import Core, read_cores
from gdbplugin.aarch64.regime import RegimeUnknownError, regime_at
from gdbplugin.kernel.clock import Clock, Timed, read_clock
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.spaces import AddressSpace, AddressSpaces, read_spaces
from gdbplugin.kernel.tasks import Scheduled, Tasks, read_tasks
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class OwnRegime:
    """The translation regime of a core at EL2 or EL3."""

    name: str
    """Its name: EL2, EL2&0 or EL3."""
    enabled: bool
    """Whether the MMU is on."""
    table: int | None
    """Physical address of its root table; null while the MMU is off."""


@dataclass(frozen=True)
class CoreContext(Core):
    """A core, and what it translates by."""

    space: int | None
    """Number of the active address space whose table TTBR0 holds; null if it holds another table."""
    own_regime: OwnRegime | None
    """What a core at EL2 or EL3 translates by there; null at EL0 and EL1, and if it cannot be told.

    The registers for EL1 say nothing about what such a core does now.
    """


@dataclass(frozen=True)
class Context(Noticed, Timed, Scheduled):
    """The cores, the address spaces, and the tasks that have them."""

    json_fields = ("context", "cores", "tasks", "current_task", "time")

    spaces: AddressSpaces
    cores: tuple[CoreContext, ...]
    """Every core."""
    scheduler: Tasks | None
    clock: Clock

    @property
    def context(self) -> AddressSpaces:
        """The context switcher."""
        return self.spaces

    def space_on(self, core: CoreContext) -> AddressSpace | None:
        """The active address space whose table a core's TTBR0 holds."""
        return None if core.space is None else self.spaces.of(core.space)


def read_context(kernel: Kernel) -> Context:
    """Decode the context switcher and the scheduler, and read the cores' registers."""
    kernel.note_change()
    cores, spaces = read_cores(kernel.machine), read_spaces(kernel)
    found = tuple(
        CoreContext(**vars(core), space=_space(core, spaces), own_regime=_own_regime(kernel, core))
        for core in cores
    )
    return Context(spaces, found, read_tasks(kernel), read_clock(kernel), journal=kernel.journal)


def _space(core: Core, spaces: AddressSpaces) -> int | None:
    """The number of the active address space whose table a core's TTBR0 holds."""
    base = 0 if core.ttbr0 is None else core.ttbr0.base
    return next((space.number for space in spaces.active if base and space.table == base), None)


def _own_regime(kernel: Kernel, core: Core) -> OwnRegime | None:
    """The regime of a core at EL2 or EL3; None for others, and where it cannot be told."""
    if core.exception_level not in (2, 3):
        return None
    try:
        regime = regime_at(kernel.machine, core.core, core.exception_level)
    except RegimeUnknownError:
        return None
    return OwnRegime(regime.name, regime.enabled, regime.lower.root_address if regime.enabled else None)
