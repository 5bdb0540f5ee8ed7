"""The mappings of an address space as JSON: written out here, for there may be very many of them."""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.kernel.areas import Area
from gdbplugin.render.mmu import attribute_content

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class MappingObjects:
    """The pieces of a regime's areas as a list of objects, the first `limit` of them or (None) all.

    With `physical` each has the `alias` at which it is seen.
    """

    def __init__(
        self,
        areas: Sequence[Area],
        regime: TranslationRegime,
        physical: int | None,
        limit: int | None,
    ) -> None:
        self._areas = areas
        self._regime = regime
        self._physical = physical
        self._limit = limit

    def json(self) -> str:
        """The text."""
        # Not at the top: the view's text has no use for it.
        import json

        texts: list[str] = []
        physical = self._physical
        for area in self._areas:
            # What all pieces have in common is made once.
            tail = json.dumps(_common(area, self._regime))[1:]
            for start, end, output, sizes in area.pieces():
                leaves = ", ".join([f'"{size}": {count}' for size, count in sizes.items()])
                alias = "" if physical is None else f'"alias": {start + physical - output}, '
                texts.append(
                    f'{{"start": {start}, "end": {end}, "size": {end - start}, "physical": {output}, '
                    f'"leaves": {{{leaves}}}, {alias}{tail}'
                )
            if self._limit is not None and len(texts) >= self._limit:
                break
        return "[" + ", ".join(texts[: self._limit]) + "]"


def _common(area: Area, regime: TranslationRegime) -> dict[str, Any]:
    return {
        **attribute_content(area.attributes, regime, area.memory_type, area.asid),
        "owner": area.owner,
        "kind": area.place.kind if area.place else None,
        "task": task_of(area),
    }


def task_of(area: Area) -> int | None:
    """The task that an area belongs to."""
    if area.place is not None and area.place.task is not None:
        return area.place.task
    return None if area.asid is None else area.task
