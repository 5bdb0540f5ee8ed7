"""The translation table walk: of one address, and of everything a table maps (DDI 0487, D8.2).

Bounded by construction: a walk descends at most four levels, and the walk of a whole map stops
after `MAXIMUM_TABLES` tables, as a table that contains itself would otherwise never end. What the
tables hold is data: a malformed descriptor is reported in its place and nothing is raised for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gdbplugin.aarch64.descriptor import (
    ADDRESS_BITS,
    LAST_LEVEL,
    TABLE_OR_PAGE,
    VALID,
    Attributes,
    Kind,
    attributes,
    inherit,
    kind_of,
)
from gdbplugin.aarch64.regime import TranslationControl, TranslationRegime
from gdbplugin.machine import Machine, PhysicalReadError

MAXIMUM_TABLES = 16_384


@dataclass(frozen=True)
class Level:
    """One step of a walk: the descriptor that was read, and where."""

    level: int
    table: int
    index: int
    descriptor: int
    kind: Kind

    @property
    def address(self) -> int:
        """Physical address of the descriptor."""
        return self.table + 8 * self.index


@dataclass(frozen=True)
class Fault:
    """Why an address has no translation: the architecture's kind of fault, its level, and the reason."""

    kind: str
    level: int
    reason: str


@dataclass(frozen=True)
class Translation:
    """The outcome of one walk.

    `output` is the physical address, None when an access would fault. `size` is the number of bytes
    that the leaf found (or the missing entry) spans around the input address.
    """

    input: int
    output: int | None
    size: int
    levels: tuple[Level, ...] = ()
    attributes: Attributes | None = None
    fault: Fault | None = None


class Leaf(NamedTuple):
    """A block or page of a map. `inherited` are the hierarchical attributes of the tables above it."""

    start: int
    physical: int
    size: int
    level: int
    descriptor: int
    inherited: int


class Malformed(NamedTuple):
    """A place in a map that cannot mean what it says: a reserved descriptor, an unreadable table."""

    start: int
    size: int
    level: int
    table: int
    entry: int
    descriptor: int
    reason: str


def leaf_attributes(regime: TranslationRegime, leaf: Leaf) -> Attributes:
    """The effective attributes of a leaf of one of the regime's maps."""
    return _attributes(regime, leaf.descriptor, leaf.inherited)


def _attributes(regime: TranslationRegime, descriptor: int, inherited: int) -> Attributes:
    return attributes(
        descriptor,
        inherited,
        has_el0=regime.has_el0,
        write_implies_no_execute=regime.write_implies_no_execute,
    )


def translate(machine: Machine, regime: TranslationRegime, address: int) -> Translation:
    """Translate one 64-bit input address, reading one descriptor per level.

    An access flag fault still carries the attributes of the leaf, as the page is there and software
    will set the flag. Only losing the machine itself is raised.
    """
    if not regime.enabled:
        return _translate_without_mmu(regime, address)
    control = regime.control(address)
    obstacle = _obstacle(control, address)
    if obstacle is not None:
        return Translation(address, None, 1, fault=Fault("translation", 0, obstacle))
    return _walk(machine, regime, control, address)


def _translate_without_mmu(regime: TranslationRegime, address: int) -> Translation:
    """With the MMU off an address is its own translation, if the outputs are wide enough (D8.2.1)."""
    if address >> regime.output_bits:
        reason = f"the MMU is off and the address has more than {regime.output_bits} bits"
        return Translation(address, None, 1, fault=Fault("address size", 0, reason))
    return Translation(address, address, 1 << regime.output_bits)


def _obstacle(control: TranslationControl, address: int) -> str | None:
    """Why no walk begins for `address`, or None."""
    if control.defect is not None:
        return control.defect
    if not control.covers(address):
        return f"the address has more than the {control.input_bits} bits that {control.name} translates"
    if control.walks_disabled:
        return f"walks by {control.name} are disabled (EPD)"
    return None


def _walk(
    machine: Machine, regime: TranslationRegime, control: TranslationControl, address: int
) -> Translation:
    levels: list[Level] = []
    table, inherited = control.root_address, 0

    def faulted(kind: str, level: int, reason: str, found: Attributes | None = None) -> Translation:
        return Translation(
            address, None, 1 << control.shift(level), tuple(levels), found, Fault(kind, level, reason)
        )

    if table >> control.output_bits:
        return faulted("address size", 0, f"{control.name} points beyond {control.output_bits} bits")
    for level in range(control.start_level, LAST_LEVEL + 1):
        shift = control.shift(level)
        index = (address >> shift) & (control.table_bytes(level) // 8 - 1)
        try:
            descriptor = int.from_bytes(machine.read_physical(table + 8 * index, 8), "little")
        except PhysicalReadError as error:
            return faulted("external abort", level, str(error))
        kind = kind_of(descriptor, level, control.block_levels)
        levels.append(Level(level, table, index, descriptor, kind))
        if kind in (Kind.INVALID, Kind.RESERVED):
            return faulted("translation", level, f"{kind.value} descriptor {descriptor:#x} at level {level}")
        low_bits = control.granule_bits if kind is Kind.TABLE else shift
        output = control.output_address(descriptor, low_bits)
        if output >> control.output_bits:
            return faulted(
                "address size", level, f"output address {output:#x} exceeds {control.output_bits} bits"
            )
        if kind is not Kind.TABLE:
            found = _attributes(regime, descriptor, inherited)
            if not found.access_flag and not control.hardware_access_flag:
                return faulted("access flag", level, "the access flag is clear", found)
            offset = address & ((1 << shift) - 1)
            return Translation(address, output | offset, 1 << shift, tuple(levels), found)
        if not control.hierarchical_disabled:
            inherited = inherit(inherited, descriptor)
        table = output
    raise AssertionError("the last level holds no tables")


class _Table(NamedTuple):
    """A table still to be visited, and the descriptor that points to it."""

    start: int
    level: int
    address: int
    inherited: int
    entry: int
    descriptor: int

    def malformed(self, size: int, reason: str) -> Malformed:
        return Malformed(self.start, size, self.level, self.address, self.entry, self.descriptor, reason)


def leaves(
    machine: Machine,
    control: TranslationControl,
    maximum_tables: int = MAXIMUM_TABLES,
    visited: list[int] | None = None,
) -> Iterator[Leaf | Malformed]:
    """Everything that one control's tables map, in ascending order of input address.

    Each table is read once, whole, in one read. What cannot be followed is yielded as `Malformed`
    in its place. A disabled or defective control maps nothing. The physical addresses of the tables
    that were read are added to `visited`.
    """
    if control.walks_disabled or control.defect is not None:
        return
    root = _Table(control.first_address, control.start_level, control.root_address, 0, 0, 0)
    # What is still to come, the next last: tables to visit, and entries found between them.
    pending: list[_Table | list[Leaf | Malformed]] = [root]
    remaining = maximum_tables
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            yield from item
            continue
        size = control.table_bytes(item.level) // 8 << control.shift(item.level)
        if remaining == 0:
            yield item.malformed(size, f"the walk stopped here, {maximum_tables} tables being its limit")
            return
        remaining -= 1
        try:
            data = machine.read_physical(item.address, control.table_bytes(item.level))
        except PhysicalReadError as error:
            yield item.malformed(size, str(error))
            continue
        if visited is not None:
            visited.append(item.address)
        pending.extend(reversed(_entries(control, item, data)))


def _entries(
    control: TranslationControl, table: _Table, data: bytes
) -> list[_Table | list[Leaf | Malformed]]:
    """The valid entries of one table in order, those between two tables gathered in a list."""
    # Told apart by bare arithmetic: a whole map has a hundred thousand entries and more.
    level, inherited = table.level, table.inherited
    shift = control.shift(level)
    span, limit = 1 << shift, 1 << control.output_bits
    leaf_low, table_low = span - 1, (1 << control.granule_bits) - 1
    leaf_bit = TABLE_OR_PAGE if level == LAST_LEVEL else 0
    blocks_allowed = level == LAST_LEVEL or level in control.block_levels
    entries: list[_Table | list[Leaf | Malformed]] = []
    between: list[Leaf | Malformed] = []
    address = table.start - span
    for index, descriptor in enumerate(struct.unpack(f"<{len(data) // 8}Q", data)):
        address += span
        if not descriptor & VALID:
            continue
        is_leaf = descriptor & TABLE_OR_PAGE == leaf_bit
        output = descriptor & ADDRESS_BITS & ~(leaf_low if is_leaf else table_low)
        if output >= limit:
            reason = f"output address {output:#x} exceeds {control.output_bits} bits"
            between.append(Malformed(address, span, level, table.address, index, descriptor, reason))
        elif is_leaf and blocks_allowed:
            between.append(Leaf(address, output, span, level, descriptor, inherited))
        elif is_leaf or level == LAST_LEVEL:
            reason = "reserved descriptor"
            between.append(Malformed(address, span, level, table.address, index, descriptor, reason))
        else:
            if between:
                entries.append(between)
                between = []
            below = inherited if control.hierarchical_disabled else inherit(inherited, descriptor)
            entries.append(_Table(address, level + 1, output, below, index, descriptor))
    if between:
        entries.append(between)
    return entries
