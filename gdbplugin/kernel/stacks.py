"""Dynamic stacks."""

from __future__ import annotations

from gdbplugin.aarch64.cores import read_cores
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lacks import together
from gdbplugin.kernel.spaces import AddressSpaces
from gdbplugin.layout.decode import Invalid
from gdbplugin.records import dataclass

_OTHER_POINTER = 1  # PSTATE.SP: the exception level's own stack pointer is in use, never at EL0.


@dataclass(frozen=True)
class DynamicStack:
    """A dynamic stack: addresses are virtual, sizes in bytes, times in counts of the generic timer.

    `pressure_level` is of other kernels of this design, where each stack has one.
    """

    id: int | None
    is_active: bool | None
    policy: str | None
    owner: int | None
    base_address: int | None
    current_size: int | None
    max_size: int | None
    growth_count: int | None
    shrink_count: int | None
    last_access_time: int | None
    stack_pointer: int | None
    high_water_mark: int | None
    guard_address: int | None
    last_growth_time: int | None
    last_growth_pages: int | None
    pages_returned: int | None
    pressure_level: str | None = None

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"stack {self.id}"


@dataclass(frozen=True)
class Stacks:
    """The stacks whose slots were ever used, in the order of their slots; ended ones are not active.

    What follows them is of other kernels of this design: one policy for all stacks, and the ID of the next.
    """

    stacks: tuple[DynamicStack, ...]
    growth_policy: str | None = None
    pressure_threshold: int | None = None
    next_stack_id: int | None = None

    @property
    def active(self) -> tuple[DynamicStack, ...]:
        """The stacks that exist now."""
        return tuple(stack for stack in self.stacks if stack.is_active)


_OF_MANAGER = ("growth_policy", "pressure_threshold", "next_stack_id")


def read_stacks(kernel: Kernel) -> Stacks:
    """Decode every stack; one read."""
    part = kernel.part(MANAGER, "stack_manager.stacks")
    promised = kernel.keeps_promises
    found = []
    slots = part.value if part else None
    for slot, values in enumerate(slots if isinstance(slots, list) else ()):
        if isinstance(values, Invalid):
            kernel.checked(values, f"stack slot {slot}")
        # In our own kernel's slots, 0 is the ID of none.
        if not isinstance(values, dict) or (promised and values.get("id") == 0):
            continue
        label = f"stack {values.get('id', slot + 1)}"
        if promised and values.get("id") not in (None, slot + 1):
            kernel.journal.find(f"stack slot {slot}: id", str(slot + 1), str(values["id"]))
        # Where a slot holds a stack or none, a stack that is there is active.
        given = {} if promised or "is_active" in values else {"is_active": True}
        found.append(kernel.record(DynamicStack, values, label, **given))
    manager = {
        name: kernel.checked(piece.value, name)
        for name in _OF_MANAGER
        if kernel.has(MANAGER, f"stack_manager.{name}")
        and (piece := kernel.part(MANAGER, f"stack_manager.{name}"))
    }
    if not promised:
        lacking = [name for name in _OF_MANAGER if name not in manager]
        for name in together(lacking, _OF_MANAGER, "settings of the stack manager"):
            kernel.lack(name)
    return Stacks(tuple(found), **manager)


@dataclass(frozen=True)
class RunningStack:
    """The stack, by its id, of the task that a core runs, and where its stack pointer is at this moment.

    The kernel's record has it as of the last time that the task called the kernel, or was switched from.
    """

    stack: int
    core: int
    stack_pointer: int


def read_running(kernel: Kernel, stacks: Stacks, spaces: AddressSpaces) -> tuple[RunningStack, ...]:
    """The stacks of the tasks whose address spaces the cores are in, by the cores' own registers."""
    by_table = {space.table: space.number for space in spaces.active if space.is_active and space.table}
    by_owner = {stack.owner: stack for stack in stacks.active}
    found = []
    for core in read_cores(kernel.machine):
        if core.ttbr0 is None or not core.mmu_enabled or core.exception_level not in (0, 1):
            continue
        stack = by_owner.get(by_table.get(core.ttbr0.base))
        pointer = _task_stack_pointer(kernel, core.core)
        if stack is None or stack.id is None or pointer is None:
            continue
        # In the kernel, amid a switch, SP_EL0 may be another task's yet.
        if core.exception_level == 0 or _is_in(stack, pointer):
            found.append(RunningStack(stack.id, core.core, pointer))
    return tuple(found)


def _task_stack_pointer(kernel: Kernel, core: int) -> int | None:
    """SP_EL0 of a core: the register itself is up to date only while another stack pointer is in use."""
    state = kernel.machine.register("CPSR", core)
    if state is None:
        return None
    return kernel.machine.register("SP_EL0" if state & _OTHER_POINTER else "SP", core)


def _is_in(stack: DynamicStack, pointer: int) -> bool:
    base, guard = stack.base_address, stack.guard_address
    return base is not None and guard is not None and guard <= pointer <= base
