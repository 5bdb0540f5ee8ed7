"""The event ring."""

from __future__ import annotations

from dataclasses import dataclass

from gdbplugin.kernel.target import MANAGER, Kernel


@dataclass(frozen=True)
class Event:
    """Something the memory management did. What `first` and `second` mean is the kind's to say."""

    sequence: int | None
    timestamp: int | None
    core: int | None
    asid: int | None
    kind: str | None
    first: int | None
    second: int | None


@dataclass(frozen=True)
class Events:
    """The ring, oldest first. `recorded` counts all events since boot."""

    recorded: int | None
    events: tuple[Event, ...]


def read_events(kernel: Kernel) -> Events:
    """Decode the event ring; one read."""
    recorded = kernel.part(MANAGER, "events.recorded")
    part = kernel.part(MANAGER, "events.entries")
    found = []
    for slot, entry in enumerate(part.value if part else ()):
        if entry.get("sequence") != 0:
            found.append(kernel.record(Event, entry, f"event in slot {slot}"))
    found.sort(key=lambda event: event.sequence or 0)
    return Events(recorded.value if recorded else None, tuple(found))
