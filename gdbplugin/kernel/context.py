"""What runs where: the cores' translation table registers, and the address spaces they may hold."""

from __future__ import annotations

from dataclasses import dataclass

from gdbplugin.aarch64.cores import Core, read_cores
from gdbplugin.kernel.clock import Clock, read_clock
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.spaces import AddressSpace, AddressSpaces, read_spaces
from gdbplugin.kernel.target import Kernel
from gdbplugin.kernel.tasks import Tasks, read_tasks


@dataclass(frozen=True)
class Context(Noticed):
    """The cores, the address spaces, and the tasks that have them."""

    spaces: AddressSpaces
    cores: tuple[Core, ...]
    tasks: Tasks | None
    clock: Clock

    def space_on(self, core: Core) -> AddressSpace | None:
        """The active space whose table a core's TTBR0 holds."""
        if core.ttbr0 is None or not core.ttbr0.base:
            return None
        base = core.ttbr0.base
        return next((space for space in self.spaces.active if space.table == base), None)


def read_context(kernel: Kernel) -> Context:
    """Decode the context switcher and the scheduler, and read the cores' registers."""
    kernel.note_change()
    return Context(read_spaces(kernel), read_cores(kernel.machine), read_tasks(kernel), read_clock(kernel))
