"""Holds what is mapped against the rules of `tinyos lint`: each range, and the frames of several."""

from __future__ import annotations

from bisect import bisect_left

from gdbplugin.aarch64 import maps
from gdbplugin.aarch64.access import MemoryAttributes
from gdbplugin.aarch64.aliases import Alias, FrameUses, Use, pieces_at
from gdbplugin.aarch64.descriptor import NO_ACCESS, Attributes, attributes
from gdbplugin.aarch64.maps import Bounds, MappedRange, leaf_runs, mapped_ranges
from gdbplugin.aarch64.registers import is_device, memory_type_without_hints
from gdbplugin.aarch64.tables import LeafRun, Malformed, Piece, Table, cut
from gdbplugin.aarch64.walk import table_memory, translate
from gdbplugin.kernel.lint_findings import Collector, LintFinding, LintMapping, of_alias, of_mapping
from gdbplugin.kernel.lint_places import Place, Places, names_in, overlapping
from gdbplugin.kernel.lint_rules import (
    EL0_KERNEL,
    HIERARCHY,
    MISMATCHED_ALIAS,
    MISSING_GUARD,
    WRITABLE_ALIAS,
    WRITABLE_TABLE,
    WRITABLE_TEXT,
    Rule,
    broken_by_mapping,
    executors,
    without_tables,
    writers,
)
from gdbplugin.kernel.lint_spaces import FoundSpace
from gdbplugin.kernel.owned_ranges import owned_ranges
from gdbplugin.kernel.selection import memory_type_of
from gdbplugin.kernel.target import Target
from gdbplugin.machine import PhysicalReadError, UnreadableMemoryError
from gdbplugin.records import NamedTuple, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAPS_AT_ONCE = 5
"""All spaces together may have as many tables as one map, and so many times as many entries."""


class _Range(NamedTuple):
    """A mapped range and its space."""

    space: FoundSpace
    mapped: MappedRange


class MappingLinter:
    """Walks spaces, and gives what breaks a rule to a collector."""

    def __init__(self, target: Target, collector: Collector, places: Places) -> None:
        self._target = target
        self._machine = target.machine
        self._collector = collector
        self._places = places
        self._bounds = Bounds(entries=MAPS_AT_ONCE * maps.MAXIMUM_ENTRIES)
        self._ranges: list[_Range] = []
        self._uses = FrameUses()
        self._tables: dict[int | None, dict[int, int]] = {}  # Size by address, by domain.
        self._found_at: set[tuple[Rule, int, int]] = set()
        self._malformed = 0
        self.leaves = self.tables = 0

    def read(self, spaces: Sequence[FoundSpace]) -> None:
        """Walk the spaces. Notes say what could not be judged, and where reading stopped."""
        for space in spaces:
            self._read(space)
        addresses = {domain: sorted(sizes) for domain, sizes in self._tables.items()}
        for one in self._ranges:
            self._tables_in(one, addresses)
        for alias in self._uses.aliases():
            self._alias(alias)
        self._notes(spaces)

    def _read(self, space: FoundSpace) -> None:
        control, memory = space.control, table_memory(self._machine, space.regime)
        tables: list[Table] = []
        found: list[MappedRange] = []
        limited: list[LeafRun] = []
        # What the tables above a leaf forbid is read in any case, to tell what would be forbidden.
        hierarchical = replace(control, hierarchical_disabled=False)
        runs = leaf_runs(memory, hierarchical, self._bounds, tables=tables)
        if control.hierarchical_disabled:
            runs = _plain(runs, limited)
        for entry in mapped_ranges(space.regime, runs):
            if isinstance(entry, Malformed):
                self._broken_entry(space, entry)
            else:
                found.append(entry)
        self._count_tables(space, tables)
        for mapped in found:
            self.leaves += sum(len(run.outputs) for run in mapped.runs)
            self._add_uses(space, mapped)
            if not space.permissions_unknown:
                self._by_attributes(space, mapped)
        if not space.permissions_unknown:
            self._by_places(space, found)
        self._hierarchy(space, limited)

    def _count_tables(self, space: FoundSpace, tables: Sequence[Table]) -> None:
        sizes = self._tables.setdefault(space.domain(non_secure=False), {})
        for table in tables:
            size = space.control.table_bytes(table.level)
            sizes[table.address] = max(size, sizes.get(table.address, 0))
        self.tables += len(tables)

    def _broken_entry(self, space: FoundSpace, entry: Malformed) -> None:
        """A root table where there is no memory breaks a rule; other malformed entries only fault."""
        control = space.control
        is_root = entry.size == 1 << control.input_bits
        if not is_root or space.regime.upper is None or self._is_unknown(space, entry.table):
            self._malformed += 1
            return
        level, what = space.regime.level, f"holds no tables: {entry.reason}"
        for core in space.cores:
            self._collector.add_setting(without_tables(self._machine, core, level, control, what), core)

    def _is_unknown(self, space: FoundSpace, address: int) -> bool:
        """Whether a table cannot be read from here, although the processor may read it."""
        try:
            table_memory(self._machine, space.regime).read_physical(address, 8)
        except UnreadableMemoryError:
            return True
        except PhysicalReadError:
            return False
        return False

    def _add_uses(self, space: FoundSpace, mapped: MappedRange) -> None:
        regime, found = space.regime, mapped.attributes
        unknown = space.permissions_unknown
        use = Use(
            space.domain(found.non_secure),
            _memory_words(space, found),
            frozenset() if unknown else writers(found, regime.level, regime.has_el0),
            frozenset() if unknown else executors(found, regime.level, regime.has_el0),
        )
        self._uses.add(use, pieces_at(mapped.pieces(), len(self._ranges)))
        self._ranges.append(_Range(space, mapped))

    def _by_attributes(self, space: FoundSpace, mapped: MappedRange) -> None:
        memory_type = memory_type_of(space.regime, space.mair, mapped.attributes.attribute_index)
        for rule in broken_by_mapping(
            mapped.attributes, memory_type, space.regime, upper=space.control.upper
        ):
            self._add(rule, _Range(space, mapped), mapped.start, mapped.end)

    def _by_places(self, space: FoundSpace, found: Sequence[MappedRange]) -> None:
        starts = [mapped.start for mapped in found]
        regime = space.regime
        self._found_at.clear()

        def within(places: Sequence[Place]) -> Iterator[tuple[Place, MappedRange]]:
            """The places in this space, each with what is mapped there."""
            here = (place for place in places if place.is_in(space))
            return ((place, mapped) for place in here for mapped in overlapping(found, starts, place))

        for place, mapped in within(self._places.text):
            if writers(mapped.attributes, regime.level, regime.has_el0):
                self._add_at(WRITABLE_TEXT, space, mapped, place)
        for place, mapped in within(() if space.control.upper else self._places.memory):
            if mapped.attributes.el0 != NO_ACCESS:
                self._add_at(EL0_KERNEL, space, mapped, place)
        for place, mapped in within(self._places.guards):
            self._add_at(MISSING_GUARD, space, mapped, place, f"the page below {place.name} is mapped")

    def _add_at(
        self, rule: Rule, space: FoundSpace, mapped: MappedRange, place: Place, what: str | None = None
    ) -> None:
        """Add what breaks a rule at a place: whole blocks and pages that have a part of it."""
        part = cut(mapped.runs, place.start, place.end)
        start, end = part[0].start, part[-1].start + part[-1].size
        # Several places may be in one page: the vectors, and the code that each core executes.
        if (rule, start, end) not in self._found_at:
            self._found_at.add((rule, start, end))
            self._add(rule, _Range(space, mapped), start, end, what or place.name)

    def _add(self, rule: Rule, one: _Range, start: int, end: int, what: str = "") -> None:
        def make() -> LintFinding:
            mapping = self._mapping(one, start, end)
            said = [word for word in (what, mapping.allowed, mapping.memory_type) if word]
            return of_mapping(rule, mapping, ", ".join(said))

        self._collector.add(rule, make)

    def _tables_in(self, one: _Range, addresses: dict[int | None, list[int]]) -> None:
        """Tables in frames that EL0 may write; `addresses` are those of all tables, by domain, in order."""
        space, mapped = one
        if not mapped.attributes.el0.write or not space.regime.has_el0 or space.permissions_unknown:
            return
        domain = space.domain(mapped.attributes.non_secure)
        sizes, known = self._tables.get(domain, {}), addresses.get(domain, [])
        for piece in mapped.pieces():
            for table in _overlapping_tables(piece, known, sizes):
                start = piece.start + max(0, table - piece.physical)
                end = min(piece.end, piece.start + table + sizes[table] - piece.physical)
                self._add(WRITABLE_TABLE, one, start, end, f"the table at {table:#x}")

    def _alias(self, alias: Alias) -> None:
        rule = MISMATCHED_ALIAS if alias.mismatched else WRITABLE_ALIAS
        sides = ((alias.owner, alias.start), (alias.other_owner, alias.other_start))
        size = alias.end - alias.physical

        def make() -> LintFinding:
            mapping, other = [
                self._mapping(self._ranges[owner], start, start + size) for owner, start in sides
            ]
            if alias.mismatched:
                words = [
                    _memory_words(self._ranges[owner].space, self._ranges[owner].mapped.attributes) or ""
                    for owner, _ in sides
                ]
            else:
                words = [mapping.allowed, other.allowed]
            return of_alias(rule, alias.physical, size, mapping, other, (words[0], words[1]))

        self._collector.add(rule, make)

    def _mapping(self, one: _Range, start: int, end: int) -> LintMapping:
        """A part of a mapped range, with the descriptor of its first address."""
        space, mapped = one
        regime, found = space.regime, mapped.attributes
        memory_type = memory_type_of(regime, space.mair, found.attribute_index)
        memory = MemoryAttributes(found, regime.levels, memory_type, None)
        walk = translate(self._machine, regime, start)
        leaf = walk.levels[-1] if walk.levels else None
        runs = cut(mapped.runs, start, end)
        return LintMapping(
            space=space.name,
            start=start,
            end=end,
            physical=runs[0].physical + start - runs[0].start,
            what=names_in(self._places.objects, start, end) or self._guess(one, start, memory),
            permissions=memory.permissions,
            memory_type=memory_type,
            shareability=found.shareability,
            level=None if leaf is None else leaf.level,
            descriptor=None if leaf is None else leaf.descriptor,
            descriptor_address=None if leaf is None else leaf.address,
        )

    def _guess(self, one: _Range, start: int, memory: MemoryAttributes) -> str:
        """What a range without a known owner looks like: the linear map, an identity map, devices."""
        first = cut(one.mapped.runs, start, start + 1)
        part = MappedRange(first[0].start, first[0].start + first[0].size, one.mapped.attributes, first)
        owned = owned_ranges(part, self._places.objects, one.space.control, memory, None)
        return next((found.owner for found in owned), "")

    def _hierarchy(self, space: FoundSpace, limited: Sequence[LeafRun]) -> None:
        """Attributes in table descriptors that would restrict a leaf, and do not, as TCR_ELx.HPDn is set.

        `limited` are the runs below such descriptors.
        """
        rules = space.control.rules
        known: dict[tuple[int, int], bool] = {}
        for run in limited:
            key = (run.bits, run.inherited)
            if key not in known:
                plain, meant = attributes(run.bits, 0, rules), attributes(run.bits, run.inherited, rules)
                known[key] = (plain.el0, plain.el1) != (meant.el0, meant.el1)
            if known[key]:
                mapped = MappedRange(run.start, run.start + run.size, attributes(run.bits, 0, rules), [run])
                what = f"TCR_EL{space.regime.level}.HPD is set: what the tables above forbid is allowed"
                self._add(HIERARCHY, _Range(space, mapped), run.start, run.start + run.size, what)

    def _notes(self, spaces: Sequence[FoundSpace]) -> None:
        diagnostics = self._target.diagnostics
        if self._bounds.stopped_at is not None:
            diagnostics.add_note(
                f"reading stopped at {self._bounds.stopped_at:#x}: at most {self._bounds.limit} are read, as "
                "tables may lead back to themselves"
            )
        if self._malformed:
            diagnostics.add_note(
                f"{self._malformed:,} table entries cannot be followed and only fault: see tinyos maps"
            )
        for name in sorted({space.regime.name for space in spaces if space.permissions_unknown}):
            diagnostics.add_note(
                f"permissions of the {name} regime come from PIR registers, which are not decoded here: only "
                "memory types and registers were judged there"
            )
        if any(space.regime.second_stage for space in spaces):
            diagnostics.add_note("what stage 2 allows was not looked at: the rules are about stage 1")


def _plain(runs: Iterable[LeafRun | Malformed], limited: list[LeafRun]) -> Iterator[LeafRun | Malformed]:
    """The runs without what they inherit, as TCR_ELx.HPDn has it; those that inherit go to `limited`."""
    for run in runs:
        if isinstance(run, LeafRun) and run.inherited:
            limited.append(run)
            run = run._replace(inherited=0)
        yield run


def _memory_words(space: FoundSpace, found: Attributes) -> str | None:
    """The attributes that all mappings of a frame must have in common, in words; None if not known."""
    if space.mair is None:
        return None
    memory_type = memory_type_without_hints(space.mair >> 8 * found.attribute_index & 0xFF)
    if is_device(memory_type) or memory_type.startswith("Normal non-cacheable"):
        return memory_type  # Outer shareable, whatever the descriptor says.
    return f"{memory_type}, {found.shareability}"


def _overlapping_tables(piece: Piece, addresses: Sequence[int], sizes: dict[int, int]) -> Iterator[int]:
    """The tables that have a part in the output addresses of a piece."""
    end = piece.physical + piece.end - piece.start
    index = bisect_left(addresses, piece.physical)
    if index and addresses[index - 1] + sizes[addresses[index - 1]] > piece.physical:
        yield addresses[index - 1]
    while index < len(addresses) and addresses[index] < end:
        yield addresses[index]
        index += 1
