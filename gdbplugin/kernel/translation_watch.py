"""Watching the translation of one address: the descriptors that its walk reads, and what their changes mean.

A debugger watches the words that `places` gives; when one is written, `look` walks again. Where an upper
descriptor has changed, the walk goes through another table, and `places` gives other words from then on.
"""

from __future__ import annotations

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import Attributes, Kind, attributes
from gdbplugin.aarch64.walk import Level, Translation, translate
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.selection import View
from gdbplugin.kernel.table_places import WritablePlaces
from gdbplugin.kernel.translate import ExplainedLevel
from gdbplugin.machine import Machine, SelectionError
from gdbplugin.records import NamedTuple, Protocol, dataclass, replace


@dataclass(frozen=True)
class DescriptorChange:
    """A descriptor that a walk reads and that has changed."""

    level: int
    """Level of the table."""
    table: int
    """Physical address of the table."""
    index: int
    """Index of the descriptor in the table."""
    address: int
    """Physical address of the descriptor."""
    before: int | None
    """Its value before; null if the walk did not read it, as it came through another table or ended above."""
    after: int | None
    """Its value now; null if the walk does not read it any more."""
    before_meaning: str
    """What it meant, in words."""
    after_meaning: str
    """What it means now."""


@dataclass(frozen=True)
class WritingInstruction:
    """The instruction that wrote a descriptor."""

    core: int
    """Number of the core that executed it."""
    pc: int
    """Its address."""
    function: str | None
    """The function's name, with its modules; null if it is not known."""
    file: str | None
    """The source file; null if it is not known."""
    line: int | None
    """The line in it; null if it is not known."""


@dataclass(frozen=True)
class TranslationChange:
    """A change of the translation of an address, or of several."""

    address: int
    """The input address; of several, the first."""
    size: int
    """How many bytes of input addresses it concerns."""
    before: str
    """What the address was translated to, in words."""
    after: str
    """What it is translated to now."""
    descriptors: tuple[DescriptorChange, ...]
    """The descriptors that changed, from the root table on."""
    writer: WritingInstruction | None = None
    """What wrote it; null if no watchpoint saw the write: it was found at a stop for another reason."""


@dataclass(frozen=True)
class Watch:
    """A watch, and what it has seen."""

    number: int
    """Its number, by which it is deleted."""
    title: str
    """What is watched, in words."""
    watchpoints: int
    """How many hardware watchpoints it takes now."""
    tables: tuple[int, ...]
    """The physical addresses of the tables that it watches, or whose descriptors."""
    unwatched: tuple[int, ...]
    """Physical addresses of descriptors and tables that the kernel maps nowhere writable: not watched."""
    hit_count: int
    """How often it has stopped the target."""
    last: TranslationChange | None
    """The latest change; null if there was none."""
    problem: str | None
    """Why it does not see every change, or cannot go on; null if it can."""


@dataclass(frozen=True)
class Watches(Diagnosed):
    """The watches of translations."""

    watches: tuple[Watch, ...]
    """The watches, the oldest first."""
    new: int | None = None
    """The number of the one that was made now; null if none was."""


class Place(NamedTuple):
    """Physical memory to be watched: a descriptor, or a whole table."""

    address: int
    length: int
    table: int
    what: str


class Subject(Protocol):
    """What is watched. `look` is called while the machine stands at a write."""

    title: str

    def places(self) -> tuple[Place, ...]:
        """The memory to be watched now."""

    def look(self, machine: Machine, place: Place | None) -> list[TranslationChange]:
        """What has changed since the last look; the places may be others then.

        `place` is where something was written; None for a look at everything. Raises a `MachineError`.
        """


class Watching(Protocol):
    """Sets watches, and keeps them."""

    def add(self, subject: Subject, places: WritablePlaces) -> int:
        """Watch a subject at the addresses where its places can be written; returns the watch's number.

        Raises a `MachineError` if there are no watchpoints for it.
        """

    def delete(self, number: int) -> None:
        """Delete a watch; raises `SelectionError` if there is none with this number."""

    def listed(self) -> tuple[Watch, ...]:
        """All watches."""


class TranslationSubject:
    """The translation of one address through one address space's tables.

    With `flags`, changes of the access flag and of the dirty state count too.
    """

    def __init__(self, view: View, address: int, *, flags: bool = False) -> None:
        require_watchable(view)
        self._view = view
        self._address = address
        self._flags = flags
        self._walk = translate(view.machine, view.regime, address)
        if not self._walk.levels:
            fault = self._walk.fault
            reason = fault.reason if fault is not None else "the MMU is off"
            raise SelectionError(f"no tables translate {address:#x}: {reason}")
        self.title = f"the translation of {address:#x}{space_of(view, view.regime.control(address))}"

    def places(self) -> tuple[Place, ...]:
        """See `Subject`."""
        return tuple(
            Place(level.address, 8, level.table, f"level {level.level}'s descriptor at {level.address:#x}")
            for level in self._walk.levels
        )

    def look(self, machine: Machine, place: Place | None) -> list[TranslationChange]:
        """See `Subject`."""
        del place
        before, self._walk = self._walk, translate(machine, self._view.regime, self._address)
        after = self._walk
        if self._meaning(before) == self._meaning(after):
            return []
        descriptors = tuple(self._changed(before.levels, after.levels))
        texts = self._text(before), self._text(after)
        return [TranslationChange(self._address, after.size, *texts, descriptors)]

    def _meaning(self, walk: Translation) -> tuple[object, ...]:
        """What an access sees of a translation: equal for two that do the same."""
        if walk.attributes is None:
            return (walk.fault.kind if walk.fault is not None else None,)
        found = walk.attributes
        if not self._flags:
            # What they do to accesses is in the permissions.
            found = replace(
                found,
                access_flag=True,
                contiguous=False,
                dirty=None,
                dirty_bit_modifier=False,
                access_permissions=0,
            )
        return (self._output(walk), found)

    def _output(self, walk: Translation) -> int | None:
        """The output address, also where the access flag is clear."""
        leaf = self._explained(walk.levels[-1])
        return None if leaf.output is None else leaf.output + self._address % walk.size

    def _text(self, walk: Translation) -> str:
        output = self._output(walk)
        if walk.attributes is None or output is None:
            return f"{walk.fault.title} at level {walk.fault.level}" if walk.fault is not None else "nothing"
        return f"{output:#x}, {attribute_words(self._view, walk.attributes)}"

    def _explained(self, level: Level) -> ExplainedLevel:
        return ExplainedLevel(level, self._view.regime.control(self._address))

    def _changed(self, old: tuple[Level, ...], new: tuple[Level, ...]) -> list[DescriptorChange]:
        """The descriptors by place that differ; those of a table that was replaced are all others."""
        before, after = ({step.address: step for step in steps} for steps in (old, new))
        found = []
        for address, one in {**before, **after}.items():
            first, second = before.get(address), after.get(address)
            if first is None or second is None or first.descriptor != second.descriptor:
                found.append(
                    DescriptorChange(
                        one.level,
                        one.table,
                        one.index,
                        address,
                        None if first is None else first.descriptor,
                        None if second is None else second.descriptor,
                        self._means(first),
                        self._means(second),
                    )
                )
        return sorted(found, key=lambda change: (change.level, change.before is None))

    def _means(self, step: Level | None) -> str:
        if step is None:
            return "not read"
        meaning = self._explained(step).meaning
        if step.kind not in (Kind.BLOCK, Kind.PAGE):
            return meaning
        # The descriptor alone: the limits of the tables above are not its own.
        control = self._view.regime.control(self._address)
        return f"{meaning}, {attribute_words(self._view, attributes(step.descriptor, 0, control.rules))}"


def attribute_words(view: View, found: Attributes) -> str:
    """The attributes of a leaf in words: permissions, memory type, and the flags that are not as usual."""
    words = view.access_words(found)
    if view.regime.has_el0:
        words.append("global" if found.is_global else "of its ASID")
    if not found.access_flag:
        words.append("access flag clear")
    if found.dirty is not None:
        words.append("dirty" if found.dirty else "clean")
    return ", ".join(words)


def require_watchable(view: View) -> None:
    """Raise `SelectionError` for a regime whose tables cannot be watched."""
    if not view.regime.enabled:
        raise SelectionError(f"the MMU is off in the {view.regime.name} regime: there are no tables to watch")
    if view.regime.second_stage or view.regime.stage == 2:
        raise SelectionError(
            "under a hypervisor no translation is watched: watch the hypervisor's own, with --el 2"
        )


def space_of(view: View, control: TranslationControl) -> str:
    """Whose tables are watched, in words; empty if that goes without saying."""
    if control.upper or not view.regime.has_el0:
        return ""
    if view.task is not None:
        return f" in the address space of task {view.task}"
    return f" by {control.name}'s table {control.root_address:#x}"
