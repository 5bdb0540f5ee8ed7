"""The REPL on a dumb terminal, on a terminal of no size, and with its output in a pipe."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.session.processes import wait_until_gone

_TOP = Path(__file__).resolve().parents[2]
_SECONDS = 30.0
_WELCOME = (
    b"tinyos: the kernel is running; `help` lists the commands, Ctrl-C stops the kernel, Ctrl-D quits\n"
)


class Terminal:
    """tinyos-repl at a terminal: `screen` is all output to the terminal, `log` all output to the pipe."""

    def __init__(self, kernel: Path, *, term: str | None, piped: bool = False) -> None:
        self._keys, inner = os.openpty()
        self._sources = {self._keys: bytearray()}
        environment = os.environ | {"PYTHONPATH": str(_TOP), "LC_ALL": "C.UTF-8", "TERM": term or ""}
        if term is None:
            del environment["TERM"]
        self.child = subprocess.Popen(
            [sys.executable, "-m", "gdbplugin.repl.main", "--kernel", str(kernel)],
            stdin=inner,
            stdout=subprocess.PIPE if piped else inner,
            stderr=inner,
            env=environment,
            start_new_session=True,
            # Makes it the controlling terminal, as in a shell, so that Ctrl-C sends a signal.
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )
        os.close(inner)
        if self.child.stdout is not None:
            self._sources[self.child.stdout.fileno()] = bytearray()

    @property
    def screen(self) -> bytes:
        return bytes(self._sources[self._keys]).replace(b"\r\n", b"\n")

    @property
    def log(self) -> bytes:
        assert self.child.stdout is not None
        return bytes(self._sources[self.child.stdout.fileno()])

    def sees(self, text: bytes, count: int = 1) -> None:
        """Wait until `text` was shown `count` times in all."""
        deadline = time.monotonic() + _SECONDS
        while (self.screen + (self.log if len(self._sources) > 1 else b"")).count(text) < count:
            assert time.monotonic() < deadline, f"no {text!r} in {self.screen!r}"
            self._read(0.1)

    def types(self, text: bytes) -> None:
        os.write(self._keys, text)

    def ends(self) -> int:
        """Wait for the end; returns the exit status."""
        deadline = time.monotonic() + _SECONDS
        while self.child.poll() is None:
            assert time.monotonic() < deadline, f"it does not end: {self.screen!r}"
            self._read(0.1)
        self._read(0.1)
        return self.child.returncode

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.terminate()
            self.child.wait(_SECONDS)
        wait_until_gone([self.child.pid])
        os.close(self._keys)
        if self.child.stdout is not None:
            self.child.stdout.close()

    def _read(self, seconds: float) -> None:
        for source in select.select(list(self._sources), [], [], seconds)[0]:
            try:
                self._sources[source] += os.read(source, 1 << 16)
            except OSError:
                time.sleep(seconds)  # The terminal's other end is closed.


@pytest.fixture
def start(kernel_elf: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts the REPL at a terminal."""
    started: list[Terminal] = []

    def make(**options: object) -> Terminal:
        started.append(Terminal(kernel_elf, **options))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for terminal in started:
        terminal.close()


@pytest.mark.parametrize("term", ["dumb", "unknown", None])
def test_dumb_terminal_gets_a_prompt_and_no_escapes(start: Callable[..., Terminal], term: str | None) -> None:
    terminal = start(term=term)
    terminal.sees(b"tinyos> ")
    terminal.types(b"output 6*7\n")
    terminal.sees(b"tinyos> ", 2)
    terminal.types(b"live\n")
    terminal.sees(b"tinyos> ", 3)
    terminal.types(b"*\n")
    terminal.sees(b"tinyos*> ")
    terminal.types(b"q\nq\n")
    assert terminal.ends() == 0
    said = b"live needs a whole terminal: TERM is " + (b"not set" if term is None else repr(term).encode())
    assert terminal.screen.startswith(_WELCOME + b"tinyos> output 6*7\n42\ntinyos> live\n" + said)
    assert b"\x1b" not in terminal.screen


def test_kernel_output_is_shown_above_a_new_prompt(start: Callable[..., Terminal]) -> None:
    terminal = start(term="dumb")
    terminal.sees(b"tinyos> ")
    terminal.types(b"console spawn lazy\n")
    terminal.sees(b" (lazy) started on stack ")
    terminal.sees(b"tinyos> ", 3)  # One of them is the kernel's own prompt, from its echo of the line.
    terminal.types(b"\x04")
    assert terminal.ends() == 0
    assert b"\x1b" not in terminal.screen


def test_ctrl_c_at_plain_prompt_stops_the_kernel(start: Callable[..., Terminal]) -> None:
    terminal = start(term="dumb")
    terminal.sees(b"tinyos> ")
    terminal.types(b"\x03")
    terminal.sees(b"#0  ")
    terminal.sees(b"tinyos> ", 2)
    terminal.types(b"\x03")  # Now there is nothing to stop.
    terminal.sees(b"tinyos> ", 3)
    terminal.types(b"quit\n")
    assert terminal.ends() == 0
    assert terminal.screen.count(b"#0  ") == 1


def test_lost_session_is_reported_at_the_prompt(start: Callable[..., Terminal]) -> None:
    terminal = start(term="dumb")
    terminal.sees(b"tinyos> ")
    terminal.types(b"monitor quit\n")
    terminal.sees(b"`restart` starts a new session")
    terminal.sees(b"tinyos> ", 2)
    terminal.types(b"restart\n")
    terminal.sees(b"tinyos: a new session")
    terminal.sees(b"tinyos> ", 3)
    terminal.types(b"output 6*7\n")
    terminal.sees(b"42")
    terminal.types(b"quit\n")
    assert terminal.ends() == 0


def test_output_in_a_pipe_leaves_the_prompt_on_the_terminal(start: Callable[..., Terminal]) -> None:
    terminal = start(term="xterm", piped=True)
    terminal.sees(b"tinyos> ")
    terminal.types(b"output 6*7\n")
    terminal.sees(b"tinyos> ", 2)
    terminal.types(b"echo \\377\\n\n")
    terminal.sees(b"tinyos> ", 3)
    terminal.types(b"\x04")
    assert terminal.ends() == 0
    assert terminal.log == _WELCOME + b"42\n\\xff\n"
    assert terminal.screen == b"tinyos> output 6*7\ntinyos> echo \\377\\n\ntinyos> \n"


def test_terminal_of_no_size_is_told_what_live_needs(start: Callable[..., Terminal]) -> None:
    terminal = start(term="xterm")
    terminal.sees(b"tinyos>")
    assert termios.tcgetwinsize(terminal._keys) == (0, 0)
    terminal.types(b"live\r")
    terminal.sees(b"live needs a whole terminal: the terminal does not know its size")
    terminal.types(b"quit\r")
    assert terminal.ends() == 0
    assert b"\x1b[?1049h" not in terminal.screen  # The alternate screen was never opened.
