"""A program in a real terminal, in a tmux server for one test."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_TOP = Path(__file__).resolve().parents[2]
_SECONDS = 30.0


class Pane:
    """One terminal. `end` it."""

    def __init__(self, directory: Path) -> None:
        self._tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        self._home = directory

    def start(self, command: Sequence[str], width: int, height: int, **environment: str) -> None:
        """Start a program in it, with our environment and the given variables."""
        values = {"PYTHONPATH": str(_TOP), "XDG_STATE_HOME": str(self._home), "LC_ALL": "C.UTF-8"}
        assignments = [f"{name}={value}" for name, value in {**values, **environment}.items()]
        size = ["-x", str(width), "-y", str(height)]
        self._do("new-session", "-d", *size, "env", *assignments, *command)
        self._do("set-option", "remain-on-exit", "on")
        # Otherwise tmux's own message overwrites the program's last line.
        self._do("set-option", "remain-on-exit-format", "")

    @property
    def pid(self) -> int:
        """The process ID of the program."""
        return int(self._do("display-message", "-p", "#{pane_pid}"))

    def press(self, *keys: str) -> None:
        """Press keys, named as in tmux."""
        self._do("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type text as it is, and Enter."""
        self._do("send-keys", "-l", text)
        self._do("send-keys", "Enter")

    def lines(self, *options: str) -> list[str]:
        """The lines on the screen."""
        return self._do("capture-pane", "-p", *options).splitlines()

    def see(self, wanted: Callable[[list[str]], bool], what: str) -> list[str]:
        """Wait until `wanted` accepts the screen; returns it."""
        deadline = time.monotonic() + _SECONDS
        while not wanted(lines := self.lines()):
            assert time.monotonic() < deadline, "\n".join([f"never seen: {what}", *lines])
            time.sleep(0.05)
        return lines

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size."""
        self._do("resize-window", "-x", str(width), "-y", str(height))

    def wait_for_end(self) -> None:
        """Wait until the program has ended."""
        deadline = time.monotonic() + _SECONDS
        while self._do("display-message", "-p", "#{pane_dead}") != "1\n":
            assert time.monotonic() < deadline, "\n".join(["it does not end", *self.lines()])
            time.sleep(0.05)

    def end(self) -> None:
        """End the terminal and what runs in it."""
        self._do("kill-server")

    def _do(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True)
        return done.stdout
