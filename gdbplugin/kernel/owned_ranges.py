"""The mapped ranges of an address space by their owners: the objects in them, from the kernel's records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import eq

from gdbplugin.aarch64.access import MemoryAttributes
from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import Attributes
from gdbplugin.aarch64.maps import MappedRange
from gdbplugin.aarch64.registers import is_device
from gdbplugin.aarch64.tables import LeafRun, Piece, count_pieces_of, cut, pieces_of
from gdbplugin.kernel.memory_objects import MemoryObject, MemoryObjects
from gdbplugin.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_new = tuple.__new__  # Takes half as long as calling the class, which matters for very many.


class _Owned:
    """What a mapping and a range have in common: attributes, an owner, and the task whose space it is in."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def memory(self) -> MemoryAttributes: ...

        @property
        def object(self) -> MemoryObject | None: ...

        @property
        def task(self) -> int | None: ...

    @property
    def kind(self) -> str | None:
        """The kind of what is there, such as stack, guard, lazy range; null if it is not known."""
        return None if self.object is None else self.object.kind

    @property
    def attributes(self) -> Attributes:
        """The attributes in the descriptors."""
        return self.memory.leaf

    @property
    def memory_type(self) -> str | None:
        """The memory type; None if MAIR_ELx is not known."""
        return self.memory.memory_type

    @property
    def asid(self) -> int | None:
        """The ASID; None for global memory."""
        return self.memory.asid

    @property
    def owner_task(self) -> int | None:
        """The TinyOS task that it belongs to; null if there is none or it is not known."""
        if self.object is not None and self.object.task is not None:
            return self.object.task
        # Global memory is in the address spaces of all tasks.
        return None if self.memory.asid is None else self.task


class _MappingFields(NamedTuple):
    """The fields of a `Mapping`: a named tuple, as there may be very many."""

    start: int
    """First input address."""
    end: int
    """Exclusive end."""
    physical: int
    """Output address of the first input address."""
    sizes: dict[int, int]
    """Number of blocks and pages that it consists of, or has a part of, by their size in bytes."""
    memory: MemoryAttributes
    owner: str
    """What is there, in words; empty if it is not known."""
    object: MemoryObject | None
    task: int | None
    """The task whose address space it is in."""
    alias: int | None
    """With --find-physical: the address at which that physical address is mapped."""


class Mapping(_Owned, _MappingFields):
    """A range of input addresses that maps to one range of output addresses with one set of attributes."""

    __slots__ = ()
    json_fields = (
        "start",
        "end",
        "size",
        "physical",
        "sizes as leaves",
        "alias",
        "memory",
        "owner",
        "kind",
        "owner_task as task",
    )
    json_merged = ("memory",)
    json_optional = ("alias",)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


class _OwnedRangeFields(NamedTuple):
    """The fields of an `OwnedRange`."""

    start: int
    end: int
    memory: MemoryAttributes
    owner: str
    object: MemoryObject | None
    task: int | None
    runs: list[LeafRun]
    sought: int | None = None


class OwnedRange(_Owned, _OwnedRangeFields):
    """A range of input addresses (`end` exclusive) with one set of attributes and one owner.

    `runs` are the leaves that overlap it; they may be in many pieces. `task` is the task whose address space
    it is in. `sought` is the physical address whose aliases the user asked for.
    """

    __slots__ = ()

    @property
    def physical(self) -> int:
        """The output address of `start`."""
        first = self.runs[0]
        return first.physical + self.start - first.start

    @property
    def alias(self) -> int | None:
        """The input address that maps to the `sought` physical address."""
        return None if self.sought is None else self.start + self.sought - self.physical

    @property
    def piece_count(self) -> int:
        """The number of pieces, see `Piece`."""
        return count_pieces_of(self.runs)

    def pieces(self) -> Iterator[Piece]:
        """The parts that map to one range of output addresses each."""
        for piece in pieces_of(self.runs):
            low, high = max(piece.start, self.start), min(piece.end, self.end)
            if (low, high) == (piece.start, piece.end):
                yield piece
            else:
                yield Piece(low, high, piece.physical + low - piece.start, piece.sizes)

    def mappings(self) -> Iterator[Mapping]:
        """The pieces as mappings."""
        _, _, memory, owner, here, task, _, sought = self
        for start, end, physical, sizes in self.pieces():
            alias = None if sought is None else start + sought - physical
            yield _new(Mapping, (start, end, physical, sizes, memory, owner, here, task, alias))

    def part(self, start: int, end: int) -> OwnedRange:
        """The part of it between two addresses, which must overlap it."""
        start, end = max(self.start, start), min(self.end, end)
        if (start, end) == (self.start, self.end):
            return self
        return self._replace(start=start, end=end, runs=cut(self.runs, start, end))

    def containing(self, physical: int) -> Iterator[OwnedRange]:
        """The pieces that contain a physical address, which is their `sought`."""
        if any(physical & -run.leaf_size in run.outputs for run in self.runs):
            for piece in self.pieces():
                if piece.physical <= physical < piece.physical + piece.end - piece.start:
                    yield self.part(piece.start, piece.end)._replace(sought=physical)


def owned_ranges(
    found: MappedRange,
    objects: MemoryObjects,
    control: TranslationControl,
    memory: MemoryAttributes,
    task: int | None,
) -> Iterator[OwnedRange]:
    """Split a mapped range by the owners of its parts: those on record, or what the addresses look like.

    `task` is the task whose address space it is in.
    """
    for low, high, here in objects.split(found.start, found.end):
        inside = found.runs
        if (low, high) != (found.start, found.end):
            inside = cut(inside, low, high)
        if here is None:
            yield from _guess_owners(OwnedRange(low, high, memory, "", None, task, inside), control)
        else:
            yield OwnedRange(low, high, memory, here.name, here, task, inside)


def _guess_owners(whole: OwnedRange, control: TranslationControl) -> Iterator[OwnedRange]:
    """Split a range without a known owner: devices, identity map and linear map can be recognized."""
    if is_device(whole.memory_type):
        yield whole._replace(owner="device")
        return
    owners = {0: "identity map"}  # By the offset of input addresses to output addresses.
    if control.upper:
        owners[control.first_address] = "linear map"
    end = 1 << control.output_bits
    if not any(_has_offset(run, offset, end) for run in whole.runs for offset in owners):
        yield whole
        return
    pending: OwnedRange | None = None
    for piece in whole.pieces():
        owner = owners.get(piece.start - piece.physical, "")
        if pending is not None and pending.owner == owner:
            pending = pending._replace(end=piece.end)
            continue
        if pending is not None:
            yield whole.part(pending.start, pending.end)._replace(owner=pending.owner)
        pending = whole._replace(start=piece.start, end=piece.end, owner=owner)
    if pending is not None:
        yield whole.part(pending.start, pending.end)._replace(owner=pending.owner)


def _has_offset(run: LeafRun, offset: int, end: int) -> bool:
    """Whether the input address of some leaf is its output address, which is below `end`, plus `offset`."""
    first = run.start - offset
    if not 0 <= first < end:
        return False
    if run.piece_count == 1:
        return first == run.physical
    return any(map(eq, run.outputs, range(first, first + run.size, run.leaf_size)))


class MappingArray:
    """The mappings of some ranges, at most `limit` (None: all), which makes its own JSON."""

    json_item = Mapping

    def __init__(self, ranges: Sequence[OwnedRange], limit: int | None) -> None:
        self._ranges = ranges
        self._limit = limit

    def json(self) -> str:
        """The JSON text."""
        # Not at the top: no view needs it.
        import json

        texts: list[str] = []
        memories: dict[int, str] = {}
        for found in self._ranges:
            # The text that several mappings have in common is made once.
            memory = memories.get(id(found.memory))
            if memory is None:
                memory = memories[id(found.memory)] = json.dumps(_memory(found.memory))[1:-1]
            tail = f"{memory}, {json.dumps(_owner(found))[1:]}"
            sought = found.sought
            for start, end, output, sizes in found.pieces():
                leaves = ", ".join([f'"{size}": {count}' for size, count in sizes.items()])
                alias = "" if sought is None else f'"alias": {start + sought - output}, '
                texts.append(
                    f'{{"start": {start}, "end": {end}, "size": {end - start}, "physical": {output}, '
                    f'"leaves": {{{leaves}}}, {alias}{tail}'
                )
            if self._limit is not None and len(texts) >= self._limit:
                break
        return "[" + ", ".join(texts[: self._limit]) + "]"


def _memory(memory: MemoryAttributes) -> dict[str, Any]:
    leaf = memory.leaf
    return {
        "permissions": memory.permissions,
        "permissions_with_pan": memory.permissions_with_pan,
        "el0": memory.el0,
        "el1": memory.el1,
        "el1_with_pan": memory.el1_with_pan,
        "memory_type": memory.memory_type,
        "shareability": leaf.shareability,
        "global": leaf.is_global,
        "asid": memory.asid,
        "access_flag": leaf.access_flag,
        "dirty": leaf.dirty,
        "contiguous": leaf.contiguous,
        "non_secure": leaf.non_secure,
        "guarded": leaf.guarded,
    }


def _owner(found: OwnedRange) -> dict[str, Any]:
    return {
        "owner": found.owner,
        "kind": found.kind,
        "task": found.owner_task,
    }
