"""Address spaces, their ASIDs, and the switching between them."""

from __future__ import annotations

from gdbplugin.kernel.kernel import Kernel
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class AddressSpace:
    """An address space of a task, and the ASID that it is used with."""

    number: int
    """The number of the task it belongs to."""
    table: int | None
    """Physical address of its root table."""
    asid: int | None
    """Its ASID; valid while `generation` is the allocator's."""
    is_active: bool | None
    """Whether it exists."""
    generation: int | None
    """The generation of its ASID."""
    switch_count: int | None
    """How often it was switched to."""


@dataclass(frozen=True)
class Invalidations:
    """TLB invalidations by kind, since boot."""

    by_address: int | None
    """Invalidations of one address."""
    by_asid: int | None
    """Invalidations of one ASID."""
    everything: int | None
    """Invalidations of everything."""


@dataclass(frozen=True)
class AsidAllocator:
    """The ASID allocator."""

    bits: int | None
    """Width of ASIDs in bits."""
    generation: int | None
    """The current generation."""
    rollover_count: int | None
    """How often a new generation began."""
    allocation_count: int | None
    """ASIDs handed out."""


@dataclass(frozen=True)
class AddressSpaces:
    """The context switcher.

    What a kernel does not have is None. The last two are of other kernels of this design, which have no
    address spaces on record.
    """

    current: int | None
    """Number of the address space in TTBR0 of core 0."""
    switch_count: int | None
    """Switches of address spaces since boot."""
    fast_switch_count: int | None
    """Switches without any TLB invalidation."""
    invalidations: Invalidations | None
    """TLB invalidations since boot; null in a kernel that does not count them."""
    spaces: tuple[AddressSpace, ...] | None
    """The active address spaces; null in a kernel that has none on record."""
    asids: AsidAllocator | None
    """The ASID allocator; null in a kernel that has none."""
    last_context_switch_time: int | None = None
    """When the last switch was; null in a kernel that does not say."""
    optimization_enabled: bool | None = None
    """Whether switches are optimized; null in a kernel that has no such setting."""

    @property
    def active(self) -> tuple[AddressSpace, ...]:
        """The active spaces; none where the kernel has no such records."""
        return self.spaces or ()

    @property
    def generation(self) -> int | None:
        """The ASID allocator's generation."""
        return None if self.asids is None else self.asids.generation

    def of(self, number: int | None) -> AddressSpace | None:
        """The active space of that number."""
        return next((space for space in self.active if space.number == number), None)

    @property
    def by_asid(self) -> dict[int, AddressSpace]:
        """The active spaces by their ASIDs; one of an older generation is nobody's."""
        return {
            space.asid: space
            for space in self.active
            if space.asid is not None and space.generation == self.generation
        }


def read_spaces(kernel: Kernel) -> AddressSpaces:
    """Decode the context switcher; one read."""
    return kernel.part_record(AddressSpaces, "context_switcher", "context switcher", _parts)


def _parts(kernel: Kernel, values: dict[str, Any]) -> dict[str, object]:
    """The parts of the context switcher that it has."""
    given: dict[str, object] = {}
    if "spaces" in values:
        given["spaces"] = tuple(
            kernel.record(AddressSpace, entry, f"address space {number}", number=number)
            for number, entry in enumerate(values["spaces"])
            if entry.get("is_active") is not False
        )
    if "invalidations" in values:
        given["invalidations"] = kernel.record(Invalidations, values["invalidations"], "TLB invalidations")
    if "asids" in values:
        given["asids"] = kernel.record(AsidAllocator, values["asids"], "ASID allocator")
    return given
