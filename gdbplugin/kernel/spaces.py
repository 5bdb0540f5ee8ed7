"""Address spaces: their ASIDs, what the hardware's tables map for each, and which core uses which."""

from __future__ import annotations

import re

from gdbplugin.aarch64.access import permissions_by_level
from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import ADDRESS_BITS, Attributes
from gdbplugin.aarch64.maps import Bounds, leaf_attributes, leaves
from gdbplugin.aarch64.regime import RegimeUnknownError, TranslationRegime, regime_at
from gdbplugin.aarch64.registers import Core, read_cores
from gdbplugin.aarch64.tables import Leaf, Malformed
from gdbplugin.aarch64.walk import table_memory
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.interface import Clock, Timed, read_clock
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.tasks import Scheduled, Tasks, read_tasks
from gdbplugin.machine import SelectionError
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class AddressSpace:
    """An address space of a task, and its ASID."""

    number: int
    """The number of the task it belongs to."""
    table: int | None
    """Physical address of its root table."""
    asid: int | None
    """Its ASID; valid while `generation` equals the allocator's."""
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
    """The context switcher. A field that a kernel does not have is None.

    The last two fields are those of other kernels of the design, which have no address spaces on record.
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
        """The active spaces; empty if the kernel has none on record."""
        return self.spaces or ()

    @property
    def generation(self) -> int | None:
        """The ASID allocator's generation."""
        return None if self.asids is None else self.asids.generation

    def of(self, number: int | None) -> AddressSpace | None:
        """The active space with a number; None if there is none."""
        return next((space for space in self.active if space.number == number), None)

    @property
    def by_asid(self) -> dict[int, AddressSpace]:
        """The active spaces by their ASIDs, without those whose ASID is of an older generation."""
        return {
            space.asid: space
            for space in self.active
            if space.asid is not None and space.generation == self.generation
        }


def read_spaces(kernel: Kernel) -> AddressSpaces:
    """Decode the context switcher; one read."""
    return kernel.read_record(AddressSpaces, "context_switcher", "context switcher", _parts)


def _parts(kernel: Kernel, values: dict[str, Any]) -> dict[str, object]:
    """The address spaces, counts and ASID allocator, if the context switcher has them."""
    given: dict[str, object] = {}
    if "spaces" in values:
        given["spaces"] = tuple(
            kernel.make_record(AddressSpace, entry, f"address space {number}", number=number)
            for number, entry in enumerate(values["spaces"])
            if entry.get("is_active") is not False
        )
    if "invalidations" in values:
        given["invalidations"] = kernel.make_record(
            Invalidations, values["invalidations"], "TLB invalidations"
        )
    if "asids" in values:
        given["asids"] = kernel.make_record(AsidAllocator, values["asids"], "ASID allocator")
    return given


class PermissionFilter:
    """The permissions that a mapping must have: `r-x`, `?w?`, `el0:r--`, `el1:?w?`.

    A letter must be there, `-` means that it must not, `?` that it may. Without a level, one of the regime's
    levels must match. Raises `SelectionError` for another pattern or a level that the regime does not have.
    """

    def __init__(self, text: str, regime: TranslationRegime) -> None:
        level, colon, letters = text.upper().rpartition(":")
        if (colon and not re.fullmatch("EL[0-3]", level)) or not self._is_pattern(letters.lower()):
            raise SelectionError(f'"{text}" is not a pattern of permissions (examples: r-x, ?w?, el0:r--)')
        known = [f"EL{number}" for number in regime.levels]
        if level and level not in known:
            raise SelectionError(f"the {regime.name} regime has no {level} (known: {', '.join(known)})")
        self._levels = regime.levels
        self._level = level
        self._letters = letters.lower()

    @staticmethod
    def _is_pattern(letters: str) -> bool:
        pairs = zip(letters, "rwx", strict=False)
        return len(letters) == 3 and all(letter in (name, "-", "?") for letter, name in pairs)

    def matches(self, attributes: Attributes) -> bool:
        """Whether a mapping's permissions match."""
        allowed = permissions_by_level(self._levels, attributes)
        return any(self._fits(found) for level, found in allowed.items() if self._level in ("", level))

    def _fits(self, permissions: str) -> bool:
        return all(wanted in ("?", there) for wanted, there in zip(self._letters, permissions, strict=True))


PAGE_BYTES = 4096
_ATTRIBUTES = ~ADDRESS_BITS
# More than one space of TinyOS can have: 40,960 lazy pages, a stack of 2 MiB, and its text.
MAXIMUM_SPACE_TABLES = 200
MAXIMUM_SPACE_PAGES = 50_000
# More than all spaces have: about 700 tables for 96 spaces, 96 stacks and the lazy pages.
MAXIMUM_PAGES = 150_000


@dataclass(frozen=True)
class SpaceMap:
    """The pages of one address space by virtual address, its malformed entries, and its tables' addresses.

    All three are empty if its tables have no end; `endless_from` is then an address that the walk reached.
    They are also empty if the space was skipped because others have no end; `is_read` is then False.
    """

    number: int
    pages: dict[int, Leaf]
    malformed: tuple[Malformed, ...]
    tables: tuple[int, ...]
    endless_from: int | None = None
    is_read: bool = True

    @property
    def is_known(self) -> bool:
        """Whether `pages` has everything that is mapped."""
        return self.is_read and self.endless_from is None


class El0Permissions:
    """The effective EL0 permissions of leaves, such as `rw-`, cached by the attributes of descriptors."""

    def __init__(self, regime: TranslationRegime) -> None:
        self._regime = regime
        self._known: dict[tuple[int, int], str] = {}

    def el0(self, leaf: Leaf) -> str:
        """What EL0 may do at a leaf's addresses."""
        key = (leaf.descriptor & _ATTRIBUTES, leaf.inherited)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = str(
                leaf_attributes(self._regime, leaf.start, leaf.descriptor, leaf.inherited).el0
            )
        return known


def read_space_maps(kernel: Kernel, spaces: AddressSpaces) -> dict[int, SpaceMap]:
    """Walk the tables of every active address space; the maps by its number. Each table is read once."""
    lower = kernel.regime.lower
    found: dict[int, SpaceMap] = {}
    remaining = MAXIMUM_PAGES
    for space in spaces.active:
        if not space.is_active or space.table is None:
            continue
        if remaining <= 0:
            found[space.number] = SpaceMap(space.number, {}, (), (), is_read=False)
            continue
        found[space.number] = _read_map(kernel, lower.with_table(space.table, space.asid), space.number)
        endless = found[space.number].endless_from is not None
        remaining -= MAXIMUM_SPACE_PAGES if endless else len(found[space.number].pages)
    left_out = [number for number, space in found.items() if not space.is_read]
    if left_out:
        kernel.diagnostics.add_note(
            f"the tables of {len(left_out)} address spaces were not read, from space {left_out[0]} on: "
            "the tables of other spaces have no end"
        )
    return found


def read_space_map(kernel: Kernel, space: AddressSpace, within: tuple[int, int]) -> SpaceMap:
    """Walk the tables of one address space, only for a range: start and exclusive end."""
    control = kernel.regime.lower.with_table(space.table or 0, space.asid)
    return _read_map(kernel, control, space.number, within)


def read_kernel_map(kernel: Kernel, number: int) -> SpaceMap:
    """Walk the tables of the kernel's own half, which all spaces share; `number` is what it is called."""
    upper = kernel.regime.upper
    return SpaceMap(number, {}, (), ()) if upper is None else _read_map(kernel, upper, number)


def _read_map(
    kernel: Kernel, control: TranslationControl, number: int, within: tuple[int, int] | None = None
) -> SpaceMap:
    """The map of one space; without pages if its tables have no end, because then they mean nothing."""
    # One entry for each page, and one more for each page that differs from its neighbours.
    bounds = Bounds(MAXIMUM_SPACE_TABLES, 2 * MAXIMUM_SPACE_PAGES)
    tables: list[int] = []
    pages: dict[int, Leaf] = {}
    malformed = []
    for entry in leaves(table_memory(kernel.machine, kernel.regime), control, bounds, tables, within):
        if isinstance(entry, Leaf):
            pages[entry.start] = entry
        else:
            malformed.append(entry)
        if len(pages) > MAXIMUM_SPACE_PAGES:
            return SpaceMap(number, {}, (), (), endless_from=entry.start)
    if bounds.stopped_at is not None:
        return SpaceMap(number, {}, (), (), endless_from=bounds.stopped_at)
    return SpaceMap(number, pages, tuple(malformed), tuple(tables))


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
    """A core and how it translates."""

    space: int | None
    """Number of the active address space whose table TTBR0 holds; null if it holds another table."""
    own_regime: OwnRegime | None
    """The regime of a core at EL2 or EL3; null at EL0 and EL1, and if it is not known.

    The registers for EL1 do not apply to such a core now.
    """


@dataclass(frozen=True)
class Context(Diagnosed, Timed, Scheduled):
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
        """The active address space whose table a core's TTBR0 holds; None if it holds another table."""
        return None if core.space is None else self.spaces.of(core.space)


def read_context(kernel: Kernel) -> Context:
    """Decode the context switcher and the scheduler, and read the cores' registers."""
    kernel.note_change()
    cores, spaces = read_cores(kernel.machine), read_spaces(kernel)
    found = tuple(
        CoreContext(**vars(core), space=_space(core, spaces), own_regime=_own_regime(kernel, core))
        for core in cores
    )
    return Context(spaces, found, read_tasks(kernel), read_clock(kernel), diagnostics=kernel.diagnostics)


def _space(core: Core, spaces: AddressSpaces) -> int | None:
    """The number of that address space; see `CoreContext.space`."""
    base = 0 if core.ttbr0 is None else core.ttbr0.base
    return next((space.number for space in spaces.active if base and space.table == base), None)


def _own_regime(kernel: Kernel, core: Core) -> OwnRegime | None:
    """The regime of a core at EL2 or EL3; None for other cores, and if it is not known."""
    if core.exception_level not in (2, 3):
        return None
    try:
        regime = regime_at(kernel.machine, core.core, core.exception_level)
    except RegimeUnknownError:
        return None
    return OwnRegime(regime.name, regime.enabled, regime.lower.root_address if regime.enabled else None)


def current_space(kernel: Kernel) -> int | None:
    """The number of the address space, and so of its task, that TTBR0 of core 0 holds; None if not known."""
    return kernel.read_integer(MANAGER, "context_switcher.current")
