"""A person's terminal on the serial console of a session that is already running."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gdbplugin.session.directory import CONSOLE, sessions
from gdbplugin.session.errors import SessionError
from gdbplugin.session.streams import StreamError

_LEAVE = b"\x1d"  # Ctrl-], as telnet's.
_READ_BYTES = 4096


def attach(path: str) -> int:
    """Join standard input and output to the console's socket at `path`; if empty, to the only session's.

    Ends at Ctrl-], at the end of input, or with the session. Raises `SessionError`.
    """
    address = Path(path) if path else _only_session()
    with _alone_on(address), socket.socket(socket.AF_UNIX) as console:
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
def _alone_on(address: Path) -> Iterator[None]:
    """Raise `SessionError` where another of us is on the console: QEMU would leave us waiting.

    The directory of the session is locked for it.
    """
    try:
        directory = os.open(address.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield  # Whether there is a console at all, connecting to it tells.
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


def _relay(console: socket.socket, keys: int, screen: BinaryIO) -> None:
    # Not the default one, which takes no file: what is typed may come from one.
    with selectors.SelectSelector() as selector:
        selector.register(console, selectors.EVENT_READ)
        selector.register(keys, selectors.EVENT_READ)
        try:
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                # First what is shown: the end of what is typed is the end of all.
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
            return  # The session has ended just then.


def _typed(keys: int) -> bytes:
    """What is there; not by `sys.stdin`, in whose buffer the rest would not be waited for."""
    try:
        return os.read(keys, _READ_BYTES)
    except OSError as error:
        raise StreamError(keys, error) from error
