"""The mappings of an address space as a JSON array: its text is made here, as there may be very many."""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.aarch64.memory_attributes import MemoryAttributes
from gdbplugin.kernel.areas import Area, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class MappingArray:
    """The mappings of areas, the first `limit` of them or (None) all; see `commands.encoding.Encoded`."""

    json_item = Mapping

    def __init__(self, areas: Sequence[Area], limit: int | None) -> None:
        self._areas = areas
        self._limit = limit

    def json(self) -> str:
        """The JSON text."""
        # Not at the top: no view needs it.
        import json

        texts: list[str] = []
        memories: dict[int, str] = {}
        for area in self._areas:
            # What several mappings have in common is made once.
            memory = memories.get(id(area.memory))
            if memory is None:
                memory = memories[id(area.memory)] = json.dumps(_memory(area.memory))[1:-1]
            tail = f"{memory}, {json.dumps(_object(area))[1:]}"
            sought = area.sought
            for start, end, output, sizes in area.pieces():
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


def _object(area: Area) -> dict[str, Any]:
    return {
        "owner": area.owner,
        "kind": None if area.place is None else area.place.kind,
        "task": area.owner_task,
    }
