"""Dynamic stacks and their tasks; for a single stack, also its events and its mapped pages."""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.aarch64.registers import read_cores
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.events import Event, EventList, has_events, read_event_list
from gdbplugin.kernel.interface import Clock, Timed, read_clock
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.spaces import AddressSpaces, El0Permissions, read_space_map, read_spaces
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import Scheduled, Tasks, read_tasks
from gdbplugin.kernel.variations import SPACES, group_missing
from gdbplugin.layout.decode import Invalid
from gdbplugin.layout.types import Array, Field, Option, locate_held, unwrap
from gdbplugin.machine import SelectionError
from gdbplugin.records import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.kernel.pressure import Level

# PSTATE.SP: set while the exception level's own stack pointer is in use, which is never so at EL0.
_OTHER_POINTER = 1
_STACKS = "stack_manager.stacks"


@dataclass(frozen=True)
class DynamicStack:
    """A dynamic stack. Sizes are in bytes, times are counts of the generic timer."""

    id: int | None
    """Its ID, from 1: the number of its slot + 1."""
    is_active: bool | None
    """Whether it exists; the record of one that ended is kept until its slot is used again."""
    policy: str | None
    """How it grows: Conservative, Aggressive or Predictive."""
    owner: int | None
    """The task that runs on it."""
    base_address: int | None
    """Virtual address one past its highest byte: it grows down from here."""
    current_size: int | None
    """Bytes mapped below the base."""
    max_size: int | None
    """Bytes that it may grow to."""
    growth_count: int | None
    """How often it was grown."""
    shrink_count: int | None
    """How often it was shrunk."""
    last_access_time: int | None
    """When it was last grown, shrunk, or switched away from."""
    stack_pointer: int | None
    """SP_EL0 when its task last entered the kernel by a fault on this stack or a switch."""
    high_water_mark: int | None
    """The most bytes that were ever mapped."""
    guard_address: int | None
    """Virtual address of the guard page."""
    last_growth_time: int | None
    """When it last grew."""
    last_growth_pages: int | None
    """Pages added by the last growth; 0 before the first."""
    pages_returned: int | None
    """Pages given back by shrinking in total."""
    pressure_level: Level | None = None
    """Its level of memory pressure; null in a kernel that has no level for each stack."""

    @property
    def label(self) -> str:
        """Its name in texts."""
        return f"stack {self.id}"


@dataclass(frozen=True)
class StackManager:
    """Settings for all stacks together; null if each stack has its own."""

    growth_policy: str | None = None
    """How all stacks grow."""
    pressure_threshold: int | None = None
    """The pressure threshold of all stacks, in the kernel's own unit."""
    next_stack_id: int | None = None
    """The ID that the next stack gets."""


@dataclass(frozen=True)
class Stacks:
    """The stacks whose slots were ever used, in the order of the slots; ended ones are not active."""

    json_fields = ("stacks", "stack_manager")

    stacks: tuple[DynamicStack, ...]
    """Every stack on record, or the one that was asked for."""
    stack_manager: StackManager = StackManager()
    """The settings for all stacks together."""

    @property
    def active(self) -> tuple[DynamicStack, ...]:
        """The stacks that exist now."""
        return tuple(stack for stack in self.stacks if stack.is_active)


_OF_MANAGER = ("growth_policy", "pressure_threshold", "next_stack_id")


def read_stacks(kernel: Kernel) -> Stacks:
    """Decode every stack; one read."""
    field = kernel.read_field(MANAGER, _STACKS)
    is_own = kernel.has_debugger_interface
    found = []
    slots = field.value if field else None
    for slot, values in enumerate(slots if isinstance(slots, list) else ()):
        if isinstance(values, Invalid):
            kernel.valid_or_none(values, f"stack slot {slot}")
        # In our own kernel, a slot with ID 0 is unused.
        if not isinstance(values, dict) or (is_own and values.get("id") == 0):
            continue
        label = f"stack {values.get('id', slot + 1)}"
        if is_own and values.get("id") not in (None, slot + 1):
            kernel.diagnostics.add_finding(f"stack slot {slot}: id", str(slot + 1), str(values["id"]))
        # Slots without the flag are Options: a stack that is there is active.
        given = {} if is_own or "is_active" in values else {"is_active": True}
        found.append(kernel.make_record(DynamicStack, values, label, **given))
    manager = {
        name: kernel.valid_or_none(setting.value, name)
        for name in _OF_MANAGER
        if kernel.has(MANAGER, f"stack_manager.{name}")
        and (setting := kernel.read_field(MANAGER, f"stack_manager.{name}"))
    }
    if not is_own:
        missing = [name for name in _OF_MANAGER if name not in manager]
        for name in group_missing(missing, _OF_MANAGER, "settings of the stack manager"):
            kernel.note_missing(name)
    return Stacks(tuple(found), StackManager(**manager))


@dataclass(frozen=True)
class RunningStack:
    """A stack whose task runs on a core at this moment.

    The stack pointer in the kernel's record is an earlier one.
    """

    stack: int
    """The ID of the stack."""
    core: int
    """The core that runs its task."""
    stack_pointer: int
    """SP_EL0 of that core; `stack_pointer` of the stack is what the kernel last recorded."""


def read_running(kernel: Kernel, stacks: Stacks, spaces: AddressSpaces) -> tuple[RunningStack, ...]:
    """The stacks whose tasks run on the cores, by TTBR0 and the stack pointer of each core."""
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
        # In the kernel, during a switch, SP_EL0 may still be another task's.
        if core.exception_level == 0 or _is_in(stack, pointer):
            found.append(RunningStack(stack.id, core.core, pointer))
    return tuple(found)


def _task_stack_pointer(kernel: Kernel, core: int) -> int | None:
    """SP_EL0 of a core; while it is in use as the stack pointer, only SP has its current value."""
    state = kernel.machine.register("CPSR", core)
    if state is None:
        return None
    return kernel.machine.register("SP_EL0" if state & _OTHER_POINTER else "SP", core)


def _is_in(stack: DynamicStack, pointer: int) -> bool:
    base, guard = stack.base_address, stack.guard_address
    return base is not None and guard is not None and guard <= pointer <= base


_LARGEST_STACK_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class MappedPage:
    """A page or block as the hardware's tables map it."""

    virtual_address: int
    """Virtual address of its first byte."""
    physical_address: int
    """Physical address that it is mapped to."""
    size: int
    """Its size in bytes."""
    el0: str
    """What EL0 may do there, such as `rw-`."""


@dataclass(frozen=True)
class StackList(Diagnosed, Timed, Scheduled):
    """All stacks, or one (`chosen`) with its newest events and its mapped pages."""

    json_fields = ("stacks", "running", "events", "mapped_pages", "tasks", "current_task", "time")
    json_merged = ("stacks",)

    stacks: Stacks
    scheduler: Tasks | None
    clock: Clock
    recent: EventList | None
    """The newest events of the one stack."""
    mapped_pages: tuple[MappedPage, ...] | None
    """With ID: pages mapped in the stack's range, highest first; null without ID, and in a kernel that has
    no address spaces on record."""
    running: tuple[RunningStack, ...]
    """The stacks whose tasks run on the cores, with their stack pointers at this moment."""
    chosen: DynamicStack | None = None

    @property
    def events(self) -> tuple[Event, ...] | None:
        """With ID: its newest events, oldest first; null without ID, and in a kernel that records none."""
        return None if self.recent is None else self.recent.events

    def __iter__(self) -> Iterator[DynamicStack]:
        return iter(self.stacks.stacks)

    def __len__(self) -> int:
        return len(self.stacks.stacks)


def read_stack_list(kernel: Kernel, id: int | None = None) -> StackList:  # noqa: A002 (the user's word for it)
    """Decode every stack, or the one with an ID. Raises `SelectionError` if no stack has it."""
    kernel.note_change()
    stacks, tasks, clock = read_stacks(kernel), read_tasks(kernel), read_clock(kernel)
    if id is None:
        spaces = kernel.without_missing_notes(lambda: read_spaces(kernel), SPACES)
        running = read_running(kernel, stacks, spaces)
        return StackList(stacks, tasks, clock, None, None, running, diagnostics=kernel.diagnostics)
    chosen = tuple(stack for stack in stacks.stacks if stack.id == id)
    if not chosen:
        known = ", ".join(str(stack.id) for stack in stacks.stacks)
        raise SelectionError(f"no stack with ID {id} (known: {known or 'none'})")
    shown = replace(stacks, stacks=chosen)
    spaces = kernel.without_missing_notes(lambda: read_spaces(kernel), SPACES)
    if not has_events(kernel):
        kernel.note_missing("events")
    return StackList(
        shown,
        tasks,
        clock,
        read_event_list(kernel, stack=id) if has_events(kernel) else None,
        None if spaces.spaces is None else _mapped_pages(kernel, chosen[0]),
        read_running(kernel, shown, spaces),
        chosen[0],
        diagnostics=kernel.diagnostics,
    )


def _mapped_pages(kernel: Kernel, stack: DynamicStack) -> tuple[MappedPage, ...]:
    """The pages mapped in the stack's range, guard included; highest first, as the stack grows."""
    base, guard = stack.base_address, stack.guard_address
    if not stack.is_active or base is None or guard is None or not 0 < base - guard <= _LARGEST_STACK_BYTES:
        return ()
    space = read_spaces(kernel).of(stack.owner)
    if space is None or space.table is None:
        kernel.diagnostics.add_finding(
            stack.label, f"an address space of its owner, task {stack.owner}", "none active"
        )
        return ()
    mapping = read_space_map(kernel, space, (guard, base))
    permissions = El0Permissions(kernel.regime)
    return tuple(
        MappedPage(start, leaf.physical, leaf.size, permissions.el0(leaf))
        for start, leaf in sorted(mapping.pages.items(), reverse=True)
    )


def stack_bytes(kernel: Kernel, number: int) -> bytes | None:
    """The bytes of the record of the stack with an ID; None if there is no such record."""
    if kernel.has_debugger_interface:
        return kernel.read_element(_STACKS, number - 1)
    type_ = stack_type(kernel)
    field = kernel.read_field(MANAGER, _STACKS)
    for slot, values in enumerate(field.value if field else ()):
        if isinstance(values, dict) and values.get("id") == number and type_ is not None:
            raw = kernel.read_element(_STACKS, slot) or b""
            return raw[type_.offset : type_.offset + type_.type.size]
    return None


def stack_type(kernel: Kernel) -> Field | None:
    """The type of a stack's record, and its offset within a slot; None if there are no stacks."""
    static = kernel.static(MANAGER)
    field, _ = locate_held(static.type, _STACKS)
    array = unwrap(field.type) if field is not None else None
    element = array.element if isinstance(array, Array) else None
    if isinstance(element, Option):
        return element.value
    return None if element is None else Field("", 0, element)


def offered_ids(target: Target) -> list[int]:
    """For completion: the IDs of the stacks that exist."""
    if target.kernel is None:
        return []
    return [stack.id for stack in read_stacks(target.kernel).active if stack.id is not None]
