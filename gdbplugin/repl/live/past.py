"""The snapshots of the last minutes, to go back to: compressed, and bounded in bytes. Pure."""

from __future__ import annotations

import pickle
import zlib
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import Any

from gdbplugin.kernel.events import Events
from gdbplugin.kernel.lazy_table import LazyTable
from gdbplugin.records import replace
from gdbplugin.repl.live.scene import CHANGE_SECONDS, Sample, Timeline
from gdbplugin.session import Snapshot

# The shortest time between two snapshots that are kept: the view takes some, as after a key, without a pause.
_EVERY_SECONDS = 0.1
KEPT_SECONDS = 300.0
"""How far back they go."""
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Moment:
    """A snapshot that is kept. `time` is in seconds, as a sample's."""

    time: float
    snapshot: bytes
    sample: bytes

    @property
    def size(self) -> int:
        """The bytes that it takes."""
        return len(self.snapshot) + len(self.sample)


class Past:
    """Snapshots of the last minutes, by the times of their samples; `add` each snapshot once."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self.moments: deque[Moment] = deque()
        """The snapshots, oldest first."""
        self._bytes = 0
        self._most_bytes = most_bytes

    def add(self, snapshot: Snapshot, sample: Sample) -> None:
        """Keep a snapshot, without events and records of lazy pages, if it is time for another one."""
        moments = self.moments
        if moments and sample.time < moments[-1].time:
            self._clear()  # The kernel's time went back: an earlier state was restored.
        if moments and sample.time - moments[-1].time < _EVERY_SECONDS:
            return
        lazy = replace(snapshot.lazy, pages=LazyTable([], []))
        kept = replace(snapshot, events=Events(snapshot.events.recorded, ()), lazy=lazy)
        moment = Moment(sample.time, _packed(kept), _packed(sample))
        moments.append(moment)
        self._bytes += moment.size
        while moments[0].time < sample.time - KEPT_SECONDS or (
            self._bytes > self._most_bytes and len(moments) > 1
        ):
            self._bytes -= moments.popleft().size

    def place(self, time: float) -> int:
        """The place of the newest snapshot at a time, or the oldest one's."""
        times = [moment.time for moment in self.moments]
        return max(0, bisect_right(times, time) - 1)

    def snapshot(self, place: int) -> Snapshot:
        """The snapshot at a place."""
        found: Snapshot = _unpacked(self.moments[place].snapshot)
        return found

    def timeline(self, place: int, timeline: Timeline) -> Timeline:
        """What the timeline was when the snapshot at a place was the newest one."""
        until = self.moments[place].time
        first = self.place(until - CHANGE_SECONDS)
        samples = [_unpacked(self.moments[number].sample) for number in range(first, place + 1)]
        return timeline.earlier(samples, self.snapshot(place).events.recorded)

    def _clear(self) -> None:
        self.moments.clear()
        self._bytes = 0


def _packed(value: object) -> bytes:
    return zlib.compress(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), 1)


def _unpacked(data: bytes) -> Any:
    return pickle.loads(zlib.decompress(data))
