"""A timeline by a recording: each turn, fault, event and count from the kernel's own stores.

The recording is gone through twice: once for what each word was at its beginning, and once more in order.
Then at each moment the words have what the kernel's memory had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gdbplugin.kernel.events import Event
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel
from gdbplugin.kernel.pressure import PAGE_BYTES
from gdbplugin.layout.decode import value
from gdbplugin.layout.types import Array, unwrap
from gdbplugin.recording.naming import Object, find_object
from gdbplugin.recording.ring import EXCEPTION_ENTRY, EXCEPTION_RETURN, STORE, Record, Recording
from gdbplugin.records import NamedTuple
from gdbplugin.timeline.figures import PATHS, STACK_PAGES, Figures, with_pending
from gdbplugin.timeline.moments import Moments
from gdbplugin.timeline.story import Handled, Story, Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.timeline.trace import Counter

_WORD = 8


class _Places(NamedTuple):
    """Where the kernel has what a timeline is made from; None for what it does not have."""

    recorded: Object | None
    entries: Object | None
    sequence: Object | None
    current: Object | None
    turn_start: Object | None
    tick_time: Object | None
    sizes: range
    counters: dict[Counter, Object]


class _Entered(NamedTuple):
    """An exception that was taken and not left yet."""

    instructions: int
    pc: int
    task: int | None
    recorded: int


class Memory:
    """Some words of memory as they were at the moment that `store` has come to."""

    def __init__(self, words: set[int], read: Callable[[int, int], bytes]) -> None:
        """`read` gives what memory has now: a word that is never stored to had it all the time."""
        self.places = words
        self._read = read
        self._words: dict[int, int] = {}

    def note_first(self, record: Record) -> None:
        """Take over what a word was before its first store."""
        self._words.setdefault(record.physical & -_WORD, record.old)

    def store(self, record: Record) -> None:
        """Take over a store."""
        self._words[record.physical & -_WORD] = record.new

    def number(self, place: int, size: int) -> int:
        """The unsigned number of so many bytes at a physical address."""
        return int.from_bytes(self.bytes(place, size), "little")

    def bytes(self, place: int, size: int) -> bytes:
        """Bytes at a physical address."""
        first, last = place & -_WORD, -(-(place + size) // _WORD) * _WORD
        data = b"".join(self._word(one).to_bytes(_WORD, "little") for one in range(first, last, _WORD))
        return data[place - first : place - first + size]

    def _word(self, place: int) -> int:
        if place not in self._words:
            self._words[place] = int.from_bytes(self._read(place, _WORD), "little")
        return self._words[place]


def read_recorded(kernel: Kernel, recording: Recording, now: int | None, story: Story) -> None:
    """Add all that a recording tells. `now` is the time of the stop."""
    player = _Player(kernel, recording, story)
    player.play()
    player.finish(now)


class _Player:
    """Goes through a recording."""

    def __init__(self, kernel: Kernel, recording: Recording, story: Story) -> None:
        self._kernel = kernel
        self._recording = recording
        self._story = story
        self._at = _find_places(kernel)
        self._memory = Memory(_words_of(self._at), kernel.machine.read_physical)
        self._known: dict[int, list[tuple[int, int]]] = {}
        self._counted: dict[int, int] = {}
        """The instruction that counted each event, by sequence number."""
        self._seen = 0
        self._entered: dict[int, _Entered] = {}
        self._handled: list[tuple[int, _Entered, int, int, int | None]] = []
        self._figures: list[tuple[int, int, Figures]] = []
        self._last: Figures = {}
        self._task: int | None = None
        self._turn_begin = 0
        self._core = 0
        array = unwrap(self._at.entries.type) if self._at.entries is not None else None
        self._array = array if isinstance(array, Array) else None
        self._capacity = self._array.count if self._array is not None else 0

    def play(self) -> None:
        """Go through the recording."""
        for _, record in self._recording.records(self._is_stored):
            self._memory.note_first(record)
        at, self._seen = self._at, self._event_count()
        self._task, self._turn_begin = self._current(), self._number(at.turn_start)
        for _, record in self._recording.records(self._is_wanted):
            if record.kind == EXCEPTION_ENTRY:
                self._enter(record)
            elif record.kind == EXCEPTION_RETURN:
                self._return(record)
            else:
                self._store(record)
        self._look(self._core, None)

    def finish(self, now: int | None) -> None:
        """Put everything into the story, with times."""
        story = self._story
        moments = {core: Moments(known) for core, known in self._known.items()}
        for core, instructions, figures in self._figures:
            if moments.get(core):
                for counter, count in figures.items():
                    story.add_count(counter, moments[core].end(instructions), count)
        for core, entered, instructions, last, switched in self._handled:
            if not moments.get(core):
                continue
            end = moments[core].end(instructions)
            first = max(entered.recorded, last - self._capacity) + 1
            story.handled.append(
                Handled(
                    core,
                    entered.task,
                    moments[core].begin(entered.instructions),
                    end if switched is None else min(end, switched),
                    instructions - entered.instructions,
                    entered.pc >> 7 & 3 in (1, 2),
                    first,
                    last,
                )
            )
        if self._task is not None and now is not None and self._turn_begin:
            end = max(now, self._turn_begin)
            story.turns.append(Turn(self._core, self._task, self._turn_begin, end, ended=False))

    def _is_stored(self, fields: Sequence[Any]) -> bool:
        return fields[9] == STORE and fields[3] & -_WORD in self._memory.places

    def _is_wanted(self, fields: Sequence[Any]) -> bool:
        kind = fields[9]
        if kind == STORE:
            return fields[3] & -_WORD in self._memory.places
        return kind in (EXCEPTION_ENTRY, EXCEPTION_RETURN)

    def _store(self, record: Record) -> None:
        self._memory.store(record)
        at, place = self._at, record.physical & -_WORD
        if at.recorded is not None and place == at.recorded.address:
            self._counted[record.new] = record.instructions
        elif at.sequence is not None and place == at.sequence.address and record.new % 2 == 0:
            self._look(record.core, record.instructions)
        elif (at.tick_time is not None and place == at.tick_time.address) or self._is_turn_start(place):
            self._know(record.core, record.instructions, record.new)
            if self._is_turn_start(place) and not self._turn_begin:
                self._turn_begin = record.new  # The shell's first turn begins without a switch.

    def _is_turn_start(self, place: int) -> bool:
        return self._at.turn_start is not None and place == self._at.turn_start.address

    def _look(self, core: int, instructions: int | None) -> None:
        """The manager has finished a change: take over the new events, and the counts if they changed."""
        recorded = self._event_count()
        for number in range(max(self._seen, recorded - self._capacity) + 1, recorded + 1):
            event = self._event(number)
            if event is None or event.sequence != number:
                continue
            self._story.add_events([event])
            if number in self._counted and event.timestamp:
                self._know(core, self._counted.pop(number), event.timestamp)
        self._seen = recorded
        figures = self._read_figures()
        if instructions is not None and figures != self._last:
            self._figures.append((core, instructions, figures))
            self._last = figures

    def _enter(self, record: Record) -> None:
        self._entered[record.core] = _Entered(
            record.instructions, record.pc, self._current(), self._event_count()
        )

    def _return(self, record: Record) -> None:
        entered, current = self._entered.pop(record.core, None), self._current()
        switched = None
        if current != self._task:
            switched = self._number(self._at.turn_start)
            if self._task is not None and self._turn_begin:
                self._story.turns.append(Turn(record.core, self._task, self._turn_begin, switched))
            self._task, self._turn_begin, self._core = current, switched, record.core
        recorded = self._event_count()
        if entered is not None and recorded > entered.recorded:
            self._handled.append((record.core, entered, record.instructions, recorded, switched))

    def _know(self, core: int, instructions: int, time: int) -> None:
        self._known.setdefault(core, []).append((instructions, time))

    def _number(self, found: Object | None) -> int:
        return 0 if found is None else self._memory.number(found.address, found.type.size)

    def _current(self) -> int | None:
        return None if self._at.current is None else self._number(self._at.current)

    def _event_count(self) -> int:
        return self._number(self._at.recorded)

    def _event(self, number: int) -> Event | None:
        entries, array = self._at.entries, self._array
        if entries is None or array is None:
            return None
        size = array.element.size
        place = entries.address + (number - 1) % array.count * size
        entry = value(array.element, self._memory.bytes(place, size))
        return self._kernel.make_record(Event, entry, f"event {number} of the recording")

    def _read_figures(self) -> Figures:
        found: Figures = {}
        for counter, one in self._at.counters.items():
            number = value(one.type, self._memory.bytes(one.address, one.type.size))
            found[counter] = number if isinstance(number, int) else None
        # A stack that has ended has no pages left.
        sizes = (self._memory.number(place, _WORD) for place in self._at.sizes)
        found[STACK_PAGES] = sum(sizes) // PAGE_BYTES
        return with_pending(found)


def _find_places(kernel: Kernel) -> _Places:
    stacks = find_object(kernel, MANAGER, "stack_manager.stacks")
    sizes = None if stacks is None else stacks.elements("current_size")
    counters = {counter: find_object(kernel, MANAGER, path) for counter, path in PATHS.items()}
    return _Places(
        recorded=find_object(kernel, MANAGER, "events.recorded"),
        entries=find_object(kernel, MANAGER, "events.entries"),
        sequence=find_object(kernel, MANAGER, "sequence"),
        current=find_object(kernel, SCHEDULER, "current"),
        turn_start=find_object(kernel, SCHEDULER, "turn_start"),
        tick_time=find_object(kernel, SCHEDULER, "tick_time"),
        sizes=sizes or range(0),
        counters={counter: one for counter, one in counters.items() if one is not None},
    )


def _words_of(places: _Places) -> set[int]:
    """The words that hold the places."""

    def around(place: int, size: int) -> Iterator[int]:
        yield from range(place & -_WORD, place + size, _WORD)

    single = (places.recorded, places.entries, places.sequence)
    of_scheduler = (places.current, places.turn_start, places.tick_time)
    known = [one for one in (*single, *of_scheduler, *places.counters.values()) if one is not None]
    found = {word for one in known for word in around(one.address, one.type.size)}
    return found | {word for place in places.sizes for word in around(place, _WORD)}
