"""Completion of the command line, for the commands of the REPL, the plugin and GDB.

Pure: GDB's completions, and the values in use in the target, come from a `Source`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gdbplugin.commands import parsing
from gdbplugin.commands.descriptor import Parameter
from gdbplugin.repl.command_line import BY_LETTER, BY_WORD, OWN, VIEWS, PluginCommand, parse


class Source(Protocol):
    """Answers from GDB and the target."""

    def complete(self, command: str) -> list[str]:
        """The whole lines that complete the beginning of a GDB command."""

    def offered_values(self, parameter: Parameter) -> list[str]:
        """The values that complete a parameter."""


@dataclass(frozen=True)
class Offer:
    """A word that can replace the last `replaced` characters."""

    text: str
    replaced: int
    meaning: str = ""


_SUMMARIES = {word: command.summary for word, command in BY_WORD.items()}
_LETTERS = {letter: command.summary for letter, command in BY_LETTER.items()}
_STARRED = {
    f"*{word}": command.summary for command in BY_LETTER.values() for word in (command.letter, command.word)
}


def complete(text: str, source: Source, *, in_submenu: bool = False) -> Iterator[Offer]:
    """The words that complete `text`, the line up to the cursor."""
    typed = text.lstrip()
    first, blank, rest = typed.partition(" ")
    if not blank:
        yield from _first_word(first, source, in_submenu)
    elif first == "live":
        yield from _among(rest, VIEWS)
    elif first == "help":
        yield from _among(rest, {**OWN, **_SUMMARIES})
        yield from _of_gdb(typed, source)
    elif first != "console":
        yield from _arguments(typed, source, in_submenu)


def _first_word(word: str, source: Source, in_submenu: bool) -> Iterator[Offer]:
    if word.startswith("*"):
        yield from _among(word, _STARRED)
        return
    words = {**_SUMMARIES, **OWN}
    if in_submenu:
        words |= _LETTERS
    elif not word:
        words |= _STARRED
    yield from _among(word, words)
    if word:
        yield from (offer for offer in _of_gdb(word, source) if offer.text not in words)


def _arguments(typed: str, source: Source, in_submenu: bool) -> Iterator[Offer]:
    """The words after the first one."""
    action = parse(typed, in_submenu=in_submenu)
    if not isinstance(action, PluginCommand):
        yield from _of_gdb(typed, source)
        return
    word, blank, rest = (action.text + (" " if typed.endswith(" ") else "")).lstrip().partition(" ")
    command = BY_WORD.get(word) or BY_LETTER.get(word)
    if not blank:
        yield from _among(word, _SUMMARIES)
        return
    if command is None:
        return
    found = parsing.complete(command, rest, source.offered_values)
    if isinstance(found, parsing.GdbWords):
        line = rest if found is parsing.COMMAND else f"{found.command} {rest.rpartition(' ')[2]}"
        yield from _of_gdb(line, source)
    else:
        yield from (Offer(text, len(rest.rpartition(" ")[2])) for text in found)


def _among(word: str, meanings: dict[str, str]) -> Iterator[Offer]:
    for name in sorted(meanings):
        if name.startswith(word):
            yield Offer(name, len(word), meanings[name])


def _of_gdb(command: str, source: Source) -> Iterator[Offer]:
    """GDB's completions, cut to the last word: GDB answers with whole lines."""
    head, _, word = command.rpartition(" ")
    before = f"{head} " if head or command.startswith(" ") else ""
    for match in source.complete(command):
        if match.startswith(before):
            yield Offer(match[len(before) :], len(word))
