"""The status line: what the target is doing, in the width of a terminal. Pure; `looking.py` finds it out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gdbplugin.render.style import Style

_GAUGE = 6
_SHORTEST_PLACE = 8
_WIDE = 100
_MODULE = re.compile(r"^(\w+::)+(?=\w)")


@dataclass(frozen=True)
class Status:
    """What is known of the target. None stands for what is not; of a running one that is more."""

    running: bool
    place: str = ""
    """The function, and where it is in the source."""
    core: int | None = None
    exception_level: int | None = None
    asid: int | None = None
    task: str | None = None
    pressure: str | None = None
    free: int | None = None
    """Frames to be had, of `limit`."""
    limit: int | None = None
    event_rate: float | None = None
    """Events of the memory management a second."""
    problem: str = ""
    """Why something is not known."""


def line(status: Status, width: int, style: Style) -> str:
    """At most `width` characters: the place is shortened first, then parts are left out from the end."""
    separator = " | " if style.plain else " · "
    parts = [_state(status), *_parts(status, style, width >= _WIDE)]
    room = width - len(separator.join(parts)) - len(" in ")
    if status.place:
        parts[0] += " in " + _shortened(status.place, max(_SHORTEST_PLACE, room), style)
    while len(parts) > 1 and len(separator.join(parts)) > width:
        parts.pop()
    return separator.join(parts)[:width]


def _state(status: Status) -> str:
    return "running" if status.running else "stopped"


def _parts(status: Status, style: Style, is_wide: bool) -> list[str]:
    if status.problem:
        return [status.problem]
    parts = []
    where = [f"core {status.core}"] if status.core is not None else []
    where += [f"EL{status.exception_level}"] if status.exception_level is not None else []
    if where:
        parts.append(" ".join(where))
    parts.append(f"ASID {style.text(status.asid)}")
    parts.append(f"task {style.text(status.task)}")
    if status.pressure is not None:
        gauge = style.gauge(status.free, status.limit, _GAUGE)
        parts.append(f"{status.pressure} {gauge}{_share(status) if is_wide else ''}")
    if status.event_rate is not None:
        parts.append(f"{status.event_rate:,.0f} ev/s")
    return parts


def _share(status: Status) -> str:
    return f" {100 * status.free // status.limit}%" if status.free is not None and status.limit else ""


def _shortened(place: str, room: int, style: Style) -> str:
    """A place that is too long: without its function's module, or else its end, which tells more."""
    if len(place) <= room:
        return place
    place = _MODULE.sub("", place)
    if len(place) <= room:
        return place
    return style.ellipsis + place[len(place) - room + 1 :]
