"""Watching all pages of address spaces: stop when one gets permissions that match a pattern.

All tables are watched, whole. They are kept as they were; where one is written, only what its changed
descriptors lead to is walked again, once by the old tables and once by the new ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gdbplugin.aarch64.descriptor import Attributes
from gdbplugin.aarch64.maps import leaf_attributes
from gdbplugin.aarch64.tables import LeafRun, Malformed, Table, read_entries
from gdbplugin.aarch64.walk import level_of
from gdbplugin.kernel.maps import KnownSpace
from gdbplugin.kernel.selection import View
from gdbplugin.kernel.spaces import PermissionFilter
from gdbplugin.kernel.translate import ExplainedLevel
from gdbplugin.kernel.translation_watch import (
    DescriptorChange,
    Place,
    TranslationChange,
    attribute_words,
    require_watchable,
)
from gdbplugin.machine import Machine, PhysicalReadError, SelectionError
from gdbplugin.records import NamedTuple

MOST_TABLES = 256
"""Each table takes a watchpoint, which the debugger inserts and removes at every stop."""
_MOST_USES = 16 * MOST_TABLES
_WRITABLE_AND_EXECUTABLE = "w+x"


class _Use(NamedTuple):
    """A table in an address space, by the space's number; with what the tables above it limit."""

    space: int
    table: Table


class _Part(NamedTuple):
    """What a descriptor leads to: tables, and blocks and pages in the order of their addresses."""

    uses: list[_Use]
    runs: list[LeafRun]


class PermissionSubject:
    """All pages of address spaces, or of a range of addresses, that get permissions as in `pattern`.

    `whose` says in its title which address spaces they are; empty for all that are known.
    Raises `SelectionError` for more than `MOST_TABLES` tables, and `MachineGoneError`.
    """

    def __init__(
        self,
        view: View,
        spaces: Sequence[KnownSpace],
        pattern: str,
        within: tuple[int, int] | None = None,
        whose: str = "",
    ) -> None:
        require_watchable(view)
        self._view = view
        self._spaces = spaces
        self._within = within
        letters = "?wx" if pattern == _WRITABLE_AND_EXECUTABLE else pattern
        self._filter = PermissionFilter(letters, view.regime)
        self._contents: dict[int, bytes] = {}
        self._uses: dict[int, set[_Use]] = {}
        where = whose + ("" if within is None else f" in {within[0]:#x}..{within[1]:#x}")
        what = "writable and executable" if letters == "?wx" else f"{pattern} (permissions)"
        self.title = f"any page{where} that becomes {what}"
        self.count = 0
        """How many blocks and pages have such permissions already."""
        for number, space in enumerate(spaces):
            control = space.control
            if control.walks_disabled or control.defect is not None or control.base >> control.output_bits:
                continue
            root = Table(control.first_address, control.start_level, control.root_address, 0, 0, 0)
            bounds = self._bounds(root, number, None)
            if bounds[0] >= bounds[1]:
                continue
            part = self._part(view.machine, _Use(number, root), bounds)
            self._add([_Use(number, root), *part.uses])
            self.count += sum(len(run.outputs) for run in part.runs if self._matches(number, run))

    def places(self) -> tuple[Place, ...]:
        """See `Subject`."""
        return tuple(
            Place(address, len(data), address, f"the table at {address:#x}")
            for address, data in self._contents.items()
            if address in self._uses
        )

    def look(self, machine: Machine, place: Place | None) -> list[TranslationChange]:
        """See `Subject`. Raises `SelectionError` too, if there are more tables now than can be watched."""
        tables = [place.table] if place is not None else list(self._uses)
        return [change for table in tables if table in self._uses for change in self._look_at(machine, table)]

    def _look_at(self, machine: Machine, table: int) -> Iterator[TranslationChange]:
        """What the changes of a table's descriptors lead to, in each address space that has the table."""
        old = self._contents[table]
        new = self._contents[table] = machine.read_physical(table, len(old))
        changed = [
            place // 8 for place in range(0, len(old), 8) if old[place : place + 8] != new[place : place + 8]
        ]
        # From the root on: a table may be its own entry, and stand at several levels.
        for use in sorted(self._uses[table], key=lambda use: (use.space, use.table.level, use.table.start)):
            for index in changed:
                if use not in self._uses.get(table, ()):
                    break  # What it stood below has changed, and with it what it led to.
                bounds = self._bounds(use.table, use.space, index)
                self._contents[table] = old
                before = self._part(machine, use, bounds)
                self._contents[table] = new
                after = self._part(machine, use, bounds)
                # In this order: a table that is only used elsewhere now stays known.
                self._add(after.uses)
                self._drop(set(before.uses) - set(after.uses))
                yield from self._changes(use, index, (old, new), (before, after))

    def _changes(
        self, use: _Use, index: int, contents: tuple[bytes, bytes], parts: tuple[_Part, _Part]
    ) -> Iterator[TranslationChange]:
        """The change that a descriptor made, if a page matches now that did not."""
        before, after = parts
        covered = [(run.start, run.start + run.size) for run in before.runs if self._matches(use.space, run)]
        for run in after.runs:
            if not self._matches(use.space, run):
                continue
            for start, end in uncovered(run.start, run.start + run.size, covered):
                yield TranslationChange(
                    start,
                    end - start,
                    self._text(use.space, before.runs, start),
                    self._text(use.space, after.runs, start),
                    (self._descriptor(use, index, contents),),
                )
                return  # One descriptor made them all: the first says enough.

    def _part(self, machine: Machine, use: _Use, bounds: tuple[int, int]) -> _Part:
        """What a table leads to for a range of input addresses."""
        control = self._spaces[use.space].control
        part = _Part([], [])
        pending = [use.table]
        while pending:
            table = pending.pop()
            data = self._content(machine, table.address, control.table_bytes(table.level))
            for entry in read_entries(control, table, data, bounds) if data else ():
                if isinstance(entry, Table):
                    # What counts is where it stands, not which descriptor leads there.
                    entry = entry._replace(entry=0, descriptor=0)
                    part.uses.append(_Use(use.space, entry))
                    pending.append(entry)
                    self._limit(len(part.uses), _MOST_USES)
                elif not isinstance(entry, Malformed):
                    part.runs.append(entry)
        part.runs.sort(key=lambda run: run.start)
        return part

    def _content(self, machine: Machine, address: int, size: int) -> bytes:
        """A table as it was when it was last looked at; empty if it cannot be read."""
        if address not in self._contents:
            self._limit(len(self._contents) + 1, MOST_TABLES)
            try:
                self._contents[address] = machine.read_physical(address, size)
            except PhysicalReadError:
                return b""  # `maps` shows it as malformed.
        return self._contents[address]

    def _limit(self, count: int, most: int) -> None:
        if count > most:
            raise SelectionError(
                f"there are more than {MOST_TABLES} tables, and each takes a watchpoint: watch a part, by "
                "--range START..END or --asid N"
            )

    def _bounds(self, table: Table, space: int, index: int | None) -> tuple[int, int]:
        """The input addresses of a table, or of one of its descriptors, that are watched."""
        control = self._spaces[space].control
        shift = control.shift(table.level)
        count = control.table_bytes(table.level) // 8
        first, last = (0, count) if index is None else (index, index + 1)
        start, end = table.start + (first << shift), table.start + (last << shift)
        if self._within is None:
            return start, end
        return max(start, self._within[0]), min(end, self._within[1])

    def _add(self, uses: Sequence[_Use]) -> None:
        for use in uses:
            self._uses.setdefault(use.table.address, set()).add(use)

    def _drop(self, uses: set[_Use]) -> None:
        for use in uses:
            left = self._uses.get(use.table.address, set())
            left.discard(use)
            if not left:
                self._uses.pop(use.table.address, None)
                self._contents.pop(use.table.address, None)

    def _attributes(self, space: int, run: LeafRun) -> Attributes:
        return leaf_attributes(self._spaces[space].regime, run.start, run.bits, run.inherited)

    def _matches(self, space: int, run: LeafRun) -> bool:
        return self._filter.matches(self._attributes(space, run))

    def _text(self, space: int, runs: Sequence[LeafRun], address: int) -> str:
        """What an address is translated to."""
        for run in runs:
            if run.start <= address < run.start + run.size:
                offset = address - run.start
                output = run.outputs[offset // run.leaf_size] + offset % run.leaf_size
                return f"{output:#x}, {attribute_words(self._view, self._attributes(space, run))}"
        return "not mapped"

    def _descriptor(self, use: _Use, index: int, contents: tuple[bytes, bytes]) -> DescriptorChange:
        control, table = self._spaces[use.space].control, use.table
        place = slice(8 * index, 8 * index + 8)
        old, new = (int.from_bytes(data[place], control.byte_order) for data in contents)
        steps = [level_of(control, table.level, table.address, index, value) for value in (old, new)]
        meanings = [ExplainedLevel(step, control).meaning for step in steps]
        return DescriptorChange(table.level, table.address, index, steps[0].address, old, new, *meanings)


def uncovered(start: int, end: int, covered: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of a range that ranges in ascending order do not cover."""
    for first, last in covered:
        if last <= start or first >= end:
            continue
        if start < first:
            yield start, first
        start = max(start, last)
    if start < end:
        yield start, end
