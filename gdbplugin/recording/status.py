"""How much is recorded, and which memory."""

from __future__ import annotations

from collections.abc import Sequence

from gdbplugin.aarch64.walk import VirtualMemory
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.selection import Selection, choose
from gdbplugin.kernel.target import Target
from gdbplugin.recording.history import note_overwritten
from gdbplugin.recording.ring import Recording
from gdbplugin.records import NamedTuple, dataclass

_PAGE = 4096


class PhysicalRange(NamedTuple):
    """A range of physical addresses, by whole pages."""

    start: int
    """Its first address."""
    end: int
    """The address after its last."""


@dataclass(frozen=True)
class RecordingStatus(Diagnosed):
    """The state of a recording."""

    json_fields = (
        *("records", "room", "oldest", "stores", "unchanged", "instructions", "ranges"),
        *("can_go_back", "checkpoints"),
    )

    records: int
    """Records since the recording began."""
    room: int
    """How many records there is room for."""
    oldest: int
    """The number of the oldest record that is still there, from 0."""
    stores: int
    """How many of all records are stores."""
    unchanged: int
    """Stores to recorded pages that changed nothing, and so have no record."""
    instructions: tuple[int, ...]
    """What each core has executed; if the machine can go back, what all have, as the first core's."""
    ranges: tuple[PhysicalRange, ...]
    """What is recorded beside the translation tables."""
    can_go_back: bool
    """Whether `rewind` works."""
    checkpoints: int
    """How many checkpoints there are."""


def read_status(
    target: Target,
    add: Sequence[tuple[int, int]] = (),
    add_physical: Sequence[tuple[int, int]] = (),
    drop: bool = False,
) -> RecordingStatus:
    """The state of the recording, after ranges (start, end) were added to it.

    Those of `add` are virtual, and go by the tables that the selected core uses. With `drop` all ranges that
    were added before are dropped first. Raises `RecordingError`, and `MachineError` for what is not mapped.
    """
    target.machine  # noqa: B018 (raises now if there is none that is stopped)
    recording = Recording(target.recording_path())
    try:
        if add or add_physical or drop:
            first = recording.first_ranges if drop else recording.ranges
            recording.watch([*first, *_physical(target, add), *map(_whole_pages, add_physical)])
        return _status(target, recording)
    finally:
        recording.close()


def _physical(target: Target, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The physical ranges of virtual ones."""
    if not ranges:
        return []
    memory = VirtualMemory(target.machine, choose(target, Selection()).regime)
    places = [place for start, end in ranges for place in memory.physical_ranges(start, end - start)]
    return [_whole_pages((start, start + size)) for start, size in places]


def _whole_pages(one: tuple[int, int]) -> tuple[int, int]:
    return one[0] & -_PAGE, -(-one[1] // _PAGE) * _PAGE


def _status(target: Target, recording: Recording) -> RecordingStatus:
    header = recording.header
    note_overwritten(target, header.written, recording.first)
    return RecordingStatus(
        records=header.written,
        room=header.capacity,
        oldest=recording.first,
        stores=header.stores,
        unchanged=header.unchanged,
        instructions=recording.instructions,
        ranges=tuple(PhysicalRange(*one) for one in recording.ranges),
        can_go_back=bool(header.can_go_back),
        checkpoints=header.checkpoint_count,
        diagnostics=target.diagnostics,
    )
