"""Perfetto's trace format, as far as a timeline needs it: packets of tracks, slices, instants and counts.

A trace is a protobuf message of type `perfetto.protos.Trace`. A field of a message is its number and wire
type as one varint, and then a varint, or a length and so many bytes. The numbers are those of Perfetto's
`protos/perfetto/trace/`, where they never change; a test reads what is written by Perfetto's own descriptors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Value = int | str
"""What an argument of a slice or an instant can be."""

SLICE_BEGIN, SLICE_END, INSTANT, COUNTER = 1, 2, 3, 4
"""`TrackEvent.Type`."""

_VARINT, _BYTES = 0, 2
_MASK = (1 << 64) - 1

# Trace, and TracePacket.
_PACKET = 1
_TIMESTAMP, _SEQUENCE, _TRACK_EVENT, _FLAGS, _TRACK_DESCRIPTOR = 8, 10, 11, 13, 60
# The sequence begins here: older readers skip what comes before.
_CLEARED = 1
# TrackDescriptor.
_UUID, _NAME, _PROCESS, _PARENT, _COUNTER, _ORDERING, _RANK = 1, 2, 3, 5, 8, 11, 12
_PID, _PROCESS_NAME = 1, 6
_UNIT_NAME = 6
_EXPLICIT = 3
# TrackEvent, and DebugAnnotation.
_ANNOTATION, _TYPE, _TRACK, _EVENT_NAME, _COUNT = 4, 9, 11, 23, 30
_UNSIGNED, _SIGNED, _STRING, _ANNOTATION_NAME = 3, 4, 6, 10

# All packets are of one writer.
_WRITER = 1


def process(uuid: int, number: int, name: str) -> bytes:
    """The packet of a group of tracks, which Perfetto takes for a process."""
    group = _number(_PID, number) + _text(_PROCESS_NAME, name)
    described = _number(_UUID, uuid) + _text(_NAME, name) + _message(_PROCESS, group)
    content = _message(_TRACK_DESCRIPTOR, described + _number(_ORDERING, _EXPLICIT))
    return _packet(content + _number(_FLAGS, _CLEARED))


def track(uuid: int, parent: int, name: str, rank: int) -> bytes:
    """The packet of a track for slices and instants; those of a group are shown by their ranks."""
    return _packet(_message(_TRACK_DESCRIPTOR, _described(uuid, parent, name, rank)))


def counter(uuid: int, parent: int, name: str, rank: int, unit: str) -> bytes:
    """The packet of a track for counts."""
    described = _described(uuid, parent, name, rank) + _message(_COUNTER, _text(_UNIT_NAME, unit))
    return _packet(_message(_TRACK_DESCRIPTOR, described))


def event(
    kind: int, time: int, uuid: int, name: str = "", arguments: Mapping[str, Value] | None = None
) -> bytes:
    """The packet of the beginning or the end of a slice, or of an instant, at `time` in nanoseconds."""
    content = _number(_TYPE, kind) + _number(_TRACK, uuid)
    if name:
        content += _text(_EVENT_NAME, name)
    for key, value in (arguments or {}).items():
        content += _message(_ANNOTATION, _text(_ANNOTATION_NAME, key) + _valued(value))
    return _timed(time, content)


def count(time: int, uuid: int, value: int) -> bytes:
    """The packet of a count at `time` in nanoseconds."""
    return _timed(time, _number(_TYPE, COUNTER) + _number(_TRACK, uuid) + _number(_COUNT, value))


def join(packets: Iterable[bytes]) -> bytes:
    """The packets as one trace, or a part of one: traces can be put one after the other."""
    return b"".join(_message(_PACKET, one) for one in packets)


def varint(number: int) -> bytes:
    """A number of 64 bits, seven in a byte, the lowest first; a negative one as its two's complement."""
    number &= _MASK
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _described(uuid: int, parent: int, name: str, rank: int) -> bytes:
    place = _number(_PARENT, parent) + _number(_RANK, rank)
    return _number(_UUID, uuid) + _text(_NAME, name) + place


def _timed(time: int, content: bytes) -> bytes:
    return _packet(_number(_TIMESTAMP, time) + _message(_TRACK_EVENT, content))


def _packet(content: bytes) -> bytes:
    return content + _number(_SEQUENCE, _WRITER)


def _valued(value: Value) -> bytes:
    if isinstance(value, str):
        return _text(_STRING, value)
    return _number(_SIGNED if value < 0 else _UNSIGNED, value)


def _number(field: int, value: int) -> bytes:
    return varint(field << 3 | _VARINT) + varint(value)


def _text(field: int, value: str) -> bytes:
    # Names come from the target, where they may be anything.
    return _message(field, value.encode("utf-8", "replace"))


def _message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | _BYTES) + varint(len(content)) + content
