"""What a typed line means. Pure: text in, an action out; `repl.py` carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gdbplugin.commands import COMMANDS

BY_WORD = {command.word: command for command in COMMANDS}
"""The plugin's commands by their words."""
BY_LETTER = {command.letter: command for command in COMMANDS if command.letter}
"""Those with a letter, by it, as in the kernel's own shell."""

VIEWS = {"s": "stats", "d": "stacks", "l": "lazy", "p": "pressure", "e": "events"}
"""What `live` takes: the letters of the kernel's shell, or their names."""

_LEAVING = frozenset({"q", "quit", "exit"})
_HELPING = frozenset({"h", "help", "?"})
_STOPPING = frozenset({"interrupt", "stop"})  # GDB's own `stop` is there to be hooked, and does nothing.

# GDB's commands that let the target run until something stops it: their names and shortest abbreviations.
_CONTINUING = {"continue": 4, "jump": 1, "signal": 3}
_CONTINUING_WORDS = frozenset({"c", "fg"})
# Those that let it run until it has come somewhere.
_STEPPING = {"step": 3, "stepi": 5, "next": 3, "nexti": 5, "until": 2, "advance": 3, "finish": 3}
_STEPPING_WORDS = frozenset({"s", "si", "n", "ni", "u", "fin"})
# Those that go on to read lines, or take the terminal: through GDB's machine interface neither is possible.
_READING = {"commands": 4, "define": 3, "document": 3, "while": 4, "if": 2, "guile-repl": 7}
_READING_WORDS = frozenset({"pi", "python-interactive", "gr", "edit", "tui", "layout", "focus", "winheight"})
_READING_WHEN_ALONE = frozenset({"py", "python", "gu", "guile", "shell", "!"})


@dataclass(frozen=True)
class Nothing:
    """An empty line."""


@dataclass(frozen=True)
class Submenu:
    """Enter the `*` submenu, or leave it."""

    entered: bool


@dataclass(frozen=True)
class Quit:
    """Leave the REPL."""


@dataclass(frozen=True)
class Restart:
    """Begin a new session in place of this one."""


@dataclass(frozen=True)
class Help:
    """Explain `topic`; all there is, where it is empty. A command of the plugin is `tinyos …` here."""

    topic: str


@dataclass(frozen=True)
class ToConsole:
    """Type `text` to the kernel."""

    text: str


@dataclass(frozen=True)
class Live:
    """Open the full-screen view of that letter."""

    view: str


@dataclass(frozen=True)
class Ours:
    """A command of the plugin; `text` is what stands behind `tinyos`."""

    text: str


@dataclass(frozen=True)
class Continue:
    """A command of GDB's that lets the target run until something stops it."""

    text: str


@dataclass(frozen=True)
class Step:
    """A command of GDB's that lets the target run until it has come somewhere: soon, most often."""

    text: str


@dataclass(frozen=True)
class Interrupt:
    """Stop the target."""


@dataclass(frozen=True)
class ToGdb:
    """Any other command of GDB's."""

    text: str


@dataclass(frozen=True)
class Refused:
    """A line that cannot be carried out here; `reason` says what to do instead."""

    reason: str


Action = (
    Nothing
    | Submenu
    | Quit
    | Restart
    | Help
    | ToConsole
    | Live
    | Ours
    | Continue
    | Step
    | Interrupt
    | ToGdb
    | Refused
)


def parse(line: str, *, in_submenu: bool = False) -> Action:
    """What `line` asks for."""
    text = line.strip()
    if not text or text.startswith("#"):
        return Nothing()
    if "\0" in text:
        return Refused("GDB takes no NUL byte: give commands in UTF-8, not in UTF-16")
    if text.startswith("*"):
        return _starred(text[1:].strip())
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    if in_submenu and (found := _in_submenu(word, text)):
        return found
    if found := _own(word, rest):
        return found
    if word == "tinyos":
        return Ours(rest)
    if word in BY_WORD:
        return Ours(text)
    return _to_gdb(word, rest, text)


def _starred(text: str) -> Action:
    """What followed a `*`, as the kernel's shell has it: nothing, or a letter or name and its words."""
    if not text:
        return Submenu(True)
    return Help("tinyos") if text in _HELPING else Ours(text)


def _in_submenu(word: str, text: str) -> Action | None:
    if text in _LEAVING or text == "..":
        return Submenu(False)
    if text in _HELPING:
        return Help("tinyos")
    return Ours(text) if word in BY_LETTER else None


def _own(word: str, rest: str) -> Action | None:
    """The REPL's own commands."""
    if word in _LEAVING:
        return Quit()
    if word == "restart":
        return Refused("restart takes no words") if rest else Restart()
    if word in _STOPPING and not rest:
        return Interrupt()
    if word == "console":
        return ToConsole(rest) if rest else Refused("console TEXT types TEXT to the kernel; give a TEXT")
    if word == "live":
        return _live(rest)
    if word in ("help", "?") or (word == "h" and not rest):
        return Help(_topic(rest))
    return None


def _live(rest: str) -> Action:
    by_name = {name: letter for letter, name in VIEWS.items()}
    named = rest.removeprefix("*") or "s"
    view = by_name.get(named, named)
    if view not in VIEWS:
        known = ", ".join(f"{letter} ({name})" for letter, name in VIEWS.items())
        return Refused(f"there is no view {rest}: live takes {known}")
    return Live(view)


def _topic(rest: str) -> str:
    """What GDB knows a topic as: `*s`, `stats` and `tinyos s` are all `tinyos stats`."""
    word = rest.removeprefix("tinyos ").strip().removeprefix("*")
    if rest.startswith(("*", "tinyos ")) or word in BY_WORD:
        command = BY_LETTER.get(word)
        return f"tinyos {command.word if command else word}".strip()
    return rest


def _to_gdb(word: str, rest: str, text: str) -> Action:
    command = word.rstrip("&")
    if _takes_lines(command, rest):
        return Refused(
            f"{command} reads further lines or takes the terminal, which is not possible here: "
            "put it in a file for `source FILE`, or use tinyos-gdb"
        )
    if command in _CONTINUING_WORDS or _abbreviates(command, _CONTINUING):
        return Continue(text.rstrip("& "))
    steps = command in _STEPPING_WORDS or _abbreviates(command, _STEPPING)
    return Step(text) if steps and not text.endswith("&") else ToGdb(text)


def _takes_lines(command: str, rest: str) -> bool:
    if command in _READING_WHEN_ALONE:
        return not rest
    return command in _READING_WORDS or _abbreviates(command, _READING)


def _abbreviates(command: str, names: Mapping[str, int]) -> bool:
    return any(len(command) >= shortest and name.startswith(command) for name, shortest in names.items())
