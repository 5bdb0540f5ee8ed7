"""Addresses that `tinyos lint` has rules for: kernel text, the kernel's memory, the pages below stacks."""

from __future__ import annotations

from bisect import bisect_right

from gdbplugin.aarch64.maps import MappedRange
from gdbplugin.aarch64.registers import exception_level
from gdbplugin.kernel.lint_spaces import CoreRegime, FoundSpace
from gdbplugin.kernel.maps import objects_of
from gdbplugin.kernel.memory_objects import MemoryObject, MemoryObjects
from gdbplugin.kernel.target import Target
from gdbplugin.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_VECTORS_BYTES = 0x800
_INSTRUCTION_BYTES = 4
_UPPER = 1 << 55
_DATA = (".data", ".bss", ".rodata")


class Place(NamedTuple):
    """A range of addresses (`end` exclusive) and what it is; `task` is the TinyOS task in whose space it is.

    Without a task it is in every space that has such addresses. `level` is the exception level whose regime
    it is in, None for any.
    """

    start: int
    end: int
    name: str
    task: int | None = None
    level: int | None = None

    def is_in(self, space: FoundSpace) -> bool:
        """Whether it is in a space."""
        if self.level is not None and self.level != space.regime.level:
            return False
        if self.task is not None and self.task != space.task:
            return False
        return space.control.covers(self.start)


class Places(NamedTuple):
    """All of them; `objects` name what is at an address."""

    objects: MemoryObjects
    text: list[Place]
    memory: list[Place]
    guards: list[Place]


def find_places(target: Target, regimes: Sequence[CoreRegime]) -> Places:
    """What TinyOS has on record, or what another program's sections and the cores' registers tell.

    A note says if no stack is known.
    """
    kernel = target.kernel

    def read() -> MemoryObjects:
        return objects_of(target, target.symbols)

    objects = read() if kernel is None else kernel.without_missing_notes(read)
    text = _entries(target, regimes)
    sections = _own_sections(target, text)
    text += [place for place in sections if "text" in place.name]
    memory = text + [place for place in sections if place.name.startswith(_DATA)]
    if kernel is not None:
        guards = [
            Place(one.start, one.end, one.name.removeprefix("guard of "), one.task)
            for one in objects.objects
            if one.kind == "guard" and (one.task is not None or one.start & _UPPER)
        ]
    else:
        page = min((one.regime.lower.granule for one in regimes), default=4096)
        guards = [
            Place(one.start - page, one.start, one.name, level=one.level)
            for one in sections
            if "stack" in one.name and one.start >= page
        ]
    if not guards and regimes:
        target.diagnostics.add_note("no stack is known here: guard pages below stacks were not looked for")
    return Places(objects, _without_parts(text), _without_parts(memory), guards)


def _entries(target: Target, regimes: Sequence[CoreRegime]) -> list[Place]:
    """Code by the registers: each regime's exception vectors, and what a privileged core executes now."""
    found: dict[Place, None] = {}
    machine = target.machine
    for core, regime in regimes:
        base = machine.register(f"VBAR_EL{regime.level}", core)
        if base:
            name = f"exception vectors of EL{regime.level}"
            found[Place(base, base + _VECTORS_BYTES, name, level=regime.level)] = None
        counter = machine.register("PC", core)
        if counter is not None and exception_level(machine, core) == regime.level:
            name = f"code that core {core} executes"
            found[Place(counter, counter + _INSTRUCTION_BYTES, name, level=regime.level)] = None
    return list(found)


def _own_sections(target: Target, entries: Sequence[Place]) -> list[Place]:
    """The program's sections, at each level that executes it.

    None, with a note, if no core's code or vectors are in the program: then it does not run.
    """
    sections = dict.fromkeys(target.symbols.sections())  # GDB may list a file twice.
    levels = {entry.level for entry in entries for start, end, _ in sections if start <= entry.start < end}
    if sections and not levels:
        target.diagnostics.add_note(
            "the loaded program's sections were not used: no core's vectors or program counter is in them"
        )
    return [Place(start, end, name, level=level) for start, end, name in sections for level in levels]


def _without_parts(places: Sequence[Place]) -> list[Place]:
    """The places without those that lie in others of their exception level."""
    found: list[Place] = []
    for place in sorted(places, key=lambda one: (one.level or 0, one.start, -one.end)):
        # The last that was kept ends last of all at its level.
        if not (found and found[-1].level == place.level and place.end <= found[-1].end):
            found.append(place)
    return found


def overlapping(ranges: Sequence[MappedRange], starts: Sequence[int], place: Place) -> Iterator[MappedRange]:
    """The mapped ranges of one space that overlap a place; `starts` are their first addresses."""
    first = max(0, bisect_right(starts, place.start) - 1)
    for index in range(first, len(ranges)):
        if ranges[index].start >= place.end:
            return
        if ranges[index].end > place.start:
            yield ranges[index]


def names_in(objects: MemoryObjects, start: int, end: int) -> str:
    """What is in a range of addresses, in words: at most three names, empty if nothing is known."""
    found: dict[str, None] = {}
    here: MemoryObject | None
    for _, _, here in objects.split(start, end):
        if here is not None:
            found[here.name if here.task is None else f"{here.name} of task {here.task}"] = None
        if len(found) > _NAMES:
            break
    names = list(found)
    return ", ".join(names[:_NAMES]) + (" and more" if len(names) > _NAMES else "")


_NAMES = 3
