"""A trace before it is written: slices, instants and counts on tracks, in counts of the kernel's timer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gdbplugin.records import NamedTuple
from gdbplugin.timeline import packets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.timeline.packets import Value

NANOSECONDS = 1_000_000_000
_LATEST = (1 << 63) - 1
# Perfetto numbers groups as processes; 0 would be its idle process.
_FIRST_GROUP = 1


class Track(NamedTuple):
    """A track: its group, and its name and place in it."""

    group: str
    rank: int
    name: str


class Slice(NamedTuple):
    """Something that took some time."""

    begin: int
    end: int
    name: str
    arguments: Mapping[str, Value]


class Instant(NamedTuple):
    """Something that happened."""

    time: int
    name: str
    arguments: Mapping[str, Value]


class Counter(NamedTuple):
    """Something that is counted."""

    name: str
    unit: str


class _Operation(NamedTuple):
    """A packet of a track, but for its track."""

    time: int
    kind: int
    name: str = ""
    arguments: Mapping[str, Value] | None = None


class Trace:
    """Everything that is to be written. Times are counts of the timer, `frequency` of them in a second."""

    def __init__(self, frequency: int) -> None:
        self.frequency = frequency
        self.slices: dict[Track, list[Slice]] = {}
        self.instants: dict[Track, list[Instant]] = {}
        self.counts: dict[Counter, list[tuple[int, int]]] = {}

    @property
    def tracks(self) -> list[Track]:
        """The tracks of slices and instants, in the order in which they are shown."""
        return sorted({*self.slices, *self.instants})

    def add_slice(self, track: Track, found: Slice) -> None:
        """Add a slice; it may contain others of its track, and be contained by them."""
        self.slices.setdefault(track, []).append(found)

    def add_instant(self, track: Track, found: Instant) -> None:
        """Add an instant."""
        self.instants.setdefault(track, []).append(found)

    def add_count(self, counter: Counter, time: int, value: int) -> None:
        """Add a count, unless the one before was the same. Counts are added in the order of their times."""
        known = self.counts.setdefault(counter, [])
        if not known or known[-1][1] != value:
            known.append((time, value))

    def span(self) -> tuple[int, int] | None:
        """The first time and the last one; None if the trace is empty."""
        times = [time for found in self.counts.values() for time, _ in found]
        times += [one.time for found in self.instants.values() for one in found]
        times += [time for found in self.slices.values() for one in found for time in (one.begin, one.end)]
        return (min(times), max(times)) if times else None

    def packets(self, counters: str) -> Iterator[bytes]:
        """The packets: first those of the tracks, then the others by their times.

        `counters` is the name of the group of the counters.
        """
        groups = [counters, *dict.fromkeys(track.group for track in self.tracks if track.group != counters)]
        uuids: dict[object, int] = {}
        for number, group in enumerate(groups, _FIRST_GROUP):
            uuids[group] = number
            yield packets.process(number, number, group)
        for counter in self.counts:
            uuids[counter] = len(uuids) + _FIRST_GROUP
            place = len(uuids)
            yield packets.counter(uuids[counter], uuids[counters], counter.name, place, counter.unit)
        for track in self.tracks:
            uuids[track] = len(uuids) + _FIRST_GROUP
            yield packets.track(uuids[track], uuids[track.group], track.name, len(uuids))
        yield from self._timed(uuids)

    def _timed(self, uuids: Mapping[object, int]) -> Iterator[bytes]:
        """The packets with a time, in its order; those of one track stay in theirs."""
        found: list[tuple[int, int, _Operation | int]] = [
            (time, uuids[counter], value) for counter, known in self.counts.items() for time, value in known
        ]
        for track in self.tracks:
            found += [(one.time, uuids[track], one) for one in self._operations(track)]
        found.sort(key=lambda entry: entry[0])
        for time, uuid, what in found:
            # A corrupt event may have any time.
            then = min(time * NANOSECONDS // self.frequency, _LATEST)
            if isinstance(what, int):
                yield packets.count(then, uuid, what)
            else:
                yield packets.event(what.kind, then, uuid, what.name, what.arguments)

    def _operations(self, track: Track) -> list[_Operation]:
        """What begins, ends and happens on a track, in the order of time."""
        found = list(nested(self.slices.get(track, ())))
        found += [
            _Operation(one.time, packets.INSTANT, one.name, one.arguments)
            for one in self.instants.get(track, ())
        ]
        return sorted(found, key=lambda one: one.time)


def nested(slices: Sequence[Slice]) -> Iterator[_Operation]:
    """Beginnings and ends of slices such that each ends before the one that it began in.

    A slice that would outlast the one that it began in ends with it.
    """
    ends: list[int] = []
    for one in sorted(slices, key=lambda one: (one.begin, -one.end)):
        while ends and ends[-1] <= one.begin:
            yield _Operation(ends.pop(), packets.SLICE_END)
        end = max(one.begin, one.end)
        ends.append(min(end, ends[-1]) if ends else end)
        yield _Operation(one.begin, packets.SLICE_BEGIN, one.name, one.arguments)
    while ends:
        yield _Operation(ends.pop(), packets.SLICE_END)
