"""Types at tinyos-repl in a real terminal, and draws what that shows as SVG."""

from __future__ import annotations

import html
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from prompt_toolkit.formatted_text import ANSI, to_formatted_text

_COLUMNS, _ROWS = 108, 30
_CELL_WIDTH, _CELL_HEIGHT, _MARGIN = 8.4, 18, 12
_SECONDS = 60.0
_FOREGROUND, _BACKGROUND = "#d0d0d0", "#1c1c1c"
_COLOURS = {
    "ansiblack": "#1c1c1c",
    "ansired": "#e06c75",
    "ansigreen": "#98c379",
    "ansiyellow": "#e5c07b",
    "ansiblue": "#61afef",
    "ansimagenta": "#c678dd",
    "ansicyan": "#56b6c2",
    "ansigray": "#d0d0d0",
    "ansibrightblack": "#7f848e",
    "ansibrightred": "#ff7b86",
    "ansibrightgreen": "#b5e890",
    "ansibrightyellow": "#ffd68a",
    "ansibrightblue": "#8cc8ff",
    "ansibrightmagenta": "#e2a1f5",
    "ansibrightcyan": "#7fdbe6",
    "ansiwhite": "#ffffff",
}


class Terminal:
    """A terminal of its own tmux server, with the REPL in it."""

    def __init__(self, directory: Path, kernel: Path) -> None:
        self._tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        command = ["env", "LC_ALL=C.UTF-8", "TERM=tmux-256color", f"XDG_STATE_HOME={directory}"]
        command += [sys.executable, "-m", "gdbplugin.repl.main", "--kernel", str(kernel)]
        self._do("new-session", "-d", "-x", str(_COLUMNS), "-y", str(_ROWS), *command)

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._do("send-keys", *keys)

    def type(self, line: str) -> None:
        """Type a line."""
        self._do("send-keys", "-l", line)
        self.press("Enter")

    def screen(self, *options: str) -> str:
        """What it shows."""
        return self._do("capture-pane", "-p", *options)

    def see(self, wanted: Callable[[str], bool], what: str) -> None:
        """Wait until the screen is as wanted."""
        deadline = time.monotonic() + _SECONDS
        while not wanted(self.screen()):
            if time.monotonic() > deadline:
                sys.exit(f"tinyos: error: waited {_SECONDS:g} s for {what}:\n{self.screen()}")
            time.sleep(0.05)

    def end(self) -> None:
        """End it and all in it."""
        self._do("kill-server")

    def _do(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True)
        return done.stdout


def main() -> None:
    """Make both pictures in the directory given."""
    kernel, directory = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as private:
        terminal = Terminal(Path(private), kernel)
        try:
            _show_commands(terminal)
            _draw(terminal, directory / "repl.svg")
            _show_live(terminal)
            _draw(terminal, directory / "live.svg")
            terminal.press("q")
        finally:
            terminal.end()


def _ready(screen: str) -> bool:
    """Whether the prompt waits, with its status line."""
    lines = screen.rstrip("\n").split("\n")
    return lines[-1].startswith(("running", "stopped")) and any(line == "tinyos>" for line in lines)


def _show_commands(terminal: Terminal) -> None:
    terminal.see(_ready, "the prompt")
    terminal.press("C-l")
    for line, answer in (
        ("console spawn worker", "started on stack"),
        ("*d", "Stacks ("),
        ("tbreak shell_interrupted", "hit Temporary breakpoint"),
        ("events 4", "Events ("),
    ):
        terminal.type(line)
        terminal.see(lambda screen, answer=answer: answer in screen and _ready(screen), answer)


def _show_live(terminal: Terminal) -> None:
    for line, answer in (("continue", "Continuing."), ("console *t", "*t")):
        terminal.type(line)
        terminal.see(lambda screen, answer=answer: answer in screen and _ready(screen), answer)
    terminal.type("live d")
    terminal.see(lambda screen: "worker" in screen and "— snapshots" not in screen, "the live view")


def _draw(terminal: Terminal, path: Path) -> None:
    """Write the screen as SVG: a rectangle behind each run of cells that has a colour, and its text."""
    width = 2 * _MARGIN + _COLUMNS * _CELL_WIDTH
    height = 2 * _MARGIN + _ROWS * _CELL_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">',
        f'<rect width="100%" height="100%" rx="8" fill="{_BACKGROUND}"/>',
    ]
    for row, line in enumerate(terminal.screen("-e").split("\n")[:_ROWS]):
        parts += _line(line, _MARGIN + row * _CELL_HEIGHT)
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")
    print(f"tinyos: {path}", file=sys.stderr)


def _line(line: str, top: float) -> Iterator[str]:
    cells = [(style, char) for style, text, *_ in to_formatted_text(ANSI(line)) for char in text]
    column = 0
    for style, run in itertools.groupby(cells, key=lambda cell: cell[0]):
        text = "".join(char for _, char in run)
        left, length = _MARGIN + column * _CELL_WIDTH, len(text) * _CELL_WIDTH
        column += len(text)
        ink, paper, attributes = _look(style)
        if paper is not None:
            yield (
                f'<rect x="{left:g}" y="{top:g}" width="{length:g}" height="{_CELL_HEIGHT}" fill="{paper}"/>'
            )
        if text.strip():
            yield (
                f'<text x="{left:g}" y="{top + 14:g}" textLength="{length:g}" fill="{ink}"{attributes} '
                f'xml:space="preserve">{html.escape(text)}</text>'
            )


def _look(style: str) -> tuple[str, str | None, str]:
    """The colours of text and paper (None: the terminal's own), and the text's attributes."""
    words = style.split()
    ink, paper = _FOREGROUND, None
    for word in words:
        if word.startswith("bg:"):
            paper = None if word == "bg:ansidefault" else _COLOURS.get(word[3:], word[3:])
        elif word.startswith("#") or word in _COLOURS:
            ink = _COLOURS.get(word, word)
    if "reverse" in words:
        ink, paper = paper or _BACKGROUND, ink
    attributes = ' font-weight="bold"' if "bold" in words else ""
    return ink, paper, attributes + (' opacity="0.6"' if "dim" in words else "")


if __name__ == "__main__":
    main()
