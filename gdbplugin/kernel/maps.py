"""The map of an address space, for `tinyos maps`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice

from gdbplugin.aarch64.access import MemoryAttributes
from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import Attributes
from gdbplugin.aarch64.maps import Bounds, leaf_runs, mapped_ranges
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.registers import read_cores
from gdbplugin.aarch64.tables import Malformed, Table
from gdbplugin.aarch64.walk import table_memory
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.memory_objects import MemoryObjects, objects_of_program, read_objects
from gdbplugin.kernel.owned_ranges import Mapping, MappingArray, OwnedRange, owned_ranges
from gdbplugin.kernel.selection import Selection, View, choose
from gdbplugin.kernel.spaces import PermissionFilter, read_spaces
from gdbplugin.kernel.target import NoSymbols, Symbols, Target
from gdbplugin.machine import MachineError, MachineGoneError
from gdbplugin.records import NamedTuple, dataclass

_MALFORMED_KEPT = 1000


@dataclass(frozen=True)
class AddressMap(Diagnosed):
    """The map of an address space, or the part of it that passes the filters.

    `ranges` are what the text shows, at most `limit`; `range_count` is their number without the limit.
    `mappings` are the pieces of these ranges, again at most `limit`. `tables` and `leaves` are counted before
    any filter except a range: only tables that overlap the range are read. With the MMU off there are no
    mappings, as each address is its own output address.

    With `aliases` the mappings are those that contain this physical address, in all known address spaces;
    `filters_aliases` is whether there were other filters as well.
    """

    json_fields = (
        "encoded_mappings as mappings",
        "limited",
        "stopped_at",
        "malformed",
        "malformed_count",
        "tables",
        "leaves",
        "spaces as address_spaces",
        "aliases as find_physical",
        "view as regime",
    )

    view: View
    """The translation regime used, and whose it is."""
    ranges: tuple[OwnedRange, ...]
    range_count: int
    malformed: tuple[Malformed, ...]
    """Table entries that cannot be followed, the first 1,000."""
    malformed_count: int
    """Number of all malformed entries."""
    tables: int
    """Number of translation tables read."""
    leaves: int
    """Number of blocks and pages found, before any filter."""
    spaces: int
    """Number of ranges of addresses whose tables were walked."""
    filtered: bool
    filters_aliases: bool
    limit: int | None
    stopped_at: int | None
    """The input address at which reading stopped, because the map is larger than is read at once; null if all
    of it was read."""
    aliases: int | None
    """With --find-physical: that physical address; null without."""

    @cached_property
    def mappings(self) -> tuple[Mapping, ...]:
        """The pieces of the ranges."""
        return tuple(islice((mapping for found in self.ranges for mapping in found.mappings()), self.limit))

    @property
    def encoded_mappings(self) -> MappingArray:
        """The mappings in ascending order; each is one piece of memory with one set of attributes."""
        return MappingArray(self.ranges, self.limit)

    @property
    def limited(self) -> bool:
        """Whether --limit left out mappings."""
        if self.limit is None:
            return False
        return self.is_limited or sum(found.piece_count for found in self.ranges) > self.limit

    @property
    def is_limited(self) -> bool:
        """Whether --limit left out ranges."""
        return self.range_count > len(self.ranges)

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self.mappings)

    def __len__(self) -> int:
        return len(self.mappings)


def read_maps(
    target: Target,
    symbols: Symbols | None = None,
    *,
    range: tuple[int, int] | None = None,  # noqa: A002 (the user's word)
    permissions: str | None = None,
    owner: str | None = None,
    find_physical: int | None = None,
    limit: int | None = None,
    **selection: int | None,
) -> AddressMap:
    """Walk all tables of an address space; for `find_physical` those of all known ones if none is selected.

    `range` is a start and an exclusive end: only tables that overlap it are read. At most `limit` ranges
    and mappings are kept. `selection` are the fields of `Selection`. Raises what `choose` raises.
    """
    view = choose(target, Selection(**selection))
    pattern = None if permissions is None else PermissionFilter(permissions, view.regime)
    wanted = Wanted(range, pattern, owner.lower() if owner else None, find_physical)
    # The addresses in TinyOS's records are input addresses of stage 1.
    objects = objects_of(target, symbols or NoSymbols()) if view.regime.stage == 1 else MemoryObjects(())
    reader = MapReader(view, objects, wanted)
    if not view.regime.enabled:
        spaces = []
    elif find_physical is not None:
        spaces = chosen_spaces(target, view, Selection(**selection))
    else:
        spaces = own_spaces(view)
    ranges = [found for space in spaces for found in reader.ranges(space)]
    if reader.stopped_at is not None:
        target.diagnostics.add_note(
            f"the map stops at {reader.stopped_at:#x}: at most {reader.limit} are read at once, as tables "
            "may lead back to themselves; --range reads a part"
        )
    return AddressMap(
        view=view,
        ranges=tuple(ranges if limit is None else ranges[:limit]),
        range_count=len(ranges),
        malformed=tuple(reader.malformed[:_MALFORMED_KEPT]),
        malformed_count=len(reader.malformed),
        tables=len(reader.tables),
        leaves=reader.leaves,
        spaces=len(spaces),
        filtered=wanted.is_any_set,
        filters_aliases=find_physical is not None and wanted._replace(physical=None).is_any_set,
        limit=limit,
        stopped_at=reader.stopped_at,
        aliases=find_physical,
        diagnostics=target.diagnostics,
    )


class KnownSpace(NamedTuple):
    """Tables to walk, their regime, and the ASID and task that they belong to."""

    regime: TranslationRegime
    control: TranslationControl
    asid: int | None
    task: int | None


class Wanted(NamedTuple):
    """The filters; None for those that are not set."""

    range: tuple[int, int] | None = None
    permissions: PermissionFilter | None = None
    owner: str | None = None
    physical: int | None = None

    @property
    def is_any_set(self) -> bool:
        """Whether there is a filter."""
        return any(entry is not None for entry in self)


def objects_of(target: Target, symbols: Symbols) -> MemoryObjects:
    """The objects from TinyOS's records, or from the sections of another program."""
    kernel = target.kernel
    if kernel is None:
        return objects_of_program(symbols)
    try:
        return read_objects(kernel, symbols)
    except MachineGoneError:
        raise
    except MachineError as error:
        target.diagnostics.add_note(f"TinyOS's records could not be read: {error}")
        return objects_of_program(symbols)


def own_spaces(view: View) -> list[KnownSpace]:
    """The tables of the selected regime."""
    return [KnownSpace(view.regime, control, view.asid, view.task) for control in view.regime.controls]


def chosen_spaces(target: Target, view: View, selection: Selection) -> list[KnownSpace]:
    """The address space whose tables are selected; all that are known if none is."""
    if selection.asid is None and selection.ttbr is None:
        return all_spaces(target, view)
    return own_spaces(view)


def all_spaces(target: Target, view: View) -> list[KnownSpace]:
    """The tables of the selected regime, and the lower range of every other known address space."""
    regime = view.regime
    spaces = own_spaces(view)
    if regime.level != 1 or regime.stage == 2:
        return spaces
    known = {regime.lower.root_address}
    kernel = target.kernel
    if kernel is not None:
        for space in kernel.without_missing_notes(lambda: read_spaces(kernel)).active:
            if space.table == regime.lower.root_address:
                spaces[0] = spaces[0]._replace(task=space.number)
            elif space.table is not None and space.table not in known:
                known.add(space.table)
                other = regime.with_lower_table(space.table, space.asid)
                spaces.append(KnownSpace(other, other.lower, space.asid, space.number))
    for core in read_cores(target.machine):
        if core.ttbr0 is not None and core.mmu_enabled and core.ttbr0.base not in known:
            known.add(core.ttbr0.base)
            other = regime.with_lower_table(core.ttbr0.base, core.ttbr0.asid)
            spaces.append(KnownSpace(other, other.lower, core.ttbr0.asid, None))
    return spaces


class MapReader:
    """Walks address spaces: yields the wanted ranges, and counts all tables and leaves."""

    def __init__(
        self, view: View, objects: MemoryObjects, wanted: Wanted, bounds: Bounds | None = None
    ) -> None:
        """Several readers can share their `bounds`."""
        self._view = view
        self._machine = table_memory(view.machine, view.regime)
        self._objects = objects
        self._wanted = wanted
        self._bounds = bounds or Bounds()
        self.malformed: list[Malformed] = []
        self.tables: list[Table] = []
        self.leaves = 0

    def ranges(self, space: KnownSpace) -> Iterator[OwnedRange]:
        """The wanted ranges of one space."""
        wanted = self._wanted
        known: dict[int, MemoryAttributes] = {}
        entries = leaf_runs(
            self._machine, space.control, self._bounds, within=wanted.range, tables=self.tables
        )
        for found in mapped_ranges(space.regime, entries):
            if isinstance(found, Malformed):
                self.malformed.append(found)
                continue
            self.leaves += sum(len(run.outputs) for run in found.runs)
            if wanted.permissions is not None and not wanted.permissions.matches(found.attributes):
                continue
            # `mapped_ranges` yields one object for equal attributes.
            memory = known.get(id(found.attributes))
            if memory is None:
                memory = known[id(found.attributes)] = self._memory(space, found.attributes)
            for part in owned_ranges(found, self._objects, space.control, memory, space.task):
                yield from self._filtered(part)

    def _memory(self, space: KnownSpace, attributes: Attributes) -> MemoryAttributes:
        regime = space.regime
        memory_type = self._view.memory_type(attributes.attribute_index)
        asid = space.asid if regime.has_el0 and attributes.not_global else None
        return MemoryAttributes(attributes, regime.levels, memory_type, asid)

    def _filtered(self, found: OwnedRange) -> Iterator[OwnedRange]:
        wanted = self._wanted
        if wanted.owner is not None and not _name_contains(found.owner.lower(), wanted.owner):
            return
        if wanted.range is not None:
            if found.end <= wanted.range[0] or wanted.range[1] <= found.start:
                return
            found = found.part(*wanted.range)
        if wanted.physical is not None:
            yield from found.containing(wanted.physical)
        else:
            yield found

    @property
    def stopped_at(self) -> int | None:
        """The input address at which reading stopped; None if everything was read."""
        return self._bounds.stopped_at

    @property
    def limit(self) -> str:
        """The limit that was reached, in words."""
        return self._bounds.limit


def _name_contains(name: str, wanted: str) -> bool:
    """Whether a name contains a text; `stack 10` does not contain `stack 1`."""
    found = name.find(wanted)
    while found >= 0:
        end = found + len(wanted)
        if not (wanted[-1:].isdigit() and name[end : end + 1].isdigit()):
            return True
        found = name.find(wanted, found + 1)
    return False
