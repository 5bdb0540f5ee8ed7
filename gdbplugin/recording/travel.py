"""Moments of the past: checkpoints, those of events and writes, and the way there."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence

from gdbplugin.aarch64.registers import decode
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.events import Event
from gdbplugin.kernel.kernel import MANAGER
from gdbplugin.kernel.target import Target
from gdbplugin.machine import CachedMachine, Machine, MachineError, SelectionError
from gdbplugin.recording.history import Reader, place_of, read_history
from gdbplugin.recording.naming import find_object
from gdbplugin.recording.ring import STORE, Recording
from gdbplugin.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _Read = TypeVar("_Read")

_CHECKPOINT = re.compile("c[0-9]+")
_LAZY_FAULTS = ("LazyZero", "LazyAllocate")


@dataclass(frozen=True)
class CheckpointRow:
    """A checkpoint."""

    id: str
    """What `rewind` takes: c1, c2, and so on."""
    name: str
    """Its name; empty if it has none."""
    is_automatic: bool
    """Whether the recorder took it by itself: then it may give way to later ones."""
    instructions: int
    """How many the machine had executed, all cores together."""
    milliseconds: int
    """When it was taken, since the recording began, by the host's clock."""
    records: int
    """Records up to then."""


@dataclass(frozen=True)
class Checkpoints(Diagnosed):
    """The checkpoints of a recording, and where the machine is."""

    json_fields = ("checkpoints", "instructions", "is_past", "end")

    checkpoints: tuple[CheckpointRow, ...]
    """Oldest first."""
    instructions: int
    """How many the machine has executed at its moment."""
    is_past: bool
    """Whether later moments are known: the machine has gone back, and has not run on."""
    end: int
    """How many it had executed at the latest moment that is known."""

    def __iter__(self) -> Iterator[CheckpointRow]:
        return iter(self.checkpoints)

    def __len__(self) -> int:
        return len(self.checkpoints)


@dataclass(frozen=True)
class Journey(Diagnosed):
    """A way through the past, and where it ended."""

    json_fields = (
        *("before", "instructions", "core", "pc", "function", "file", "line", "what"),
        *("is_past", "end", "seconds"),
    )

    before: int
    """How many instructions the machine had executed when the command was given, all cores together."""
    instructions: int
    """How many it has executed now."""
    core: int
    """The core that is selected."""
    pc: int | None
    """The instruction that this core executes next; null if it is not known."""
    function: str | None
    """Its function, with its modules; null if it is not known."""
    file: str | None
    """Its source file; null if it is not known."""
    line: int | None
    """The line in it; null if it is not known."""
    what: str
    """What this moment is, in words; empty if it was given by its number."""
    is_past: bool
    """Whether later moments are known."""
    end: int
    """How many it had executed at the latest moment that is known."""
    seconds: float
    """How long it took, by the host's clock."""


@contextlib.contextmanager
def _recording(target: Target) -> Iterator[Recording]:
    """The target's recording. Raises `SelectionError` if the machine cannot go back."""
    target.machine  # noqa: B018 (raises now if there is none that is stopped)
    recording = Recording(target.recording_path())
    try:
        if not recording.header.can_go_back:
            raise SelectionError("this machine cannot go back, as it has the host's clock (--host-clock)")
        yield recording
    finally:
        recording.close()


def read_checkpoints(target: Target) -> Checkpoints:
    """The checkpoints that the machine can go back to."""
    with _recording(target) as recording:
        return _checkpoints(target, recording)


def take_checkpoint(target: Target, name: str | None = None) -> Checkpoints:
    """Take a checkpoint of the machine as it is now. Raises `RecordingError` if there is no room."""
    with _recording(target) as recording:
        machine = target.machine
        states = [machine.register("CPSR", core) for core in machine.cores]
        # Cores that wait may mask them.
        is_unmasked = any(state is not None and not decode("CPSR", state)["I"] for state in states)
        recording.take_checkpoint(name or "", is_unmasked=is_unmasked)
        return _checkpoints(target, recording)


def _checkpoints(target: Target, recording: Recording) -> Checkpoints:
    rows = [
        CheckpointRow(
            id=f"c{one.number}",
            name=one.name,
            is_automatic=bool(one.is_automatic),
            instructions=one.instructions,
            milliseconds=one.milliseconds,
            records=one.written,
        )
        for one in recording.checkpoints
    ]
    return Checkpoints(
        checkpoints=tuple(rows),
        instructions=recording.position,
        is_past=recording.is_past,
        end=recording.end,
        diagnostics=target.diagnostics,
    )


def is_checkpoint(target: Target, name: str) -> bool:
    """Whether this is the ID of a checkpoint, or the name of one that there is."""
    if _CHECKPOINT.fullmatch(name):
        return True
    try:
        with _recording(target) as recording:
            return name in {one.name for one in recording.checkpoints}
    except MachineError:
        return False


def visit(target: Target, name: str, read: Callable[[Machine], _Read]) -> _Read:
    """What `read` reads of the machine at a checkpoint; then the machine comes back to where it was."""
    with _recording(target) as recording:
        here = recording.position
        there = next((one for one in recording.checkpoints if name in (one.name, f"c{one.number}")), None)
        if there is None:
            raise SelectionError(f"there is no checkpoint {name}")
        try:
            return read(CachedMachine(_travel_to(target, recording, there.instructions)))
        finally:
            _travel_to(target, recording, here)


def go_back(target: Target, count: int) -> Journey:
    """Bring the machine back by so many instructions. Raises `SelectionError`, `RecordingError`."""
    with _recording(target) as recording:
        now = recording.position
        if count > now:
            raise SelectionError(f"the machine has executed {now:,} instructions only")
        return _travel(target, recording, now - count, "")


def rewind(
    target: Target,
    moment: str | int | None = None,
    *,
    before: str | None = None,
    to: int | None = None,
    write: int | str | None = None,
    end: bool = False,
) -> Journey:
    """Bring the machine to a moment: see `tinyos rewind`. Raises `SelectionError`, `RecordingError`."""
    given = [one for one in (moment, before, to, write, end or None) if one is not None]
    if len(given) != 1:
        raise SelectionError("give one of EVENT or CHECKPOINT, --before, --to, --write, --end")
    with _recording(target) as recording:
        if moment is not None:
            found, what = _named(target, recording, str(moment))
        elif before is not None:
            found, what = _before_event(target, before)
        elif write is not None:
            found, what = _before_write(target, write)
        elif to is not None:
            found, what = to, ""
        else:
            found, what = recording.end, "the latest moment"
        return _travel(target, recording, found, what)


def _named(target: Target, recording: Recording, name: str) -> tuple[int, str]:
    """The moment of a checkpoint, by ID or name, or of an event, by its number."""
    for one in recording.checkpoints:
        if name in (one.name, f"c{one.number}"):
            return one.instructions, f"checkpoint c{one.number} {one.name}".rstrip()
    if not name.isdigit():
        known = ", ".join(one.name or f"c{one.number}" for one in recording.checkpoints)
        raise SelectionError(f'"{name}" is neither an event\'s number nor a checkpoint (known: {known})')
    for event, began in _recorded_events(target):
        if event.sequence == int(name):
            return began - 1, f"before event {name}, {event.kind}"
    later = "; `tinyos rewind --end` first, for later ones" if recording.is_past else ""
    raise SelectionError(
        f"event {name} is not in the recording, or no longer among the kernel's events{later}"
    )


def _before_write(target: Target, address: int | str) -> tuple[int, str]:
    """The moment before the last write to a word."""
    history = read_history(target, 1, only_stores=True, address=target.address(address))
    if not history.changes:
        raise SelectionError(f"the recording has no write to {history.subject}")
    write = history.changes[-1]
    return write.instructions - 1, f"before the last write to {history.subject}"


def _before_event(target: Target, wanted: str) -> tuple[int, str]:
    """The moment before the kernel began the change in which the last event of a kind was recorded."""
    matches = _event_filter(wanted)
    found: tuple[int, str] | None = None
    for event, began in _recorded_events(target):
        if matches(event):
            found = began - 1, f"before event {event.sequence}, {event.kind}"
    if found is None:
        raise SelectionError(f'the recording has no event "{wanted}"')
    return found


def _event_filter(wanted: str) -> _Filter:
    kind, *words = wanted.split()
    return _Filter(kind, dict(_word(word) for word in words))


def _word(word: str) -> tuple[str, int]:
    name, equals, value = word.partition("=")
    try:
        number = int(value, 0)
    except ValueError:
        equals = ""
    if not equals or name not in _Filter.words:
        raise SelectionError(f'"{word}" is not one of {", ".join(f"{one}=N" for one in _Filter.words)}')
    return name, number


class _Filter:
    """Which events are meant: `stack-growth stack=3`, with kinds as `run_until` or `events` has them."""

    words = ("stack", "asid", "task", "core", "address")

    def __init__(self, kind: str, words: dict[str, int]) -> None:
        camel = "".join(part[:1].upper() + part[1:] for part in kind.split("-"))
        self._kinds = {"LazyFault": _LAZY_FAULTS, "Pressure": ("PressureChange",)}.get(camel, (camel,))
        self._words = words

    def __call__(self, event: Event) -> bool:
        if event.kind not in self._kinds:
            return False
        is_of_task = (event.kind or "").startswith("Task")
        values = {
            "stack": event.stack,
            "asid": event.asid,
            "core": event.core,
            "task": event.first if is_of_task else None,
            "address": event.first,
        }
        return all(values[name] == number for name, number in self._words.items())


def _recorded_events(target: Target) -> Iterator[tuple[Event, int]]:
    """The kernel's events, each with the instruction that began the change in which it was recorded."""
    reader = Reader(target)
    try:
        counter, changing = reader.event_counter, find_object(reader.kernel, MANAGER, "sequence")
        places = {counter} if changing is None else {counter, changing.address}

        def wanted(fields: Sequence[int]) -> bool:
            return fields[9] == STORE and fields[3] in places

        began = None
        for _, record in reader.recording.records(wanted):
            if record.physical != counter:
                began = record.instructions if record.new % 2 else None
            elif (event := reader.events.get(record.new)) is not None:
                yield event, record.instructions if began is None else began
    finally:
        reader.recording.close()


def _travel_to(target: Target, recording: Recording, position: int) -> Machine:
    """Bring the machine to a position, and say so if the way was not what had been recorded."""

    def bring(show: Callable[[str], None]) -> None:
        def progress() -> None:
            show(f"replaying: {recording.instructions[0]:,} of {position:,} instructions")

        recording.travel(position, progress)

    machine = target.travel(bring)
    difference = recording.header.difference
    if difference:
        target.diagnostics.add_finding(
            "the replay",
            "what was recorded",
            f"something else from instruction {difference:,} on: the past is not certain after it",
        )
    return machine


def _travel(target: Target, recording: Recording, to: int, what: str) -> Journey:
    before, since = recording.position, time.monotonic()
    machine = _travel_to(target, recording, to)
    pc = machine.register("PC", target.core)
    place = None if pc is None else place_of(target.code, pc)
    return Journey(
        before=before,
        instructions=recording.instructions[0],
        core=target.core,
        pc=pc,
        function=None if place is None else place.function,
        file=None if place is None else place.file,
        line=None if place is None else place.line,
        what=what,
        is_past=recording.is_past,
        end=recording.end,
        seconds=time.monotonic() - since,
        diagnostics=target.diagnostics,
    )
