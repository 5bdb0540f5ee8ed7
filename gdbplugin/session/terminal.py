"""A person's terminal on the serial console of a session that is already running."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

from gdbplugin.session.directory import CONSOLE, sessions
from gdbplugin.session.errors import SessionError

_LEAVE = b"\x1d"  # Ctrl-], as telnet's.
_READ_BYTES = 4096


def attach(path: str) -> int:
    """Join standard input and output to the console's socket at `path`; if empty, to the only session's.

    Ends at Ctrl-], at the end of input, or with the session. Raises `SessionError`.
    """
    address = Path(path) if path else _only_session()
    with socket.socket(socket.AF_UNIX) as console:
        try:
            console.connect(str(address))
        except OSError as error:
            raise SessionError(
                f"cannot reach a console at {address} ({error.strerror}): scripts/run --gdb prints its path"
            ) from error
        print(f"tinyos: on the console {address}; Ctrl-] leaves it", file=sys.stderr)
        with _raw(sys.stdin.fileno()):
            _relay(console, sys.stdin.fileno(), sys.stdout.fileno())
    return 0


def _only_session() -> Path:
    """The console of the one session of this user."""
    consoles = [console for path in sessions() if (console := path / CONSOLE).exists()]
    if not consoles:
        raise SessionError(
            "no session leaves its console free: start one with scripts/run --gdb; "
            "in tinyos-repl the command `console` is for that"
        )
    if len(consoles) > 1:
        raise SessionError("several sessions are running; name the console: " + " ".join(map(str, consoles)))
    return consoles[0]


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Hand each key on as it is typed: the kernel's shell edits and echoes by itself."""
    if not os.isatty(terminal):
        yield
        return
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _relay(console: socket.socket, keys: int, screen: int) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(console, selectors.EVENT_READ)
        selector.register(keys, selectors.EVENT_READ)
        while True:
            for ready, _ in selector.select():
                data = os.read(ready.fd, _READ_BYTES)
                if not data:
                    return
                if ready.fd != keys:
                    os.write(screen, data)
                    continue
                before, leave, _rest = data.partition(_LEAVE)
                console.sendall(before)
                if leave:
                    return
