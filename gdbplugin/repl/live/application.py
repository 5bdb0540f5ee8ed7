"""The live view as a full-screen application of prompt_toolkit's."""

from __future__ import annotations

import asyncio
import curses
import os
import sys

from prompt_toolkit.application import Application, get_app_session
from prompt_toolkit.layout import Layout, UIContent, UIControl, Window
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.plain_text import PlainTextOutput
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style as Colours

from gdbplugin.repl.live import keys, screen
from gdbplugin.repl.live.canvas import Area, Line
from gdbplugin.repl.live.feed import Feed
from gdbplugin.repl.live.scene import Choices, Scene
from gdbplugin.repl.terminal import lack_of_screen, style_of
from gdbplugin.session import SessionError, TinyOS
from gdbplugin.session.watch import Watch

_REFRESH_SECONDS = 0.15
# The whole ring: a burst between two looks is seen as far as the kernel has kept it.
_EVENTS = 4096
# At the least between two looks, so that keys are heard however long a look takes.
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


def run_live(tinyos: TinyOS, view: str = "s") -> None:
    """Show a view (`s d l p e`, or its name) on the whole terminal until `q`; the target stays as it is then.

    Raises a `SessionError` of one line where the guest's RAM is not mapped, for a view that there is not, and
    where there is no terminal. Uses the terminal of prompt_toolkit's current session.
    """
    asyncio.run(live(tinyos, view))


async def live(tinyos: TinyOS, view: str = "s") -> None:
    """As `run_live`, within an event loop that runs already."""
    output = get_app_session().output
    # Whoever gives another output than ours knows what it is.
    is_ours = isinstance(output, PlainTextOutput | Vt100_Output) and output.stdout is sys.stdout
    if is_ours and (lack := lack_of_screen(sys.stdout)):
        raise SessionError(f"live needs a terminal to fill: {lack}")
    chosen = _view_of(view)
    with tinyos.watch(events=_EVENTS) as watch:
        await Live(tinyos, watch, chosen).run()


def _view_of(word: str) -> str:
    for key, (name, _) in screen.VIEWS.items():
        if word in (key, name):
            return key
    known = ", ".join(f"{key} ({name})" for key, (name, _) in screen.VIEWS.items())
    raise SessionError(f'"{word}" is no view: they are {known}')


class Live:
    """The application: what the keys have chosen, and the loop that keeps the view fresh."""

    def __init__(self, tinyos: TinyOS, watch: Watch, view: str) -> None:
        self.choices = Choices(view)
        self.page = 1
        """How many rows the view shows at once."""
        self._tinyos = tinyos
        self._style = style_of(sys.stdout)
        self._feed = Feed(tinyos, watch, self.choices)
        self._wanted = asyncio.Event()
        self._toggling = False
        self._rendered = asyncio.Event()
        self._app: Application[None] = Application(
            layout=Layout(Window(_Canvas(self), always_hide_cursor=True)),
            key_bindings=keys.bindings(self),
            style=_COLOURS,
            full_screen=True,
            color_depth=colour_depth(),
        )
        self._app.after_render += lambda _: self._rendered.set()
        # A key that begins a sequence, such as escape, waits for the rest of it no longer than this.
        self._app.ttimeoutlen = 0.05

    @property
    def scene(self) -> Scene | None:
        """What is drawn."""
        return self._feed.scene

    async def run(self) -> None:
        """Show it until it is left."""
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
        """The screen in an area of that size."""
        area = Area(width, height, self._style)
        shown = screen.draw(self.scene, self.choices, self._feed.status(), area)
        self.page = shown.page
        self.choices.scroll[self.choices.view] = shown.scroll
        return shown.lines

    def show(self, view: str) -> None:
        """Switch to a view."""
        self.choices.view = view
        self.choices.help = False
        self._wanted.set()

    def scroll(self, step: int) -> None:
        """Move by so many rows; up is negative. Events stand still while older ones are looked at."""
        choices = self.choices
        view = choices.view
        offset = choices.scroll.get(view, 0)
        if view != "e":
            choices.scroll[view] = max(0, offset + step)
            return
        offset = max(0, offset - step)
        choices.scroll[view] = offset
        events = self.scene.history.events if self.scene is not None else ()
        if offset == 0:
            choices.until = None
        elif choices.until is None and events:
            choices.until = events[-1].sequence

    def toggle_target(self) -> None:
        """Stop the target or let it run, as soon as the screen says so."""
        if not self._feed.is_lost and not self._toggling:
            self._toggling = True
            self._feed.announce_toggle()
            self._wanted.set()

    def clear(self) -> None:
        """Draw everything anew, as after something else wrote to the terminal."""
        self._app.renderer.clear()

    def leave(self) -> None:
        """End the application."""
        if self._app.is_running and not self._app.is_done:
            self._app.exit()

    async def _refresh(self) -> None:
        """Look again and again: at once where a key wants it, else a few times a second."""
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
        """Have the screen drawn, and wait until it is."""
        self._rendered.clear()
        self._app.invalidate()
        await self._rendered.wait()

    def _end_with(self, refreshing: asyncio.Task[None]) -> None:
        """Where the loop has failed, end the application with the same failure."""
        error = None if refreshing.cancelled() else refreshing.exception()
        if error is not None and self._app.is_running and not self._app.is_done:
            self._app.exit(exception=error)


class _Canvas(UIControl):
    """Hands the screen's lines to prompt_toolkit, which writes what differs from what is there."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def create_content(self, width: int, height: int) -> UIContent:
        lines = self._live.lines(width, height)
        return UIContent(
            get_line=lambda number: list(lines[number]), line_count=len(lines), show_cursor=False
        )


def colour_depth() -> ColorDepth | None:
    """No colour where the user wants none, or the terminal has none; else None: what is usual."""
    chosen = ColorDepth.from_env()
    if chosen is not None:
        return chosen
    try:
        curses.setupterm(os.environ.get("TERM") or "dumb", 1)
    except curses.error:
        return None  # A terminal that this system has no description of.
    return ColorDepth.DEPTH_1_BIT if curses.tigetnum("colors") <= 0 else None
