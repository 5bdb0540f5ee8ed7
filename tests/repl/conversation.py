"""A person at the REPL's prompt: keys come through a pipe, the REPL runs in the main thread."""

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

from gdbplugin.render import Style
from gdbplugin.repl.output import Output
from gdbplugin.repl.prompt import Prompt
from gdbplugin.repl.repl import Repl, ReplOptions, SessionOptions

_SECONDS = 20.0


class Person:
    """Types, and waits for output. Each wait looks only at output after that of the last wait.

    It runs in its own thread, so it may look at the output but not use the session.
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
        """Wait until `for_this` returns true."""
        deadline = time.monotonic() + _SECONDS
        while not for_this():
            assert time.monotonic() < deadline, f"no {what()}"
            time.sleep(0.01)

    def says_and_sees(self, line: str, text: str) -> str:
        """Type a line and wait for its output."""
        self.types(line + "\n")
        return self.sees(text)


class Conversations:
    """Conversations with one REPL."""

    def __init__(self, kernel: Path, records: int = 0) -> None:
        self._out = io.StringIO()
        output = Output(self._out, self._out, Style(), for_person=True)
        self.repl = Repl(
            SessionOptions(kernel=kernel, records=records), output, ReplOptions(interactive=True)
        )

    def __call__(self, script: Callable[[Person], None]) -> str:
        """Run `script` with a person; returns all output meanwhile."""
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
                        os.kill(os.getpid(), signal.SIGINT)  # The current command may never end.
                finally:
                    person.types("\x05\x15\x04")  # Clear the line, then end the input.

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
        """All output so far."""
        return self._out.getvalue()

    def close(self) -> None:
        self.repl.close()
