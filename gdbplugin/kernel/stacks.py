"""Dynamic stacks."""

from __future__ import annotations

from dataclasses import dataclass

from gdbplugin.kernel.target import MANAGER, Kernel


@dataclass(frozen=True)
class DynamicStack:
    """A dynamic stack: addresses are virtual, sizes in bytes, times in counts of the generic timer."""

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

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"stack {self.id}"


@dataclass(frozen=True)
class Stacks:
    """The stacks whose slots were ever used, in the order of their slots; ended ones are not active."""

    stacks: tuple[DynamicStack, ...]

    @property
    def active(self) -> tuple[DynamicStack, ...]:
        """The stacks that exist now."""
        return tuple(stack for stack in self.stacks if stack.is_active)


def read_stacks(kernel: Kernel) -> Stacks:
    """Decode every stack; one read."""
    part = kernel.part(MANAGER, "stack_manager.stacks")
    found = []
    for slot, values in enumerate(part.value if part else ()):
        if not isinstance(values, dict) or values.get("id") == 0:
            continue
        label = f"stack {values.get('id', slot + 1)}"
        if values.get("id") not in (None, slot + 1):
            kernel.journal.find(f"stack slot {slot}: id", str(slot + 1), str(values["id"]))
        found.append(kernel.record(DynamicStack, values, label))
    return Stacks(tuple(found))
