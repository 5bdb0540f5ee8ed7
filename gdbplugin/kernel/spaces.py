"""Address spaces, their ASIDs, and the switching between them."""

from __future__ import annotations

from gdbplugin.kernel.kernel import Kernel
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
    """The context switcher. `current` is the number of the space in TTBR0; `spaces` the active ones.

    What a kernel has not is None. The last two are of other kernels of this design, which have no spaces.
    """

    current: int | None
    switch_count: int | None
    fast_switch_count: int | None
    invalidations: Invalidations | None
    spaces: tuple[AddressSpace, ...] | None
    asids: AsidAllocator | None
    last_context_switch_time: int | None = None
    optimization_enabled: bool | None = None

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
