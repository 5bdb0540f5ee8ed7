"""What may be typed next: the REPL's own words, and what GDB itself completes.

Pure but for `Ask`, which is GDB's `complete`: stack ids, ASIDs and symbols come from the code that completes
at GDB's own prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gdbplugin.repl import line as lines
from gdbplugin.repl.line import VIEWS, Vocabulary

Ask = Callable[[str], list[str]]
"""Given the beginning of a GDB command, the lines it may become."""

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


def complete(text: str, vocabulary: Vocabulary, ask: Ask, *, in_submenu: bool = False) -> Iterator[Offer]:
    """What the last word of `text`, the line up to the cursor, may become."""
    typed = text.lstrip()
    first, blank, rest = typed.partition(" ")
    if not blank:
        yield from _first(first, vocabulary, ask, in_submenu)
    elif first == "live":
        yield from _among(rest, {**VIEWS})
    elif first == "help":
        yield from _among(rest, {**OWN, **vocabulary.summaries})
        yield from _of_gdb(typed, ask)
    elif first != "console":
        yield from _of_gdb(_as_gdb(typed, vocabulary, in_submenu), ask)


def _first(word: str, vocabulary: Vocabulary, ask: Ask, in_submenu: bool) -> Iterator[Offer]:
    """The line's first word."""
    if word.startswith("*"):
        yield from _among(word, _starred(vocabulary))
        return
    ours = {**vocabulary.summaries, **OWN}
    if in_submenu:
        ours |= {letter: vocabulary.summaries[name] for letter, name in vocabulary.letters.items()}
    elif not word:
        ours |= _starred(vocabulary)
    yield from _among(word, ours)
    if word:
        yield from (offer for offer in _of_gdb(word, ask) if offer.text not in ours)


def _starred(vocabulary: Vocabulary) -> dict[str, str]:
    """The shell's letters and names, with their stars."""
    summaries, letters = vocabulary.summaries, vocabulary.letters
    return {f"*{letter}": summaries[name] for letter, name in letters.items()} | {
        f"*{name}": summaries[name] for name in letters.values()
    }


def _among(word: str, meanings: dict[str, str]) -> Iterator[Offer]:
    for name in sorted(meanings):
        if name.startswith(word):
            yield Offer(name, len(word), meanings[name])


def _as_gdb(typed: str, vocabulary: Vocabulary, in_submenu: bool) -> str:
    """The line as GDB would have it typed; its last word is the same."""
    action = lines.parse(typed, vocabulary, in_submenu=in_submenu)
    if not isinstance(action, lines.Ours):
        return typed
    return f"tinyos {action.text}" + (" " if typed.endswith(" ") else "")


def _of_gdb(command: str, ask: Ask) -> Iterator[Offer]:
    """GDB's own completions; it answers with whole lines."""
    head, _, word = command.rpartition(" ")
    before = f"{head} " if head or command.startswith(" ") else ""
    for match in ask(command):
        if match.startswith(before):
            yield Offer(match[len(before) :], len(word))
