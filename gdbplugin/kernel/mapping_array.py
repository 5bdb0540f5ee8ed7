"""The mappings of an address space as a JSON array: its text is made here, as there may be very many."""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.aarch64.access import MemoryAttributes
from gdbplugin.kernel.owned_ranges import Mapping, OwnedRange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class MappingArray:
    """The mappings of some ranges, the first `limit` or (None) all; see `commands.encoding.Encoded`."""

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
            # What several mappings have in common is made once.
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
        "kind": None if found.object is None else found.object.kind,
        "task": found.owner_task,
    }
