"""The kernel's serial console: commands to its shell and their answers, and a person's terminal on it."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import re
import selectors
import socket
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from gdbplugin.session.directory import CONSOLE, sessions
from gdbplugin.session.errors import EndedError, SessionError
from gdbplugin.session.process import Pump
from gdbplugin.session.streams import StreamError

PROMPT = re.compile(r"(?<![^\n])tinyos\*?> $")
"""What the kernel's output ends with when its shell waits for a command (`tinyos*> ` in the `*` submenu)."""
_ANSWER_SECONDS = 10.0
_LEAVE = b"\x1d"  # Ctrl-], as in telnet.
_READ_BYTES = 4096


class Console:
    """One end of the serial line. `transcript` holds everything that the kernel has written."""

    def __init__(
        self,
        line: socket.socket,
        pump: Pump,
        end_error: Callable[[], EndedError],
        already_read: bytes = b"",
    ) -> None:
        self._line = line
        self._pump = pump
        self._end_error = end_error
        self._transcript = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._partial = ""
        self._read = 0
        self._ended = False
        self.on_text: Callable[[str], None] | None = None
        """Called with the kernel's output as it arrives."""
        if already_read:
            self._receive(already_read)
        pump.add(line.fileno(), self._receive)
        pump.add_source("the kernel's console", lambda: self._transcript)

    @property
    def transcript(self) -> str:
        """Everything that the kernel has written so far; each line ends with a line feed."""
        self._pump.drain()
        return self._transcript

    def send(self, text: str) -> None:
        """Type `text`, unchanged, on the kernel's console."""
        try:
            self._line.sendall(text.encode(errors="surrogateescape"))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._end_error() from error

    def expect(
        self,
        pattern: str | re.Pattern[str],
        timeout: float = _ANSWER_SECONDS,
        *,
        waiting_for: str | None = None,
    ) -> re.Match[str]:
        """Wait until `pattern` matches in the output since the last wait, and return the match.

        `$` matches at the end of what has arrived so far. `waiting_for` names the pattern in an error.
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
            raise self._end_error()
        self._read = found.end()
        return found

    def wait_for_prompt(self, timeout: float = _ANSWER_SECONDS) -> str:
        """Wait until the kernel's shell is ready; returns what the kernel wrote before its prompt."""
        start = self._read
        prompt = self.expect(PROMPT, timeout, waiting_for="the prompt")
        return self._transcript[start : prompt.start()]

    def command(self, text: str, timeout: float = _ANSWER_SECONDS) -> str:
        """Type a command and return the lines of its answer, without the echo and the prompt after it.

        Other messages that the kernel writes meanwhile are part of the answer. The target must be running.
        `text` must be printable, because the kernel must echo it.
        """
        if not text.isprintable():
            raise SessionError(f"{text!r} is not a command: give one printable line")
        self._pump.drain()
        self._read = len(self._transcript)
        self.send(text + "\r")
        # The next prompt alone is not enough: the kernel may just report the end of a task, and prompt again.
        self.expect(re.escape(text) + r"\n", timeout, waiting_for=f"the echo of {text!r}")
        return self.wait_for_prompt(timeout)

    def close(self) -> None:
        """Close the serial line, so that another program may connect to it; a second call does nothing."""
        if self._line.fileno() >= 0:
            self._pump.remove(self._line.fileno())
            self._line.close()

    def _receive(self, data: bytes) -> None:
        if not data:
            self._ended = True
        # A character or a line end may be cut in two by the transfer: keep its first part for the next call.
        text = self._partial + self._decoder.decode(data, final=self._ended)
        keep = len(text) - 1 if text.endswith("\r") and not self._ended else len(text)
        text, self._partial = text[:keep].replace("\r\n", "\n"), text[keep:]
        self._transcript += text
        if self.on_text is not None:
            self.on_text(text)


def attach_terminal(path: str) -> int:
    """Connect standard input and output to the console socket `path`; if empty, to the only session's.

    Ends at Ctrl-], at the end of input, or with the session. Returns exit status 0; raises `SessionError`.
    """
    address = Path(path) if path else _only_console()
    with _console_lock(address), socket.socket(socket.AF_UNIX) as console:
        try:
            console.connect(str(address))
        except OSError as error:
            reason = error.strerror or error
            raise SessionError(
                f"cannot reach a console at {address} ({reason}): scripts/run --gdb prints its path"
            ) from error
        print(f"tinyos: on the console {address}; Ctrl-] leaves it", file=sys.stderr)
        with _raw(sys.stdin.fileno()):
            _relay(console, sys.stdin.fileno(), sys.stdout.buffer)
    return 0


@contextlib.contextmanager
def _console_lock(address: Path) -> Iterator[None]:
    """Lock the session's directory; raises `SessionError` if another terminal has: QEMU would let us wait."""
    try:
        directory = os.open(address.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield  # The caller's connect reports that there is no console.
        return
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise SessionError(
            f"another terminal is on the console {address}: it serves one at a time"
        ) from error
    finally:
        os.close(directory)


def _only_console() -> Path:
    """The console of this user's only session; raises `SessionError` if there are none or several."""
    consoles = [console for path in sessions() if (console := path / CONSOLE).exists()]
    if not consoles:
        raise SessionError(
            "no session leaves its console free: start one with scripts/run --gdb; "
            "in tinyos-repl use the command `console`"
        )
    if len(consoles) > 1:
        raise SessionError("several sessions are running; name the console: " + " ".join(map(str, consoles)))
    return consoles[0]


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Pass on each key as it is typed: the kernel's shell does its own editing and echo."""
    if not os.isatty(terminal):
        yield
        return
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _relay(console: socket.socket, keys: int, screen: BinaryIO) -> None:
    # Not the default selector, which does not take regular files: the input may be one.
    with selectors.SelectSelector() as selector:
        selector.register(console, selectors.EVENT_READ)
        selector.register(keys, selectors.EVENT_READ)
        try:
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                # Output first: the end of input ends the loop.
                if console in ready:
                    data = console.recv(_READ_BYTES)
                    if not data:
                        return
                    screen.write(data)
                    screen.flush()
                if keys in ready:
                    typed = _typed(keys)
                    before, leave, _rest = typed.partition(_LEAVE)
                    console.sendall(before)
                    if leave or not typed:
                        return
        except (BrokenPipeError, ConnectionResetError):
            return  # The session has just ended.


def _typed(keys: int) -> bytes:
    """What has been typed. Not read through `sys.stdin`: select does not see what is left in its buffer."""
    try:
        return os.read(keys, _READ_BYTES)
    except OSError as error:
        raise StreamError(keys, error) from error
