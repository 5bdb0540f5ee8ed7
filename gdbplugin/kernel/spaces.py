"""Address spaces, their ASIDs, and the switching between them."""

from __future__ import annotations

from gdbplugin.kernel.target import MANAGER, Kernel
from gdbplugin.records import dataclass


@dataclass(frozen=True)
class AddressSpace:
    """The TTBR0 table of task `number` (physical address), and the ASID it is used with.

    The ASID is good while `generation` is the allocator's.
    """

    number: int
    table: int | None
    asid: int | None
    is_active: bool | None
    generation: int | None
    switch_count: int | None


@dataclass(frozen=True)
class Invalidations:
    """TLB invalidations by kind, since boot."""

    by_address: int | None
    by_asid: int | None
    everything: int | None


@dataclass(frozen=True)
class AsidAllocator:
    """The ASID allocator: the width of ASIDs in bits, the current generation, and its counters."""

    bits: int | None
    generation: int | None
    rollover_count: int | None
    allocation_count: int | None


@dataclass(frozen=True)
class AddressSpaces:
    """The context switcher. `current` is the number of the space in TTBR0; `spaces` the active ones."""

    current: int | None
    switch_count: int | None
    fast_switch_count: int | None
    invalidations: Invalidations
    spaces: tuple[AddressSpace, ...]
    asids: AsidAllocator

    def of(self, number: int | None) -> AddressSpace | None:
        """The active space of that number."""
        return next((space for space in self.spaces if space.number == number), None)

    @property
    def by_asid(self) -> dict[int, AddressSpace]:
        """The active spaces by their ASIDs; one of an older generation is nobody's."""
        return {
            space.asid: space
            for space in self.spaces
            if space.asid is not None and space.generation == self.asids.generation
        }


def read_spaces(kernel: Kernel) -> AddressSpaces:
    """Decode the context switcher; one read."""
    part = kernel.part(MANAGER, "context_switcher")
    values = part.value if part else {}
    spaces = tuple(
        kernel.record(AddressSpace, entry, f"address space {number}", number=number)
        for number, entry in enumerate(values.get("spaces", ()))
        if entry.get("is_active") is not False
    )
    return kernel.record(
        AddressSpaces,
        values,
        "context switcher",
        spaces=spaces,
        invalidations=kernel.record(Invalidations, values.get("invalidations"), "TLB invalidations"),
        asids=kernel.record(AsidAllocator, values.get("asids"), "ASID allocator"),
    )
