"""The live view as a full-screen application of prompt_toolkit, and its keys."""

from __future__ import annotations

import asyncio
import curses
import os
import sys
from collections.abc import Callable
from functools import partial

from prompt_toolkit.application import Application, get_app_session
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import Layout, UIContent, UIControl, Window
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style as Colours

from gdbplugin.repl.command_line import VIEWS, no_view, view_letter
from gdbplugin.repl.live import screen
from gdbplugin.repl.live.drawing import Line, Viewport
from gdbplugin.repl.live.feed import Feed
from gdbplugin.repl.live.scene import Choices, Scene
from gdbplugin.repl.live.views import other_kind
from gdbplugin.repl.output import screen_problem, style_of
from gdbplugin.session import SessionError, TinyOS, Watch

_REFRESH_SECONDS = 0.15
# The whole ring, so that a burst between two snapshots is missed only if the kernel overwrote it.
_EVENTS = 4096
# The shortest pause between two snapshots, so that keys are handled even if a snapshot takes long.
_REST_SECONDS = 0.02
_COLOURS = Colours.from_dict(
    {
        "bar": "reverse",
        "title": "bold",
        "good": "ansigreen",
        "warning": "ansiyellow",
        "bad": "ansired",
        "table": "ansiblue",
        "lazy": "ansimagenta",
        "stack": "ansigreen",
        "task": "ansicyan",
    }
)

KeyAction = Callable[[], None]
Bind = Callable[..., Callable[[KeyAction], None]]
"""Takes the names of keys; returns a decorator for the action that they do."""

_ALL = 1 << 30
_FAR_SECONDS = 10.0
_MOST_ZOOM = 12


def run_live(tinyos: TinyOS, view: str = "s") -> None:
    """Show a view (`s d l p e`, or its name) on the whole terminal until `q`. The target stays as it is then.

    Uses the terminal of prompt_toolkit's current session. Raises a `SessionError` if there is no such view or
    no terminal, or if the guest's RAM is not mapped.
    """
    asyncio.run(live(tinyos, view))


async def live(tinyos: TinyOS, view: str = "s") -> None:
    """The same as `run_live`, for use in a running event loop."""
    output = get_app_session().output
    # A caller that gives another output has chosen it.
    is_ours = isinstance(output, PlainTextOutput | Vt100_Output) and output.stdout is sys.stdout
    if is_ours and (problem := screen_problem(sys.stdout)):
        raise SessionError(f"live needs a whole terminal: {problem}")
    letter = view_letter(view)
    if letter is None:
        raise SessionError(no_view(view))
    with tinyos.watch(events=_EVENTS) as watch:
        await LiveApplication(tinyos, watch, letter).run()


class LiveApplication:
    """The application: the user's choices, and the loop that refreshes the view."""

    def __init__(self, tinyos: TinyOS, watch: Watch, view: str) -> None:
        self.choices = Choices(view)
        self.page = 1
        """The number of rows that the view shows at once."""
        self._tinyos = tinyos
        self._style = style_of(sys.stdout)
        self._feed = Feed(tinyos, watch, self.choices)
        self._wanted = asyncio.Event()
        self._toggling = False
        self._rendered = asyncio.Event()
        self._app: Application[None] = Application(
            layout=Layout(Window(_ScreenControl(self), always_hide_cursor=True)),
            key_bindings=_bindings(self),
            style=_COLOURS,
            full_screen=True,
            color_depth=colour_depth(),
        )
        self._app.after_render += lambda _: self._rendered.set()
        # Escape also begins the sequences of other keys: wait this long for the rest of one.
        self._app.ttimeoutlen = 0.05

    @property
    def scene(self) -> Scene | None:
        """The scene on the screen; None before the first snapshot."""
        return self._feed.scene

    async def run(self) -> None:
        """Show the view until the user quits."""
        loop = asyncio.get_running_loop()
        pump = self._tinyos.pump
        loop.add_reader(pump.fileno(), pump.drain)
        refreshing = loop.create_task(self._refresh())
        refreshing.add_done_callback(self._end_with)
        try:
            await self._app.run_async()
        finally:
            loop.remove_reader(pump.fileno())
            refreshing.cancel()
            await asyncio.wait([refreshing])

    def lines(self, width: int, height: int) -> list[Line]:
        """The lines of a screen of that size."""
        viewport = Viewport(width, height, self._style)
        shown = screen.draw(self.scene, self.choices, self._feed.state(), viewport)
        self.page = shown.page
        self.choices.scroll[self.choices.view] = shown.scroll
        return shown.lines

    def show(self, view: str) -> None:
        """Switch to a view."""
        self.choices.view = view
        self.choices.help = False
        self._wanted.set()

    def scroll(self, step: int) -> None:
        """Scroll by `step` rows, up if negative. The view of events follows the stream only at its end."""
        choices = self.choices
        view = choices.view
        offset = choices.scroll.get(view, 0)
        if VIEWS[view] != "events":
            choices.scroll[view] = max(0, offset + step)
            return
        offset = max(0, offset - step)
        choices.scroll[view] = offset
        events = self.scene.timeline.events if self.scene is not None else ()
        if offset == 0:
            choices.until = None
        elif choices.until is None and events:
            choices.until = events[-1].sequence

    def go(self, steps: int) -> None:
        """Show an earlier snapshot, or a later one if `steps` is positive."""
        self._feed.go(steps)

    def jump(self, seconds: float) -> None:
        """Show what was so many seconds later, or earlier if negative."""
        self._feed.jump(seconds)

    def toggle_target(self) -> None:
        """Stop or continue the target, once the screen says so."""
        if not self._feed.is_lost and not self._toggling:
            self._toggling = True
            self._feed.announce_toggle()
            self._wanted.set()

    def clear(self) -> None:
        """Redraw everything, for example after another program wrote to the terminal."""
        self._app.renderer.clear()

    def quit(self) -> None:
        """End the application."""
        if self._app.is_running and not self._app.is_done:
            self._app.exit()

    async def _refresh(self) -> None:
        """Take snapshots for ever: a few times per second, and at once if a key asks for it."""
        loop = asyncio.get_running_loop()
        while True:
            self._wanted.clear()
            due = loop.time() + _REFRESH_SECONDS
            if self._toggling:
                await self._draw()
                self._feed.toggle()
                self._toggling = False
            self._feed.look()
            self._app.invalidate()
            try:
                await asyncio.wait_for(self._wanted.wait(), max(_REST_SECONDS, due - loop.time()))
            except TimeoutError:
                continue

    async def _draw(self) -> None:
        """Draw the screen, and wait until it is drawn."""
        self._rendered.clear()
        self._app.invalidate()
        await self._rendered.wait()

    def _end_with(self, refreshing: asyncio.Task[None]) -> None:
        """End the application with the error of the refresh loop, if it has failed."""
        error = None if refreshing.cancelled() else refreshing.exception()
        if error is not None and self._app.is_running and not self._app.is_done:
            self._app.exit(exception=error)


class _ScreenControl(UIControl):
    """Gives the lines of the screen to prompt_toolkit, which writes only what has changed."""

    def __init__(self, live: LiveApplication) -> None:
        self._live = live

    def create_content(self, width: int, height: int) -> UIContent:
        lines = self._live.lines(width, height)
        return UIContent(
            get_line=lambda number: list(lines[number]), line_count=len(lines), show_cursor=False
        )


def colour_depth() -> ColorDepth | None:
    """Monochrome if the user or the terminal wants no colour; None for prompt_toolkit's default."""
    chosen = ColorDepth.from_env()
    if chosen is not None:
        return chosen
    try:
        curses.setupterm(os.environ.get("TERM") or "dumb", 1)
    except curses.error:
        return None  # This system has no description of the terminal.
    return ColorDepth.DEPTH_1_BIT if curses.tigetnum("colors") <= 0 else None


def _bindings(live: LiveApplication) -> KeyBindings:
    """The keys and their actions."""
    keys = KeyBindings()
    choices = live.choices

    def bind(*names: str) -> Callable[[KeyAction], None]:
        def add(action: KeyAction) -> None:
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
    bind("left")(lambda: live.go(-1))
    bind("right")(lambda: live.go(1))
    bind("[", "s-left")(lambda: live.jump(-_FAR_SECONDS))
    bind("]", "s-right")(lambda: live.jump(_FAR_SECONDS))
    bind("<")(lambda: live.go(-_ALL))
    bind(">")(lambda: live.go(_ALL))
    bind("x")(live.toggle_target)
    bind("q", "c-c", "c-d", "<sigint>")(live.quit)
    bind("c-l")(live.clear)

    @bind(" ")
    def _pause() -> None:
        choices.paused = not choices.paused

    @bind("?", "h", "f1")
    def _help() -> None:
        choices.help = not choices.help

    @bind("escape")
    def _back() -> None:
        if choices.help:
            choices.help = False
        else:
            choices.past = None

    _bind_pool(bind, live)
    _bind_events(bind, live)
    return keys


def _bind_pool(bind: Bind, live: LiveApplication) -> None:
    """Bind the keys of the map of the pool."""
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


def _bind_events(bind: Bind, live: LiveApplication) -> None:
    """Bind the keys of the event view."""
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


def _calling(action: KeyAction) -> Callable[[KeyPressEvent], None]:
    def call(event: KeyPressEvent) -> None:
        del event  # An action depends only on the key.
        action()

    return call
