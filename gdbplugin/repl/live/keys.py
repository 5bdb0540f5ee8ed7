"""The keys of the live view."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from gdbplugin.repl.live.events import other_kind
from gdbplugin.repl.live.screen import VIEWS

if TYPE_CHECKING:
    from gdbplugin.repl.live.application import Live

Action = Callable[[], None]
Bind = Callable[..., Callable[[Action], None]]
"""Takes the names of keys; what it gives takes what they do."""

_ALL = 1 << 30
_MOST_ZOOM = 12


def bindings(live: Live) -> KeyBindings:
    """The keys, bound to what they do to the view and its choices."""
    keys = KeyBindings()
    choices = live.choices

    def bind(*names: str) -> Callable[[Action], None]:
        def add(action: Action) -> None:
            for name in names:
                keys.add(name)(_calling(action))

        return add

    for view in VIEWS:
        bind(view)(partial(live.show, view))
    bind("up")(lambda: live.scroll(-1))
    bind("down")(lambda: live.scroll(1))
    bind("pageup", "c-b")(lambda: live.scroll(-live.page))
    bind("pagedown", "c-f")(lambda: live.scroll(live.page))
    bind("home")(lambda: live.scroll(-_ALL))
    bind("end")(lambda: live.scroll(_ALL))
    bind("x")(live.toggle_target)
    bind("q", "c-c", "c-d", "<sigint>")(live.leave)
    bind("c-l")(live.clear)

    @bind(" ")
    def _pause() -> None:
        choices.paused = not choices.paused

    @bind("?", "h", "f1")
    def _help() -> None:
        choices.help = not choices.help

    @bind("escape")
    def _back() -> None:
        choices.help = False

    _bind_pool(bind, live)
    _bind_events(bind, live)
    return keys


def _bind_pool(bind: Bind, live: Live) -> None:
    """The keys of the pool's map."""
    choices = live.choices

    @bind("o")
    def _owner() -> None:
        choices.by_task = not choices.by_task

    @bind("m")
    def _map() -> None:
        choices.map_only = not choices.map_only

    @bind("+", "=")
    def _closer() -> None:
        choices.zoom = min(_MOST_ZOOM, choices.zoom + 1)

    @bind("-")
    def _wider() -> None:
        choices.zoom = max(0, choices.zoom - 1)


def _bind_events(bind: Bind, live: Live) -> None:
    """The keys of the event stream."""
    choices = live.choices

    def choose(step: int) -> None:
        scene = live.scene
        if scene is not None:
            choices.kind = other_kind(scene, step)

    bind("k")(lambda: choose(1))
    bind("K")(lambda: choose(-1))

    @bind("a")
    def _all() -> None:
        choices.kind = None


def _calling(action: Action) -> Callable[[KeyPressEvent], None]:
    def call(event: KeyPressEvent) -> None:
        del event  # Each key does one thing, wherever it is pressed.
        action()

    return call
