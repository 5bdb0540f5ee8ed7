"""Dynamic stacks with what belongs to them: their tasks, and of one its events and its mapped pages."""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.kernel.clock import Clock, read_clock
from gdbplugin.kernel.events import Event, EventList, has_events, read_event_list
from gdbplugin.kernel.journal import Noticed
from gdbplugin.kernel.kernel import Kernel, SelectionError
from gdbplugin.kernel.lacks import SPACES
from gdbplugin.kernel.space_maps import Permissions, read_space_map
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.stacks import DynamicStack, RunningStack, Stacks, read_running, read_stacks
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import Task, Tasks, read_tasks
from gdbplugin.records import dataclass, replace

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
class StackList(Noticed):
    """All stacks, or one (`chosen`) with its newest events and its mapped pages."""

    json_fields = ("stacks", "running", "events", "mapped_pages", "tasks", "current_task", "time")
    json_merged = ("stacks",)

    stacks: Stacks
    scheduler: Tasks | None
    clock: Clock
    recent: EventList | None
    """The newest events of the one stack, with what the filter let through."""
    mapped_pages: tuple[MappedPage, ...] | None
    """With ID: what is mapped in the stack's range, highest first; null without ID, and in a kernel that has
    no address spaces on record."""
    running: tuple[RunningStack, ...]
    """Those of the stacks whose tasks the cores run, with their stack pointers at this moment."""
    chosen: DynamicStack | None = None

    @property
    def events(self) -> tuple[Event, ...] | None:
        """With ID: its newest events, oldest first; null without ID, and in a kernel that records none."""
        return None if self.recent is None else self.recent.events

    @property
    def tasks(self) -> tuple[Task, ...] | None:
        """The tasks ever used, in the order of their numbers; null in a kernel without a scheduler."""
        return None if self.scheduler is None else self.scheduler.tasks

    @property
    def current_task(self) -> int | None:
        """The task whose registers are in the CPU."""
        return None if self.scheduler is None else self.scheduler.current

    @property
    def time(self) -> Clock:
        """The kernel's own timer; all times are counts of it."""
        return self.clock

    def __iter__(self) -> Iterator[DynamicStack]:
        return iter(self.stacks.stacks)

    def __len__(self) -> int:
        return len(self.stacks.stacks)


def read_stack_list(kernel: Kernel, id: int | None = None) -> StackList:  # noqa: A002 (the user's word for it)
    """Decode every stack, or the one with that ID. Raises `SelectionError` if no stack has it."""
    kernel.note_change()
    stacks, tasks, clock = read_stacks(kernel), read_tasks(kernel), read_clock(kernel)
    if id is None:
        running = read_running(kernel, stacks, kernel.beside(lambda: read_spaces(kernel), SPACES))
        return StackList(stacks, tasks, clock, None, None, running, journal=kernel.journal)
    chosen = tuple(stack for stack in stacks.stacks if stack.id == id)
    if not chosen:
        known = ", ".join(str(stack.id) for stack in stacks.stacks)
        raise SelectionError(f"no stack with ID {id} (known: {known or 'none'})")
    shown = replace(stacks, stacks=chosen)
    spaces = kernel.beside(lambda: read_spaces(kernel), SPACES)
    if not has_events(kernel):
        kernel.lack("events")
    return StackList(
        shown,
        tasks,
        clock,
        read_event_list(kernel, stack=id) if has_events(kernel) else None,
        None if spaces.spaces is None else _mapped_pages(kernel, chosen[0]),
        read_running(kernel, shown, spaces),
        chosen[0],
    )


def _mapped_pages(kernel: Kernel, stack: DynamicStack) -> tuple[MappedPage, ...]:
    """The pages mapped in the stack's range, guard included; highest first, as the stack grows."""
    base, guard = stack.base_address, stack.guard_address
    if not stack.is_active or base is None or guard is None or not 0 < base - guard <= _LARGEST_STACK_BYTES:
        return ()
    space = read_spaces(kernel).of(stack.owner)
    if space is None or space.table is None:
        kernel.journal.find(stack.label, f"an address space of its owner, task {stack.owner}", "none active")
        return ()
    mapping = read_space_map(kernel, space, (guard, base))
    permissions = Permissions(kernel.regime)
    return tuple(
        MappedPage(start, leaf.physical, leaf.size, permissions.el0(leaf))
        for start, leaf in sorted(mapping.pages.items(), reverse=True)
    )


def offered_ids(target: Target) -> list[int]:
    """For completion: the ids of the stacks that exist."""
    if target.kernel is None:
        return []
    return [stack.id for stack in read_stacks(target.kernel).active if stack.id is not None]
