"""The prompt with editing, history, completion and a status line; output is shown above it as it arrives."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import platformdirs
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import is_searching
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.color_depth import ColorDepth

from gdbplugin.repl.completion import complete
from gdbplugin.repl.plain import BasePrompt
from gdbplugin.repl.repl import Outcome, Repl
from gdbplugin.repl.status import Status, StatusReader, status_line
from gdbplugin.session.streams import escaped

_REFRESH_SECONDS = 0.5
_NAME = "tinyos-repl"


class Prompt(BasePrompt):
    """Reads lines and carries them out until the user quits."""

    def __init__(self, repl: Repl, history: History) -> None:
        super().__init__(repl, sys.stdin)
        self._reader: StatusReader | None = None
        self._status = Status(running=False)
        self.editor: PromptSession[str] = PromptSession(
            message=self._message,
            history=history,
            completer=_Completer(repl),
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            bottom_toolbar=self._toolbar,
            key_bindings=self._key_bindings(),
            color_depth=None if self._output.style.colour else ColorDepth.DEPTH_1_BIT,
            enable_suspend=True,
        )

    def loop(self) -> None:
        """Read and carry out lines until `quit` or Ctrl-D."""
        while True:
            try:
                # Pasted text may have several lines.
                for line in self._read().splitlines():
                    if self._carry_out(line) is Outcome.QUIT:
                        return
            except EOFError:
                return
            except KeyboardInterrupt:
                self._output.end_line()  # No command was running.

    def _read(self) -> str:
        self._read_status()
        self._tell_lost(self._output.say)
        with self._output.prompting(self._show_above):
            try:
                # `_begin` sets a handler of our own.
                return self.editor.prompt(pre_run=self._begin, set_exception_handler=False)
            finally:
                # Output that came too late to be shown above.
                self._write_arrived()

    def _begin(self) -> None:
        """Listen to GDB, QEMU and the kernel in the event loop of the prompt."""
        loop, app = asyncio.get_running_loop(), get_app()

        def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception") or RuntimeError(context["message"])
            # Cancelled tasks and the failures of a lost session need no report.
            is_news = not isinstance(error, asyncio.CancelledError) and self._repl.end_reason is None
            if is_news and app.is_running and not app.is_done:
                app.exit(exception=error)

        loop.set_exception_handler(fail)
        if self._repl.end_reason is None:
            loop.add_reader(self._repl.session.pump.fileno(), self._listen)
        app.create_background_task(self._keep_refreshing())

    def _listen(self) -> None:
        self._repl.session.pump.drain()
        self._notice_end()
        self._refresh()

    def _notice_end(self) -> None:
        """Say once that the session was lost, and stop listening to it."""
        self._tell_lost(self._show_above_line)
        if self._repl.end_reason is not None:
            # Its streams are at their end: they would be ready for ever.
            asyncio.get_running_loop().remove_reader(self._repl.session.pump.fileno())

    async def _keep_refreshing(self) -> None:
        while True:
            if self._reader is not None:
                await self._reader.ask_qemu()
            # A program's exit status may come after the end of its streams, which `_listen` sees.
            self._notice_end()
            self._refresh()
            await asyncio.sleep(_REFRESH_SECONDS)

    def _refresh(self) -> None:
        before = self._status
        self._read_status()
        if self._status != before:
            get_app().invalidate()

    def _read_status(self) -> None:
        """Read the status of the current session."""
        session = self._repl.session
        if self._repl.end_reason is not None:
            self._reader = None
            self._status = Status(running=False, problem="no session: `restart` starts a new one")
            return
        if self._reader is None or self._reader.session is not session:
            self._reader = StatusReader(session, self._output.style)
        self._status = self._reader.read()

    def _toolbar(self) -> str:
        return status_line(self._status, get_app().output.get_size().columns, self._output.style)

    def _show_above_line(self, text: str) -> None:
        self._show_above(f"tinyos: {text}\n")

    def _show_above(self, text: str) -> None:
        """Write lines above the prompt; those that arrive together are written together."""
        if not self._arrived:
            run_in_terminal(self._write_arrived)
        self._arrived.append(text)

    def _write_arrived(self) -> None:
        arrived, self._arrived = "".join(self._arrived), []
        self._output.write_now(arrived)

    def _key_bindings(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c", filter=~is_searching)
        @keys.add("<sigint>")
        def _(event: KeyPressEvent) -> None:
            if self._stop_target(self._show_above_line):
                self._refresh()
            else:
                event.current_buffer.reset()

        return keys


class _Completer(Completer):
    """`completion.complete` for prompt_toolkit."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterable[Completion]:
        """The words that complete the text before the cursor."""
        for offer in complete(document.text_before_cursor, self._repl, in_submenu=self._repl.in_submenu):
            yield Completion(offer.text, start_position=-offer.replaced, display_meta=offer.meaning)


def history_file() -> Path:
    """The file of the history, in the directory for the state of the user's programs."""
    return platformdirs.user_state_path(_NAME) / "history"


class _SafeHistory(FileHistory):
    """A history in a file, and in memory only once the file cannot be read or written."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        super().__init__(str(path))
        self._path = path
        self._tell = tell
        self._is_lost = False

    def load_history_strings(self) -> Iterable[str]:
        """The lines, the latest first; bytes that are not UTF-8 become U+FFFD."""
        try:
            return list(super().load_history_strings())
        except OSError as error:
            self._lose(error)
            return []

    def store_string(self, string: str) -> None:
        """Append a line; bytes that are not text become escapes."""
        if self._is_lost:
            return
        try:
            super().store_string(escaped(string))
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._is_lost = True
        self._tell(_failure(self._path, error))


def open_history(path: Path, tell: Callable[[str], None]) -> tuple[History, str]:
    """The history in the file `path`, and why it is in memory only; the second is empty if it is not.

    The file is made if needed, readable by the user only: typed lines may hold anything. If it fails later,
    `tell` is called with a message.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        return InMemoryHistory(), _failure(path, error)
    return _SafeHistory(path, tell), ""


def _failure(path: Path, error: OSError) -> str:
    return f"tinyos: the history is not saved: {path} ({error.strerror})"
