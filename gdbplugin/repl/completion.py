"""What can be typed next: the REPL's own words, those of the plugin's commands, and GDB's.

Pure: GDB's own completions, and the values in use now, come from an `Asker`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gdbplugin.commands import parsing
from gdbplugin.commands.descriptor import Parameter
from gdbplugin.repl import line as lines
from gdbplugin.repl.line import BY_LETTER, BY_WORD, VIEWS


class Asker(Protocol):
    """Whoever can ask GDB and the target."""

    def complete(self, command: str) -> list[str]:
        """The lines that the beginning of a GDB command can become."""

    def offered_values(self, parameter: Parameter) -> list[str]:
        """The values to offer for a parameter."""


OWN = {
    "console": "type a line to the kernel",
    "live": "a full-screen view that follows the kernel",
    "help": "what there is, or about one command",
    "interrupt": "stop the kernel",
    "restart": "begin a new session",
    "quit": "end the session",
}
"""The REPL's own commands."""


@dataclass(frozen=True)
class Offer:
    """A word that may stand in place of the last `replaced` characters."""

    text: str
    replaced: int
    meaning: str = ""


_SUMMARIES = {word: command.summary for word, command in BY_WORD.items()}
_LETTERS = {letter: command.summary for letter, command in BY_LETTER.items()}
_STARRED = {
    f"*{word}": command.summary for command in BY_LETTER.values() for word in (command.letter, command.word)
}


def complete(text: str, asker: Asker, *, in_submenu: bool = False) -> Iterator[Offer]:
    """What the last word of `text`, the line up to the cursor, can become."""
    typed = text.lstrip()
    first, blank, rest = typed.partition(" ")
    if not blank:
        yield from _first(first, asker, in_submenu)
    elif first == "live":
        yield from _among(rest, VIEWS)
    elif first == "help":
        yield from _among(rest, {**OWN, **_SUMMARIES})
        yield from _of_gdb(typed, asker)
    elif first != "console":
        yield from _of_command(typed, asker, in_submenu)


def _first(word: str, asker: Asker, in_submenu: bool) -> Iterator[Offer]:
    """The line's first word."""
    if word.startswith("*"):
        yield from _among(word, _STARRED)
        return
    ours = {**_SUMMARIES, **OWN}
    if in_submenu:
        ours |= _LETTERS
    elif not word:
        ours |= _STARRED
    yield from _among(word, ours)
    if word:
        yield from (offer for offer in _of_gdb(word, asker) if offer.text not in ours)


def _of_command(typed: str, asker: Asker, in_submenu: bool) -> Iterator[Offer]:
    """What follows a command's word."""
    action = lines.parse(typed, in_submenu=in_submenu)
    if not isinstance(action, lines.Ours):
        yield from _of_gdb(typed, asker)
        return
    word, blank, rest = (action.text + (" " if typed.endswith(" ") else "")).lstrip().partition(" ")
    command = BY_WORD.get(word) or BY_LETTER.get(word)
    if not blank:
        yield from _among(word, _SUMMARIES)
        return
    if command is None:
        return
    found = parsing.complete(command, rest, asker.offered_values)
    if isinstance(found, parsing.Expression):
        yield from _of_gdb(f"print {rest.rpartition(' ')[2]}", asker)
    else:
        yield from (Offer(text, len(rest.rpartition(" ")[2])) for text in found)


def _among(word: str, meanings: dict[str, str]) -> Iterator[Offer]:
    for name in sorted(meanings):
        if name.startswith(word):
            yield Offer(name, len(word), meanings[name])


def _of_gdb(command: str, asker: Asker) -> Iterator[Offer]:
    """GDB's own completions; it answers with whole lines."""
    head, _, word = command.rpartition(" ")
    before = f"{head} " if head or command.startswith(" ") else ""
    for match in asker.complete(command):
        if match.startswith(before):
            yield Offer(match[len(before) :], len(word))
