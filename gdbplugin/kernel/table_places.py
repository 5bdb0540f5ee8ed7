"""Where the kernel can write a translation table: the virtual addresses of a physical range.

A debugger watches virtual addresses, and a walk gives the physical ones of the tables.
"""

from __future__ import annotations

from gdbplugin.aarch64.maps import Bounds, leaf_runs, mapped_ranges
from gdbplugin.aarch64.regime import TranslationRegime
from gdbplugin.aarch64.tables import Malformed
from gdbplugin.machine import Machine

_MOST_PLACES = 4
"""So many virtual addresses of one physical range are enough: a kernel has one or two."""


class WritablePlaces:
    """The virtual addresses at which the privileged level of a regime can write physical memory.

    All tables of the regime are read at the first question, within the bounds of a map.
    """

    def __init__(self, machine: Machine, regime: TranslationRegime) -> None:
        self._machine = machine
        self._regime = regime
        self._pieces: list[list[tuple[int, int, int]]] | None = None

    def of(self, physical: int, length: int) -> tuple[int, ...]:
        """Where `length` bytes at a physical address can be written; empty if nowhere.

        The upper range of addresses comes first; the lower one counts only where the upper has none: there a
        task's own pages are, which another address space does not have. Raises `MachineGoneError`.
        """
        if not self._regime.enabled:
            return (physical,)
        if self._pieces is None:
            self._pieces = self._read()
        for pieces in self._pieces:
            found = [
                start + physical - output
                for start, size, output in pieces
                if output <= physical and physical + length <= output + size
            ]
            if found:
                return tuple(found[:_MOST_PLACES])
        return ()

    def _read(self) -> list[list[tuple[int, int, int]]]:
        """The writable pieces of each range of addresses: start, size, physical address."""
        bounds = Bounds()
        found = []
        for control in reversed(self._regime.controls):
            entries = leaf_runs(self._machine, control, bounds)
            found.append(
                [
                    (piece.start, piece.end - piece.start, piece.physical)
                    for part in mapped_ranges(self._regime, entries)
                    if not isinstance(part, Malformed) and part.attributes.el1.write
                    for piece in part.pieces()
                ]
            )
        return found
