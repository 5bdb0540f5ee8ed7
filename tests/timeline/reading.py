"""Reads a trace back, by the descriptors that Perfetto's own package has."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TracePacket, TrackEvent


@dataclass
class Slice:
    """A slice; `parent` is the one that it is in."""

    begin: int
    end: int
    name: str
    arguments: dict
    parent: Slice | None = None


@dataclass
class Track:
    """A track with all that is on it; `group` is the name of its parent."""

    name: str
    group: str
    unit: str | None
    slices: list[Slice] = field(default_factory=list)
    instants: list[tuple[int, str, dict]] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Read:
    """A whole trace."""

    tracks: list[Track]
    times: list[int]
    """Of all packets that have one, in the order of the file."""

    def track(self, name):
        """The only track of that name."""
        (found,) = (one for one in self.tracks if one.name == name)
        return found

    def slices(self, name=None):
        """All slices of that name, with their tracks."""
        return [(track, one) for track in self.tracks for one in track.slices if name in (None, one.name)]

    def instants(self, name=None):
        """All instants of that name: track, time, arguments; in the order of their numbers."""
        found = [
            (track, time, arguments)
            for track in self.tracks
            for time, word, arguments in track.instants
            if name in (None, word)
        ]
        return sorted(found, key=lambda entry: entry[2].get("sequence", 0))


def read(file: str | os.PathLike[str] | bytes) -> Read:
    """Read a trace; fails if a slice ends that has not begun, or begins and does not end."""
    if not isinstance(file, bytes):
        with open(file, "rb") as opened:
            file = opened.read()
    trace = Trace()
    assert trace.ParseFromString(file) == len(file)
    assert not _has_unknown(trace)
    if trace.packet:
        assert trace.packet[0].sequence_flags == TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
    names, tracks, open_slices, times = {}, {}, {}, []
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id
        if packet.HasField("track_descriptor"):
            described = packet.track_descriptor
            assert described.uuid not in names
            assert not times, "a track is described before anything is on it"
            names[described.uuid] = described.name
            if described.HasField("process"):
                assert described.process.process_name == described.name
                continue
            unit = described.counter.unit_name if described.HasField("counter") else None
            tracks[described.uuid] = Track(described.name, names[described.parent_uuid], unit)
            continue
        times.append(packet.timestamp)
        _take(packet.timestamp, packet.track_event, tracks, open_slices)
    assert not any(open_slices.values()), "a slice that does not end"
    return Read(list(tracks.values()), times)


def _take(time, event, tracks, open_slices):
    track, inside = tracks[event.track_uuid], open_slices.setdefault(event.track_uuid, [])
    arguments = {one.name: getattr(one, one.WhichOneof("value")) for one in event.debug_annotations}
    if event.type == TrackEvent.TYPE_SLICE_BEGIN:
        found = Slice(time, time, event.name, arguments, inside[-1] if inside else None)
        track.slices.append(found)
        inside.append(found)
    elif event.type == TrackEvent.TYPE_SLICE_END:
        inside.pop().end = time
    elif event.type == TrackEvent.TYPE_INSTANT:
        track.instants.append((time, event.name, arguments))
    else:
        assert event.type == TrackEvent.TYPE_COUNTER
        assert track.unit is not None
        track.counts.append((time, event.counter_value))


def _has_unknown(message):
    """Whether there is a field that Perfetto does not know: read again without them, it would be shorter."""
    size = message.ByteSize()
    message.DiscardUnknownFields()
    return message.ByteSize() != size
