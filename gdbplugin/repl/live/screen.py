"""The whole screen: a bar with the views, the chosen view, and a bar with the state of the session. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import wrap

from gdbplugin.repl.command_line import VIEWS
from gdbplugin.repl.live import views
from gdbplugin.repl.live.drawing import (
    BAD,
    TITLE,
    WARNING,
    Line,
    ViewContent,
    Viewport,
    clip,
    ends,
    pad,
    printable,
    words,
)
from gdbplugin.repl.live.pressure import draw_pressure
from gdbplugin.repl.live.scene import Choices, Scene
from gdbplugin.repl.live.tasks import draw_tasks

LEAST_WIDTH, LEAST_HEIGHT = 60, 15
_LEAST_BELOW = 4
_MOST_MESSAGES = 4

_BAR = "class:bar"
_DRAW: dict[str, Callable[[Scene, Viewport], ViewContent]] = {
    "stats": views.draw_statistics,
    "stacks": views.draw_stacks,
    "lazy": views.draw_lazy,
    "pressure": draw_pressure,
    "events": views.draw_events,
    "tasks": draw_tasks,
}

_HELP = f"""
 {" ".join(VIEWS)}  {", ".join(VIEWS.values())}
 space      pause the view, not the target
 x          stop the target, or continue it
 up, down   scroll; also PgUp, PgDn, Home, End
 left right one snapshot back, or forward, in any view
 [ ] < >    ten seconds; the oldest, now; Esc: now
 q          quit; the target stays as it is

 p: o       show the pool by owner, or by use
    + -     fewer frames in a cell, or more
    m       show only the map, or everything
    Sss..   S: at least half of the frames in the cell are
            used, most by stacks; s: fewer; . , -: none
 e: k K     show only the next kind of event, or the previous
    a       show all kinds; End follows the stream again
"""


@dataclass(frozen=True)
class FeedState:
    """The state of the session and its snapshots: `target` in a few words, `messages` one sentence each."""

    target: str
    running: bool
    snapshots_per_second: float | None
    torn: int
    messages: tuple[str, ...] = ()
    ended: bool = False
    back: tuple[float, float] | None = None
    """How many seconds ago what is shown was, and the oldest snapshot that is kept; None at the newest."""


@dataclass(frozen=True)
class Screen:
    """The lines of the screen, the rows that the view is scrolled by, and the rows that it shows at once."""

    lines: list[Line]
    scroll: int
    page: int


def draw(scene: Scene | None, choices: Choices, state: FeedState, viewport: Viewport) -> Screen:
    """The screen, in exactly the size of the viewport."""
    if viewport.width < LEAST_WIDTH or viewport.height < LEAST_HEIGHT:
        return _too_small(viewport)
    messages = _messages(state, viewport.width)
    height = viewport.height - 2 - len(messages)
    body, scroll, page = _body(scene, choices, Viewport(viewport.width, height, viewport.style))
    lines = [
        _header(scene, choices, viewport),
        *(clip(line, viewport.width) for line in body),
        *([[]] * (height - len(body))),
        *messages,
        _footer(choices, state, viewport),
    ]
    return Screen(lines, scroll, page)


def _messages(state: FeedState, width: int) -> list[Line]:
    """The messages above the lower bar, cut to a few lines."""
    style = BAD if state.ended else WARNING
    lines = [line for message in state.messages for line in wrap(printable(message), width - 2)]
    return [[(style, " " + line)] for line in lines[:_MOST_MESSAGES]]


def _body(scene: Scene | None, choices: Choices, viewport: Viewport) -> tuple[list[Line], int, int]:
    if choices.help:
        return [words(line) for line in _HELP.splitlines()][: viewport.height], 0, 1
    if scene is None:
        return [[], words(" Waiting for the first snapshot of the kernel's memory.")], 0, 1
    drawn = _DRAW[VIEWS[choices.view]](scene, viewport)
    return fit(drawn, viewport.height, choices.scroll.get(choices.view, 0))


def fit(drawn: ViewContent, height: int, scroll: int) -> tuple[list[Line], int, int]:
    """The visible lines of a view, the rows that it is really scrolled by, and the rows of a page."""
    head = drawn.head[:height]
    room = height - len(head)
    count = len(drawn.rows)
    if count <= room:
        return [*head, *drawn.rows[:], *_below(drawn, room - count)], 0, max(1, room)
    room = max(0, room - 1)  # One line says which rows are visible.
    if room == 0:
        return head, 0, 1
    scroll = max(0, min(scroll, count - room))
    first = count - room - scroll if drawn.from_end else scroll
    where = words(f" rows {first + 1:,} to {first + room:,} of {count:,} (arrows, PgUp, PgDn)", TITLE)
    return [*head, *drawn.rows[first : first + room], where], scroll, room


def _below(drawn: ViewContent, room: int) -> list[Line]:
    """What fills the room below the rows: an empty line, the title, and the last of the lines."""
    if drawn.below is None or room < _LEAST_BELOW:
        return []
    title, lines = drawn.below
    return [[], title, *lines[-(room - 2) :]]


def _header(scene: Scene | None, choices: Choices, viewport: Viewport) -> Line:
    tabs = "".join(
        f"[{key} {name}]" if key == choices.view else f" {key} {name} " for key, name in VIEWS.items()
    )
    right = ""
    if scene is not None:
        clock, level = scene.snapshot.clock, scene.snapshot.pressure.pressure.level
        style = viewport.style
        up = clock.seconds(clock.now)
        right = f"{style.text(level)}  up {style.missing if up is None else f'{up:,.1f} s'} "
    left = f" TinyOS {tabs}"
    if len(left) + len(right) >= viewport.width:
        left = f" {tabs}"
    return pad(ends([(_BAR, left)], [(_BAR, right)], viewport.width, _BAR), viewport.width, _BAR)


def _footer(choices: Choices, state: FeedState, viewport: Viewport) -> Line:
    rate = state.snapshots_per_second
    seen = f"{viewport.style.missing if rate is None else f'{rate:.1f}'} snapshots/s, {state.torn:,} torn"
    if state.back is not None:
        ago, kept = map(viewport.style.duration, state.back)
        left = f" {ago} AGO, oldest {kept}; {state.target}"
    elif state.ended:
        left = f" {state.target}"
    elif choices.paused:
        left = f" VIEW PAUSED; target {state.target}"
    else:
        left = f" {state.target}; {seen}"
    hints = _hints(choices, state)
    right = next((hint for hint in hints if len(left) + 2 + len(hint) <= viewport.width), hints[-1])
    left = left[: viewport.width - len(right) - 2]
    return pad(ends([(_BAR, left)], [(_BAR, right)], viewport.width, _BAR), viewport.width, _BAR)


def _hints(choices: Choices, state: FeedState) -> list[str]:
    """The keys that the lower bar names, from the most to the fewest."""
    if state.back is not None:
        now = "Esc now  q quit "
        return [f"left right [ ] < >  {now}", f"left right  {now}", now, "q quit "]
    if state.ended:
        return ["left back  q quit ", "q quit "]
    pause = "space resume" if choices.paused else "space pause"
    stop = "x stop" if state.running else "x continue"
    others = "? help  q quit "
    return [f"{pause}  {stop}  left back  {others}", f"{pause}  {stop}  {others}", others, "q quit "]


def _too_small(viewport: Viewport) -> Screen:
    text = (
        f"live needs at least {LEAST_WIDTH}x{LEAST_HEIGHT}, not {viewport.width}x{viewport.height}: "
        "make the terminal larger, or press q to quit."
    )
    width = max(1, viewport.width)
    lines = [words(text[at : at + width]) for at in range(0, len(text), width)][: viewport.height]
    return Screen([*lines, *([[]] * (viewport.height - len(lines)))], 0, 1)
