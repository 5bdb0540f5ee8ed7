"""What happened to an object, by a recording: who wrote it, from where, and what changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from gdbplugin.aarch64.regime import RegimeUnknownError
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.events import Event, event_names, has_events, read_events
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.tasks import Names, read_tasks, task_names
from gdbplugin.machine import SelectionError
from gdbplugin.recording.instructions import operation_of
from gdbplugin.recording.naming import Namer, find_object
from gdbplugin.recording.ring import STORE, TLB_INVALIDATE, Record, Recording
from gdbplugin.recording.subjects import Subject, choose_subject
from gdbplugin.records import NamedTuple, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from gdbplugin.layout.code import CodeMap, CodePlace

    Kind = Literal["store", "TLB invalidation", "event"]

_SHOWN = 64
# Rust's own library, and the sources of crates that cargo keeps.
_LIBRARY = re.compile("/rustc/|.*/registry/src/|.*/lib/rustlib/src/")
_ADDRESS_BITS = 48


@dataclass(frozen=True)
class Change:
    """One thing that happened to an object."""

    json_fields = (
        *("number", "kind", "instructions", "core", "task", "pc", "function", "file", "line"),
        *("what", "before", "after", "event"),
    )

    number: int
    """The number of its record, from 0."""
    kind: Kind
    """What it is: a store, a TLB invalidation, or an event that the kernel recorded then."""
    instructions: int
    """How many instructions the core had executed."""
    core: int
    """The core."""
    task: int | None
    """The task whose address space was in TTBR0; null if it was none's, or that is not known."""
    pc: int
    """The instruction."""
    function: str | None
    """Its function, with its modules; null if it is not known."""
    file: str | None
    """Its source file; null if it is not known."""
    line: int | None
    """The line in it; null if it is not known."""
    what: str
    """What was written, or done: the path of a field, a descriptor, an operation."""
    before: str | None
    """The value before, in words; null for what is no store."""
    after: str | None
    """The value after, in words; null for what is no store."""
    event: Event | None = None
    """The event; null for anything else."""
    frames: tuple[int, ...] | None = None
    frames_pc: int | None = None


@dataclass(frozen=True)
class ChangeHistory(Diagnosed):
    """What happened to an object, oldest first."""

    json_fields = ("subject", "matching", "changes", "recorded", "first")

    subject: str
    """The object, in words."""
    matching: int
    """How many changes the recording has of it."""
    changes: tuple[Change, ...]
    """The newest of them, oldest first."""
    recorded: int
    """Records since the recording began."""
    first: int
    """The number of the oldest record that is still there: others were overwritten if it is not 0."""
    names: dict[str, dict[int, str]]
    tasks: Names

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)


class _Spaces(NamedTuple):
    """Whose address spaces there are."""

    by_root: dict[int, int]

    def task(self, ttbr0: int) -> int | None:
        """The task whose space TTBR0 has; None if it is none's."""
        return self.by_root.get(ttbr0 & (1 << _ADDRESS_BITS) - 2) or None


class Reader:
    """Reads changes from a recording, for one command."""

    def __init__(self, target: Target) -> None:
        self.kernel: Kernel = target.required_kernel()
        self.recording = Recording(target.recording_path())
        self._code: CodeMap | None = target.code
        found = [find_object(self.kernel, name) for name in (MANAGER, SCHEDULER)]
        self._namer = Namer([one for one in found if one is not None], self.kernel.regime)
        self.events = self._read_events()
        counter = find_object(self.kernel, MANAGER, "events.recorded")
        self.event_counter = None if counter is None else counter.address
        spaces = find_object(self.kernel, MANAGER, "context_switcher.spaces")
        self._space_places = None if spaces is None else spaces.elements("table")

    def changes(self, subject: Subject) -> Iterator[Change]:
        """What happened to a subject, oldest first."""
        spaces = _Spaces({})
        for number, record in self.recording.records(self._wanted(subject)):
            if record.kind == STORE:
                if self._space_places is not None and record.physical in self._space_places:
                    space = self._space_places.index(record.physical)
                    spaces.by_root[record.new] = space
                    subject.replace_root(space, record.old, record.new)
                if record.physical == self.event_counter:
                    event = self.events.get(record.new)
                    if event is not None and subject.has_event(event):
                        yield self._change(number, record, spaces, "event", event.kind or "?", event=event)
                if not subject.has_store(record):
                    continue
                for part in self._namer.parts(record):
                    if subject.has_part(part.what):
                        yield self._change(number, record, spaces, "store", *part)
            elif record.kind == TLB_INVALIDATE:
                what = operation_of(record.virtual, record.new)
                yield self._change(number, record, spaces, "TLB invalidation", what)

    def _wanted(self, subject: Subject) -> Callable[[Sequence[Any]], object]:
        places = set(self._space_places or ())
        if self.event_counter is not None and subject.wants_events:
            places.add(self.event_counter)

        def wanted(fields: Sequence[Any]) -> bool:
            kind = fields[9]
            if kind == STORE:
                return fields[3] in places or subject.may_have(fields)
            if kind == TLB_INVALIDATE:
                return subject.has_invalidation(fields[2], fields[5])
            return False

        return wanted

    def _change(
        self,
        number: int,
        record: Record,
        spaces: _Spaces,
        kind: Kind,
        what: str,
        before: str | None = None,
        after: str | None = None,
        event: Event | None = None,
    ) -> Change:
        place = place_of(self._code, record.pc)
        return Change(
            number=number,
            kind=kind,
            instructions=record.instructions,
            core=record.core,
            task=spaces.task(record.ttbr0),
            pc=record.pc,
            function=None if place is None else place.function,
            file=None if place is None else place.file,
            line=None if place is None else place.line,
            what=what,
            before=before,
            after=after,
            event=event,
            frames=record.frames,
            frames_pc=record.frames_pc,
        )

    def _read_events(self) -> dict[int, Event]:
        if not has_events(self.kernel):
            return {}
        return {event.sequence: event for event in read_events(self.kernel).events if event.sequence}


def note_overwritten(target: Target, written: int, first: int) -> None:
    """Say that the oldest records of a recording are gone, if they are."""
    if first:
        target.diagnostics.add_note(
            f"the recording has overwritten {first:,} of {written:,} records: what is older is not known"
        )


def place_of(code: CodeMap | None, instruction: int) -> CodePlace | None:
    """Where an instruction comes from: the innermost function that is the program's own, not a library's."""
    places = code.places(instruction) if code is not None else ()
    own = (one for one in places if one.file is not None and not _LIBRARY.match(one.file))
    return next(own, places[0] if places else None)


def read_history(
    target: Target, n: int | None = None, *, only_stores: bool = False, **chosen: Any
) -> ChangeHistory:
    """The newest `n` changes of what is chosen, or only stores among them: see `choose_subject`.

    Raises `RecordingError` without a recording, `SelectionError` if there is nothing of the kind.
    """
    reader = Reader(target)
    try:
        subject = choose_subject(target, reader.kernel, **chosen)
        found = [one for one in reader.changes(subject) if one.kind == "store" or not only_stores]
        header, first = reader.recording.header, reader.recording.first
    except RegimeUnknownError as error:
        raise SelectionError(str(error)) from error
    finally:
        reader.recording.close()
    note_overwritten(target, header.written, first)
    shown = _SHOWN if n is None else n
    return ChangeHistory(
        subject=subject.name,
        matching=len(found),
        changes=tuple(found[-shown:] if shown else ()),
        recorded=header.written,
        first=first,
        names=event_names(reader.kernel),
        tasks=task_names(read_tasks(reader.kernel)),
        diagnostics=target.diagnostics,
    )
