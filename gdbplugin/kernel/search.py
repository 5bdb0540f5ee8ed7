"""Every place of memory that has a value, a text or bytes, or a pointer into a range: `tinyos search`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.locator import Locator
from gdbplugin.kernel.matching import WORD_BYTES, Pattern, matches
from gdbplugin.kernel.place import Place
from gdbplugin.kernel.search_memory import Run, Sources
from gdbplugin.kernel.selection import Selection
from gdbplugin.kernel.target import Target
from gdbplugin.machine import SelectionError
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Scope = Literal["physical", "mapped", "range"]

MAPPED, PHYSICAL = "mapped", "physical"
_DEFAULT_LIMIT = 50
_SIZES = (1, 2, 4, 8)
_MOST_BYTES = 4096
"""Of a pattern."""
_QUOTES = "\"'"
_BYTES = re.compile(r"[0-9a-fA-F]{2}(?: [0-9a-fA-F]{2})+")


@dataclass(frozen=True)
class Hit:
    """A place that has what was searched."""

    json_fields = ("found", "place")
    json_merged = ("place",)

    found: int | None
    """The value there: with --pointer-to the pointer; null for a text or bytes."""
    place: Place


@dataclass(frozen=True)
class Search(Diagnosed):
    """The places that have what was searched, in the order in which memory was searched."""

    json_fields = ("pattern", "size", "alignment", "scope", "searched", "hits", "limited", "interrupted")

    pattern: str
    """What was searched, in words."""
    size: int
    """Its size in bytes."""
    alignment: int
    """A hit is at a multiple of this."""
    scope: Scope
    """Where: all physical memory, what the known address spaces map, or a range of virtual addresses."""
    searched: int
    """Bytes that were searched, with those that are known to be zero as the guest never wrote them."""
    hits: tuple[Hit, ...]
    """The places, each with what `tinyos where` tells of it."""
    limited: bool
    """Whether the search ended at --limit hits, so that there may be more."""
    interrupted: bool
    """Whether Ctrl-C ended it."""

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)


def read_search(
    target: Target,
    wanted: int | str | bytes | None = None,
    *,
    within: str | tuple[int, int] | None = None,
    pointer_to: tuple[int, int] | None = None,
    size: int | None = None,
    align: int | None = None,
    limit: int | None = None,
    **selection: int | None,
) -> Search:
    """Search memory for a value, bytes, a quoted text, or pointers into a range (the end exclusive).

    `within` is "mapped", "physical", or a range of virtual addresses; by default all physical memory, or what
    is mapped where the machine must be asked for each part of it. `selection` are the fields of `Selection`.
    Raises `SelectionError` and what `choose` raises.
    """
    pattern, words = _pattern(target, wanted, pointer_to, size, align)
    locator = Locator(target, Selection(**selection))
    most = _DEFAULT_LIMIT if limit is None else max(1, limit)
    with Sources(target, locator, pattern) as sources:
        scope, runs = _runs(target, sources, within, pattern)
        work = _Work(target, pattern, runs, most)
        work.search()
        hits = [
            _hit(locator, pattern, scope, run, address, physical)
            for physical, (run, address) in work.found.items()
        ]
    work.add_notes()
    return Search(
        pattern=words,
        size=pattern.size,
        alignment=pattern.alignment,
        scope=scope,
        searched=work.searched,
        hits=tuple(hits),
        limited=work.limited,
        interrupted=work.interrupted,
        diagnostics=target.diagnostics,
    )


def _pattern(
    target: Target,
    wanted: int | str | bytes | None,
    pointer_to: tuple[int, int] | None,
    size: int | None,
    align: int | None,
) -> tuple[Pattern, str]:
    """What to search, and its words. Raises `SelectionError`."""
    if (wanted is None) == (pointer_to is None):
        raise SelectionError(
            "give one thing to search: VALUE, a text in quotes, bytes, or --pointer-to RANGE"
        )
    if align is not None and not 0 < align <= _MOST_BYTES:
        raise SelectionError(f"--align is from 1 to {_MOST_BYTES:,}, not {align:,}")
    data = None if wanted is None else _fixed(wanted)
    if size is not None and (pointer_to is not None or data is not None):
        raise SelectionError("--size is for a VALUE only")
    if pointer_to is not None:
        low, high = pointer_to[0], pointer_to[1] - 1
        return Pattern(b"", align or WORD_BYTES, low, high), f"pointers into {low:#x}..{high + 1:#x}"
    if data is not None:
        if not 0 < len(data) <= _MOST_BYTES:
            raise SelectionError(
                f"a text or bytes have a length from 1 to {_MOST_BYTES:,}, not {len(data):,}"
            )
        words = f'"{wanted[1:-1]}"' if isinstance(wanted, str) and wanted[0] in _QUOTES else data.hex(" ")
        return Pattern(data, align or 1), words
    assert not isinstance(wanted, bytes)
    length = WORD_BYTES if size is None else size
    if length not in _SIZES:
        raise SelectionError(f"--size is 1, 2, 4 or 8, not {length}")
    value = target.address(wanted or 0)
    if value >> 8 * length:
        raise SelectionError(f"{value:#x} has more than {length} bytes")
    return Pattern(value.to_bytes(length, "little"), align or length, is_value=True), f"{value:#x}"


def _fixed(wanted: int | str | bytes) -> bytes | None:
    """The bytes of a text in quotes, or of pairs of hexadecimal digits; None for a value."""
    if isinstance(wanted, bytes):
        return wanted
    if not isinstance(wanted, str):
        return None
    if len(wanted) >= 2 and wanted[0] in _QUOTES and wanted[-1] == wanted[0]:
        return wanted[1:-1].encode("utf-8", "surrogateescape")
    return bytes.fromhex(wanted) if _BYTES.fullmatch(wanted) else None


def _runs(
    target: Target, sources: Sources, within: str | tuple[int, int] | None, pattern: Pattern
) -> tuple[Scope, list[Run]]:
    """Where to search. Raises `SelectionError`, and what `choose` raises."""
    if isinstance(within, tuple):
        return "range", sources.range(*within)
    if within not in (None, MAPPED, PHYSICAL):
        raise SelectionError(f'"{within}" is not where to search: {MAPPED}, {PHYSICAL}, or a range')
    if within != MAPPED and sources.stored is not None:
        if pattern.is_zero:
            raise SelectionError("memory is full of zeros: search them in a range, --in START..END")
        return "physical", sources.physical(sources.stored)
    if within == PHYSICAL:
        target.diagnostics.add_note(
            "all physical memory can be searched only in a dump, or in RAM that a session shares: this is "
            "what the known address spaces map"
        )
    return "mapped", sources.mapped()


class _Work:
    """One search, with what it has found so far."""

    def __init__(self, target: Target, pattern: Pattern, runs: Sequence[Run], most: int) -> None:
        self._target = target
        self._pattern = pattern
        self._runs = runs
        self._most = most
        self._total = sum(run.size for run in runs)
        self.searched = 0
        self.found: dict[int, tuple[Run, int]] = {}
        """By physical address, as memory may be mapped several times: where it was found first."""
        self.limited = False
        self.interrupted = False

    def search(self) -> None:
        """Search all runs, to the limit; Ctrl-C ends it where a person waits."""
        with self._target.progress() as show:
            try:
                for run in self._runs:
                    before = self.searched
                    parts = self._counted(run, before, show)
                    for address in matches(parts, self._pattern, run.zero_between):
                        self._add(run, address)
                        if self.limited:
                            self.searched = before + run.passed(address)
                            return
                    self.searched = before + run.size - run.unread
            except KeyboardInterrupt:
                if not self._target.is_interactive:
                    raise
                self.interrupted = True

    def _counted(self, run: Run, before: int, show: Callable[[str], None]) -> Iterator[tuple[int, bytes]]:
        """The parts of a run; how far it is, is shown after each."""
        for address, data in run.parts():
            yield address, data
            self.searched = before + run.passed(address + len(data))
            show(
                f"search: {self.searched * 100 // max(1, self._total)} % of {self._total >> 20:,} MiB, "
                f"found {len(self.found):,}; Ctrl-C ends it"
            )

    def _add(self, run: Run, address: int) -> None:
        there = run.place(address)
        if there is None or there[0] in self.found or not self._is_whole(run, address):
            return
        if len(self.found) == self._most:
            self.limited = True
            return
        self.found[there[0]] = run, address

    def _is_whole(self, run: Run, address: int) -> bool:
        """Whether all of a match is memory: zeros after the end of memory are not."""
        return run.place(address + self._pattern.size - 1) is not None

    def add_notes(self) -> None:
        """Say how far the search went."""
        diagnostics = self._target.diagnostics
        unread = sum(run.unread for run in self._runs)
        if unread:
            diagnostics.add_note(f"{unread:,} bytes could not be read, and were not searched")
        if self.interrupted:
            share = self.searched * 100 // max(1, self._total)
            diagnostics.add_note(f"interrupted after {share} % of the memory: there may be more")


def _hit(locator: Locator, pattern: Pattern, scope: Scope, run: Run, address: int, physical: int) -> Hit:
    view = locator.known_view
    if view is not None and view.regime.second_stage and scope != "physical":
        place = locator.virtual(address)  # What the run has as physical is an intermediate address.
    else:
        place = locator.mapped(address, physical) if scope == "range" else locator.physical(physical)
    value = None
    if not pattern.data or pattern.is_value:
        value = int.from_bytes(run.contents(address, pattern.size), "little")
    return Hit(value, place)
