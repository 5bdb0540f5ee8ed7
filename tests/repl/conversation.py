"""A person at the REPL's prompt: keys through a pipe, the REPL in the main thread, what it shows as text."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from gdbplugin.render.style import Style
from gdbplugin.repl.output import Output
from gdbplugin.repl.prompt import Prompt
from gdbplugin.repl.repl import Repl, ReplOptions, SessionOptions

_SECONDS = 20.0


class Person:
    """Types when something was shown. What is waited for comes after what was waited for before.

    In a thread of its own: it may look at what is shown, not ask the session.
    """

    def __init__(self, out: io.StringIO, keys: PipeInput, prompt: Prompt) -> None:
        self._prompt = prompt
        self._out = out
        self._keys = keys
        self._seen = len(out.getvalue())

    def types(self, text: str) -> None:
        """Press keys; `\\n` is Enter."""
        self._keys.send_text(text.replace("\n", "\r"))

    def sees_typed(self, text: str) -> None:
        """Wait until `text` stands at the prompt."""
        buffer = self._prompt.editor.default_buffer
        self.waits(lambda: buffer.text == text, lambda: f"{text!r} at the prompt, but {buffer.text!r}")

    def sees(self, text: str) -> str:
        """Wait until `text` is shown; returns what was shown up to its end."""
        start = self._seen

        def shown() -> bool:
            return text in self._out.getvalue()[start:]

        self.waits(shown, lambda: f"{text!r} in:\n{self._out.getvalue()[start:]}")
        self._seen = self._out.getvalue().index(text, start) + len(text)
        return self._out.getvalue()[start : self._seen]

    def waits(self, for_this: Callable[[], bool], what: Callable[[], str]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + _SECONDS
        while not for_this():
            assert time.monotonic() < deadline, f"no {what()}"
            time.sleep(0.01)

    def says_and_sees(self, line: str, text: str) -> str:
        """Type a line and wait for what it shows."""
        self.types(line + "\n")
        return self.sees(text)


class Conversations:
    """Conversations with one REPL, one after the other."""

    def __init__(self, kernel: Path) -> None:
        self._out = io.StringIO()
        output = Output(self._out, self._out, Style(), for_person=True)
        self.repl = Repl(SessionOptions(kernel=kernel), output, ReplOptions(interactive=True))

    def __call__(self, script: Callable[[Person], None]) -> str:
        """Have `script` type and look, until it is through; returns all that was shown meanwhile."""
        start = len(self._out.getvalue())
        failures: list[BaseException] = []
        over = threading.Event()
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            prompt = Prompt(self.repl, InMemoryHistory())
            person = Person(self._out, keys, prompt)

            def live() -> None:
                try:
                    script(person)
                except BaseException as error:  # noqa: BLE001 (it is raised below)
                    failures.append(error)
                    if not over.is_set():
                        os.kill(os.getpid(), signal.SIGINT)  # A command may be on that never ends.
                finally:
                    person.types("\x05\x15\x04")  # To the line's end, away with it, and the end.

            thread = threading.Thread(target=live)
            thread.start()
            try:
                prompt.loop()
            finally:
                over.set()
                thread.join()
        if failures:
            raise failures[0]
        return self._out.getvalue()[start:]

    def shown(self) -> str:
        """All that was ever shown."""
        return self._out.getvalue()

    def close(self) -> None:
        self.repl.close()
