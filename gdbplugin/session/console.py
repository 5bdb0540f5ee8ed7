"""The kernel's serial console: its shell's commands and their answers."""

from __future__ import annotations

import codecs
import re
import socket
from collections.abc import Callable

from gdbplugin.session.errors import EndedError, SessionError
from gdbplugin.session.process import Pump

PROMPT = re.compile(r"(?<![^\n])tinyos\*?> $")
"""The end of what the kernel has written, when it waits for a command (`tinyos*> ` in the `*` submenu)."""
_ANSWER_SECONDS = 10.0


class Console:
    """One end of the serial line. All that the kernel writes is kept in `transcript`."""

    def __init__(
        self,
        line: socket.socket,
        pump: Pump,
        how_it_ended: Callable[[], EndedError],
        already_read: bytes = b"",
    ) -> None:
        self._line = line
        self._pump = pump
        self._how_it_ended = how_it_ended
        self._transcript = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._partial = ""
        self._read = 0
        self._ended = False
        self.on_text: Callable[[str], None] | None = None
        """Given what the kernel writes, as it comes."""
        if already_read:
            self._receive(already_read)
        pump.add(line.fileno(), self._receive)
        pump.add_source("the kernel's console", lambda: self._transcript)

    @property
    def transcript(self) -> str:
        """All that the kernel has written so far, each line ended by a line feed."""
        self._pump.drain()
        return self._transcript

    def send(self, text: str) -> None:
        """Type `text`, as it is, on the kernel's console."""
        try:
            self._line.sendall(text.encode(errors="surrogateescape"))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._how_it_ended() from error

    def expect(
        self,
        pattern: str | re.Pattern[str],
        timeout: float = _ANSWER_SECONDS,
        *,
        waiting_for: str | None = None,
    ) -> re.Match[str]:
        """Wait until `pattern` is in what was written since the last wait, and return the match.

        `$` is the end of what has come so far. `waiting_for` is what an error calls it.
        Raises `WaitTimeoutError`; `EndedError` if QEMU ends meanwhile.
        """
        compiled = re.compile(pattern)
        found: re.Match[str] | None = None

        def seen() -> bool:
            nonlocal found
            found = compiled.search(self._transcript, self._read)
            return found is not None or self._ended

        what = waiting_for or repr(compiled.pattern)
        self._pump.wait(seen, timeout, f"{what} on the kernel's console")
        if found is None:
            raise self._how_it_ended()
        self._read = found.end()
        return found

    def wait_for_prompt(self, timeout: float = _ANSWER_SECONDS) -> str:
        """Wait until the kernel's shell is ready; returns the lines that the kernel wrote up to then."""
        start = self._read
        prompt = self.expect(PROMPT, timeout, waiting_for="the prompt")
        return self._transcript[start : prompt.start()]

    def command(self, text: str, timeout: float = _ANSWER_SECONDS) -> str:
        """Type a command, and return the lines of its answer, without the echo and the prompt after it.

        What the kernel says of its own accord while it carries it out is part of the answer. The target must
        be running. `text` is printable, for the kernel must echo it.
        """
        if not text.isprintable():
            raise SessionError(f"{text!r} is not a command of one printable line")
        self._pump.drain()
        self._read = len(self._transcript)
        self.send(text + "\r")
        # Not just the next prompt: the kernel may be telling of the end of a task, and prompt after that.
        self.expect(re.escape(text) + r"\n", timeout, waiting_for=f"the echo of {text!r}")
        return self.wait_for_prompt(timeout)

    def close(self) -> None:
        """Let go of the serial line, so that another program may connect to it; twice is as once."""
        if self._line.fileno() >= 0:
            self._pump.remove(self._line.fileno())
            self._line.close()

    def _receive(self, data: bytes) -> None:
        if not data:
            self._ended = True
        # A character or a line end may be cut in two by the transfer: its beginning waits for what follows.
        text = self._partial + self._decoder.decode(data, final=self._ended)
        keep = len(text) - 1 if text.endswith("\r") and not self._ended else len(text)
        text, self._partial = text[:keep].replace("\r\n", "\n"), text[keep:]
        self._transcript += text
        if self.on_text is not None:
            self.on_text(text)
