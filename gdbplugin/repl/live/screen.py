"""The whole screen: a bar with the views, the view chosen, and a bar with the state of things. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import wrap

from gdbplugin.repl.live import events, lazy, pressure, stacks, statistics
from gdbplugin.repl.live.canvas import (
    BAD,
    TITLE,
    WARNING,
    Area,
    Drawn,
    Line,
    clip,
    ends,
    pad,
    printable,
    words,
)
from gdbplugin.repl.live.scene import Choices, Scene

LEAST_WIDTH, LEAST_HEIGHT = 60, 15
_LEAST_BELOW = 4
_MOST_MESSAGES = 4

_BAR = "class:bar"
VIEWS: dict[str, tuple[str, Callable[[Scene, Area], Drawn]]] = {
    "s": ("stats", statistics.draw),
    "d": ("stacks", stacks.draw),
    "l": ("lazy", lazy.draw),
    "p": ("pressure", pressure.draw),
    "e": ("events", events.draw),
}
"""The views by their keys: the name, and what draws it."""

_HELP = """
 s d l p e  statistics, stacks, lazy pages, pressure, events
 space      the view stands still, the target does not
 x          stop the target here, or let it run on
 up, down   scroll; also PgUp, PgDn, Home, End
 q          leave; the target stays as it is

 p: o       the pool by the frames' owners, or by their use
    + -     fewer frames a cell, more
    m       nothing but the map, or all
    Sss..   S: at least half of the cell's frames are in use,
            most by stacks; s: fewer are; . , -: none is
 e: k K     events of the next kind only, of the one before
    a       of all kinds; End follows the stream again
"""


@dataclass(frozen=True)
class Status:
    """How the session stands: `target` in a word, `messages` a sentence each."""

    target: str
    running: bool
    snapshots_per_second: float | None
    torn: int
    messages: tuple[str, ...] = ()
    lost: bool = False


@dataclass(frozen=True)
class Screen:
    """What is to be seen: as many lines as asked for, how far the view is scrolled, how many rows it has."""

    lines: list[Line]
    scroll: int
    page: int


def draw(scene: Scene | None, choices: Choices, status: Status, area: Area) -> Screen:
    """The screen for an area of any size."""
    if area.width < LEAST_WIDTH or area.height < LEAST_HEIGHT:
        return _too_small(area)
    messages = _messages(status, area.width)
    height = area.height - 2 - len(messages)
    body, scroll, page = _body(scene, choices, Area(area.width, height, area.style))
    lines = [
        _header(scene, choices, area),
        *(clip(line, area.width) for line in body),
        *([[]] * (height - len(body))),
        *messages,
        _footer(choices, status, area),
    ]
    return Screen(lines, scroll, page)


def _messages(status: Status, width: int) -> list[Line]:
    """What there is to say, above the lower bar; of very much only the beginning."""
    style = BAD if status.lost else WARNING
    lines = [line for message in status.messages for line in wrap(printable(message), width - 2)]
    return [[(style, " " + line)] for line in lines[:_MOST_MESSAGES]]


def _body(scene: Scene | None, choices: Choices, area: Area) -> tuple[list[Line], int, int]:
    if choices.help:
        return [words(line) for line in _HELP.splitlines()][: area.height], 0, 1
    if scene is None:
        return [[], words(" Waiting for the first whole snapshot of the kernel's memory.")], 0, 1
    drawn = VIEWS[choices.view][1](scene, area)
    return fit(drawn, area.height, choices.scroll.get(choices.view, 0))


def fit(drawn: Drawn, height: int, scroll: int) -> tuple[list[Line], int, int]:
    """The lines of a view that are seen, how far it is scrolled really, and how many rows a page has."""
    head = drawn.head[:height]
    room = height - len(head)
    count = len(drawn.rows)
    if count <= room:
        return [*head, *drawn.rows[:], *_below(drawn, room - count)], 0, max(1, room)
    room = max(0, room - 1)  # For the line that says what is not seen.
    if room == 0:
        return head, 0, 1
    scroll = max(0, min(scroll, count - room))
    first = count - room - scroll if drawn.from_end else scroll
    where = words(f" rows {first + 1:,} to {first + room:,} of {count:,} (arrows, PgUp, PgDn)", TITLE)
    return [*head, *drawn.rows[first : first + room], where], scroll, room


def _below(drawn: Drawn, room: int) -> list[Line]:
    """What a view shows in room that would be empty: an empty line, the title, and the last of the lines."""
    if drawn.below is None or room < _LEAST_BELOW:
        return []
    title, lines = drawn.below
    return [[], title, *lines[-(room - 2) :]]


def _header(scene: Scene | None, choices: Choices, area: Area) -> Line:
    tabs = "".join(
        f"[{key} {name}]" if key == choices.view else f" {key} {name} " for key, (name, _) in VIEWS.items()
    )
    right = ""
    if scene is not None:
        clock, level = scene.snapshot.clock, scene.snapshot.pressure.pressure.level
        up = clock.seconds(clock.now)
        right = f"{area.style.text(level)}  up {area.style.missing if up is None else f'{up:,.1f} s'} "
    left = f" TinyOS {tabs}"
    if len(left) + len(right) >= area.width:
        left = f" {tabs}"
    return pad(ends([(_BAR, left)], [(_BAR, right)], area.width, _BAR), area.width, _BAR)


def _footer(choices: Choices, status: Status, area: Area) -> Line:
    rate = status.snapshots_per_second
    seen = f"{area.style.missing if rate is None else f'{rate:.1f}'} snapshots/s, {status.torn:,} torn"
    if status.lost:
        left = f" {status.target}"
    elif choices.paused:
        left = f" VIEW PAUSED; target {status.target}"
    else:
        left = f" {status.target}; {seen}"
    pause = "space go on" if choices.paused else "space pause"
    stop = "x stop" if status.running else "x continue"
    hints = (
        ["q leave "]
        if status.lost
        else [f"{pause}  {stop}  ? help  q leave ", "? help  q leave ", "q leave "]
    )
    right = next((hint for hint in hints if len(left) + 2 + len(hint) <= area.width), hints[-1])
    left = left[: area.width - len(right) - 2]
    return pad(ends([(_BAR, left)], [(_BAR, right)], area.width, _BAR), area.width, _BAR)


def _too_small(area: Area) -> Screen:
    text = (
        f"live needs {LEAST_WIDTH}x{LEAST_HEIGHT} at least; this is {area.width}x{area.height}. "
        "Make it larger, or q leaves."
    )
    width = max(1, area.width)
    lines = [words(text[at : at + width]) for at in range(0, len(text), width)][: area.height]
    return Screen([*lines, *([[]] * (area.height - len(lines)))], 0, 1)
