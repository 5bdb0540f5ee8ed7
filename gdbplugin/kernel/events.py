"""The event ring: decoding, filters, and names of the numbers in events."""

from __future__ import annotations

from collections.abc import Iterator

from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.interface import Clock, Timed, read_clock
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel, NotTinyOSError
from gdbplugin.kernel.target import Target
from gdbplugin.layout.decode import value
from gdbplugin.layout.types import Array, Enumeration, Static, locate, locate_path, unwrap
from gdbplugin.machine import SelectionError
from gdbplugin.records import dataclass

_SHOWN = 32
# Kinds of event whose first or second number is the ID of a stack.
_STACK_IN_FIRST = frozenset({"StackGrowth", "StackShrink", "StackOverflow"})
_STACK_IN_SECOND = frozenset({"TaskStarted"})
# Enums that events hold as numbers: the static and path of a field with that type; `[]` steps into an array.
_NAMED = {
    "EndReason": (SCHEDULER, "tasks[].end_reason"),
    "PressureLevel": (MANAGER, "pressure_handler.level"),
    "Strategy": (MANAGER, "pressure_handler.strategies[].strategy"),
}


@dataclass(frozen=True)
class Event:
    """Something that the memory management did."""

    sequence: int | None
    """Its number since boot, from 1."""
    timestamp: int | None
    """When it was recorded, as a count of the generic timer."""
    core: int | None
    """The core that recorded it."""
    asid: int | None
    """ASID of the address space that it concerns; 0 if it concerns none."""
    kind: str | None
    """Its EventKind, by name."""
    first: int | None
    """Its first number; the kind says what it means: see the kernel's events.rs."""
    second: int | None
    """Its second number; the kind says what it means."""

    @property
    def stack(self) -> int | None:
        """The ID of the stack that it is about; None if it is not about a stack."""
        if self.kind in _STACK_IN_FIRST:
            return self.first
        return self.second if self.kind in _STACK_IN_SECOND else None


@dataclass(frozen=True)
class Events:
    """The events of the ring, or only the newest, oldest first. `recorded` counts all since boot."""

    recorded: int | None
    events: tuple[Event, ...]


@dataclass(frozen=True)
class EventList(Diagnosed, Timed):
    """The newest events of the ring that pass the filters.

    `names` has the names of the enums that events hold as numbers.
    """

    json_fields = ("recorded", "kept", "matching", "since_stop", "events", "time")

    recorded: int | None
    """How many events there were since boot."""
    kept: int
    """How many of them are still in the ring."""
    matching: int
    """How many of those pass the filters."""
    events: tuple[Event, ...]
    """The newest of the events that pass the filters, oldest first."""
    names: dict[str, dict[int, str]]
    clock: Clock
    since_stop: int | None
    """With --since-stop: how many events there were at that earlier stop; null without it."""

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)


def read_events(kernel: Kernel, newest: int | None = None) -> Events:
    """Decode the event ring, or only its newest events; one read, two if they wrap around."""
    recorded = kernel.read_integer(MANAGER, "events.recorded")
    field = kernel.locate_field(MANAGER, "events.entries")
    array = unwrap(field.type) if field else None
    if field is None or not isinstance(array, Array):
        return Events(recorded, ())
    found = []
    for slot, entry in _slots(kernel, field, array, recorded, newest):
        if entry.get("sequence") != 0:
            found.append(kernel.make_record(Event, entry, f"event in slot {slot}"))
    found.sort(key=lambda event: event.sequence or 0)
    return Events(recorded, tuple(found))


def _slots(
    kernel: Kernel, ring: Static, array: Array, recorded: int | None, newest: int | None
) -> Iterator[tuple[int, dict[str, int]]]:
    """The entries with their slot numbers: all, or those of the newest events."""
    size, count = array.element.size, array.count
    spans = [(0, count)]
    if newest is not None and recorded is not None and newest < count:
        end = recorded % count
        wanted = min(newest, recorded)
        spans = [(end - wanted, end)] if wanted <= end else [(0, end), (count - (wanted - end), count)]
    for first, end in spans:
        if first == end:
            continue
        data = kernel.memory.read(ring.address + first * size, (end - first) * size)
        for slot in range(first, end):
            yield slot, value(array.element, data, (slot - first) * size)


def has_events(kernel: Kernel) -> bool:
    """Whether the kernel records events; other kernels of the design need not."""
    return kernel.has_debugger_interface or kernel.has(MANAGER, "events.entries")


def read_event_list(
    kernel: Kernel,
    n: int | None = None,
    kind: str | None = None,
    stack: int | None = None,
    asid: int | None = None,
    core: int | None = None,
    since_stop: bool = False,
) -> EventList:
    """The newest `n` events that pass the filters.

    Raises `SelectionError` for a kind of event or a core that does not exist, and `NotTinyOSError` for a
    kernel that records no events.
    """
    if not has_events(kernel):
        raise NotTinyOSError("this kernel has no event ring: there are no events to show")
    n = _SHOWN if n is None else n
    kernel.note_change()
    if kind is not None:
        kind = _known_kind(kernel, kind)
    filtered = since_stop or any(entry is not None for entry in (kind, stack, asid, core))
    ring = read_events(kernel, None if filtered else n)
    cores = {*kernel.machine.cores, *(event.core for event in ring.events if event.core is not None)}
    if core is not None and core not in cores:
        raise SelectionError(f"no core {core} (known: {', '.join(map(str, sorted(cores)))})")
    earlier = _earlier_count(kernel, ring.recorded) if since_stop else None
    matching = [
        event
        for event in ring.events
        if (kind is None or event.kind == kind)
        and (stack is None or event.stack == stack)
        and (asid is None or event.asid == asid)
        and (core is None or event.core == core)
        and (earlier is None or (event.sequence or 0) > earlier)
    ]
    kept = _kept(kernel, ring)
    shown = tuple(matching[-n:] if n else ())
    count = len(matching) if filtered else kept
    return EventList(
        ring.recorded,
        kept,
        count,
        shown,
        event_names(kernel),
        read_clock(kernel),
        earlier,
        diagnostics=kernel.diagnostics,
    )


def _known_kind(kernel: Kernel, wanted: str) -> str:
    """A kind of event as the kernel spells it. Raises `SelectionError`."""
    known = kinds(kernel)
    found = next((kind for kind in known if kind.lower() == wanted.lower()), None)
    if found is None:
        raise SelectionError(f"no kind of event {wanted} (known: {', '.join(known)})")
    return found


def _kept(kernel: Kernel, ring: Events) -> int:
    """How many events are still in the ring."""
    field = kernel.locate_field(MANAGER, "events.entries")
    array = unwrap(field.type) if field else None
    capacity = array.count if isinstance(array, Array) else len(ring.events)
    return capacity if ring.recorded is None else min(capacity, ring.recorded)


def _earlier_count(kernel: Kernel, recorded: int | None) -> int | None:
    """How many events there were at the last look at an earlier stop; None and a note if there was none."""
    earlier: int | None = kernel.history.earlier("events")
    kernel.history.keep("events", recorded)
    if earlier is None or (recorded is not None and earlier > recorded):
        kernel.diagnostics.add_note(
            "no command looked at the events or counters at an earlier stop: all events are shown"
        )
        return None
    return earlier


def kinds(kernel: Kernel) -> list[str]:
    """The kinds of event that the kernel's type has."""
    return list(kind_numbers(kernel))


def kind_numbers(kernel: Kernel) -> dict[str, int]:
    """The kinds of event with their numbers, from the type alone."""
    found = _enumeration(kernel, MANAGER, "events.entries[].kind")
    return {name: number for number, name in found.items() if number != 0}


def offered_kinds(target: Target) -> list[str]:
    """For completion: the kinds of event."""
    return kinds(target.kernel) if target.kernel is not None else []


def event_names(kernel: Kernel) -> dict[str, dict[int, str]]:
    """The names in each enum that events hold as numbers, by the enum's name; from the types alone."""
    return {name: _enumeration(kernel, *where) for name, where in _NAMED.items()}


def _enumeration(kernel: Kernel, static_name: str, path: str) -> dict[int, str]:
    """The names of the enum at a path, by number; empty if there is none."""
    static = kernel.layout.static(static_name)
    if static is None:
        return {}
    outer, array, inner = path.partition("[].")
    field = locate_path(static.type, outer)
    type_ = unwrap(field.type) if field is not None else None
    if array and isinstance(type_, Array):
        element = locate(type_.element, inner)
        type_ = unwrap(element.type) if element is not None else None
    return dict(type_.values) if isinstance(type_, Enumeration) else {}
