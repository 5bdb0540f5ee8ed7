"""What runs where: the cores' translation table registers, and the address spaces they may hold."""

from __future__ import annotations

from gdbplugin.aarch64.cores import Core, read_cores
from gdbplugin.aarch64.regime import RegimeUnknownError, regime_at
from gdbplugin.kernel.clock import Clock, read_clock
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.spaces import AddressSpace, AddressSpaces, read_spaces
from gdbplugin.kernel.tasks import Tasks, read_tasks
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class OwnRegime:
    """What a core at EL2 or EL3 translates by there. `table` is None with the MMU off."""

    name: str
    enabled: bool
    table: int | None


@dataclass(frozen=True)
class Context(Noticed):
    """The cores, the address spaces, and the tasks that have them.

    `own` has the regimes of cores that are at EL2 or EL3, by the cores' numbers: their registers for EL1 say
    nothing of what they do now.
    """

    spaces: AddressSpaces
    cores: tuple[Core, ...]
    tasks: Tasks | None
    clock: Clock
    own: dict[int, OwnRegime]

    def space_on(self, core: Core) -> AddressSpace | None:
        """The active space whose table a core's TTBR0 holds."""
        if core.ttbr0 is None or not core.ttbr0.base:
            return None
        base = core.ttbr0.base
        return next((space for space in self.spaces.active if space.table == base), None)


def read_context(kernel: Kernel) -> Context:
    """Decode the context switcher and the scheduler, and read the cores' registers."""
    kernel.note_change()
    cores = read_cores(kernel.machine)
    own = {core.core: regime for core in cores if (regime := _own_regime(kernel, core)) is not None}
    return Context(
        read_spaces(kernel), cores, read_tasks(kernel), read_clock(kernel), own, journal=kernel.journal
    )


def _own_regime(kernel: Kernel, core: Core) -> OwnRegime | None:
    """The regime of a core at EL2 or EL3; None for others, and where it cannot be told."""
    if core.exception_level not in (2, 3):
        return None
    try:
        regime = regime_at(kernel.machine, core.core, core.exception_level)
    except RegimeUnknownError:
        return None
    return OwnRegime(regime.name, regime.enabled, regime.lower.root_address if regime.enabled else None)
