"""The prompt: one line after the other read from a person, with the target's doings shown meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import is_searching
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.color_depth import ColorDepth

from gdbplugin.repl import completion, status
from gdbplugin.repl.looking import Lookout
from gdbplugin.repl.repl import Outcome, Repl
from gdbplugin.repl.status import Status
from gdbplugin.repl.target import TargetError
from gdbplugin.repl.terminal import without_echo
from gdbplugin.session import SessionError

_REFRESH_SECONDS = 0.5


class Prompt:
    """Reads lines and has them carried out, until the person leaves."""

    def __init__(self, repl: Repl, history: History) -> None:
        self._repl = repl
        self._screen = repl.screen
        self._lookout: Lookout | None = None
        self._status = Status(running=False)
        self._arrived: list[str] = []
        self._told_lost: str | None = None
        self.editor: PromptSession[str] = PromptSession(
            message=lambda: "tinyos*> " if repl.in_submenu else "tinyos> ",
            history=history,
            completer=_Completer(repl),
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            bottom_toolbar=self._toolbar,
            key_bindings=self._keys(),
            color_depth=None if self._screen.style.colour else ColorDepth.DEPTH_1_BIT,
            enable_suspend=True,
        )

    def loop(self) -> None:
        """Read and carry out lines until `quit` or Ctrl-D."""
        while True:
            try:
                # What was pasted may be several lines.
                for line in self._read().splitlines():
                    with without_echo(sys.stdin):
                        outcome = self._repl.run(line)
                    if outcome is Outcome.QUIT:
                        return
                    if outcome is Outcome.FAILED:
                        self._told_lost = self._repl.lost  # If that is why, it has been said.
            except EOFError:
                return
            except KeyboardInterrupt:
                self._screen.end_line()  # Between two lines there was nothing to stop.

    def _read(self) -> str:
        self._look()
        self._tell_lost(self._screen.say)
        with self._screen.prompting(self._show_above):
            try:
                # Our own handler of what goes wrong in the loop: see `_begin`.
                return self.editor.prompt(pre_run=self._begin, set_exception_handler=False)
            finally:
                # What came too late to be shown above.
                self._write_arrived()

    def _begin(self) -> None:
        """Listen to GDB, QEMU and the kernel while the prompt's own loop runs."""
        loop, app = asyncio.get_running_loop(), get_app()

        def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception") or RuntimeError(context["message"])
            # What was cancelled with a line was meant to be; what died says for itself what broke with it.
            is_news = not isinstance(error, asyncio.CancelledError) and self._repl.lost is None
            if is_news and app.is_running and not app.is_done:
                app.exit(exception=error)

        loop.set_exception_handler(fail)
        if self._repl.lost is None:
            loop.add_reader(self._repl.session.pump.fileno(), self._listen)
        app.create_background_task(self._keep_looking())

    def _listen(self) -> None:
        self._repl.session.pump.drain()
        self._tell_lost(self._show_above_line)
        if self._repl.lost is not None:
            # Its streams are at their end, which can be read for ever.
            asyncio.get_running_loop().remove_reader(self._repl.session.pump.fileno())
        self._refresh()

    async def _keep_looking(self) -> None:
        while True:
            if self._lookout is not None:
                await self._lookout.peek()
            self._refresh()
            await asyncio.sleep(_REFRESH_SECONDS)

    def _refresh(self) -> None:
        before = self._status
        self._look()
        if self._status != before:
            get_app().invalidate()

    def _look(self) -> None:
        """Find out the status, of the session that there is now."""
        session = self._repl.session
        if self._repl.lost is not None:
            self._lookout = None
            self._status = Status(running=False, problem="no session: `restart` begins a new one")
            return
        if self._lookout is None or self._lookout.session is not session:
            self._lookout = Lookout(session, self._screen)
        self._status = self._lookout.look()

    def _toolbar(self) -> str:
        return status.line(self._status, get_app().output.get_size().columns, self._screen.style)

    def _tell_lost(self, tell: Callable[[str], None]) -> None:
        """Say once that something has ended."""
        lost = self._repl.lost
        if lost is not None and lost != self._told_lost:
            tell(lost)
        self._told_lost = lost

    def _show_above_line(self, text: str) -> None:
        self._show_above(f"tinyos: {text}\n")

    def _show_above(self, text: str) -> None:
        """Have lines written above the prompt, all that come at once together."""
        if not self._arrived:
            run_in_terminal(self._write_arrived)
        self._arrived.append(text)

    def _write_arrived(self) -> None:
        arrived, self._arrived = "".join(self._arrived), []
        self._screen.write_now(arrived)

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c", filter=~is_searching)
        @keys.add("<sigint>")
        def _(event: KeyPressEvent) -> None:
            if self._repl.lost is None and self._repl.session.running:
                self._interrupt()
            else:
                event.current_buffer.reset()

        return keys

    def _interrupt(self) -> None:
        try:
            self._repl.target.interrupt()
        except TargetError:
            pass  # It has stopped by itself in this moment, and GDB has told where.
        except SessionError as error:
            self._show_above_line(error.message)
        self._refresh()


class _Completer(Completer):
    """`completion.complete` for prompt_toolkit."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterable[Completion]:
        """What may stand at the cursor."""
        for offer in completion.complete(
            document.text_before_cursor, self._repl, in_submenu=self._repl.in_submenu
        ):
            yield Completion(offer.text, start_position=-offer.replaced, display_meta=offer.meaning)
