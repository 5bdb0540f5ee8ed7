"""Completion: what may come next behind a command. It may read the stopped target, and never fails."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

import gdb

from gdbplugin.debugger import stop
from gdbplugin.debugger.execution import stopped
from gdbplugin.debugger.words import split
from gdbplugin.kernel.journal import Journal
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gdbplugin.debugger.command import Command, Word


def complete(command: Command, text: str, word: str) -> list[str] | int:
    """What may stand where `word` is, the last piece of `text`; for expressions GDB's own completion."""
    typed = text.rpartition(" ")[2]
    before = split(text[: len(text) - len(typed)])
    # GDB breaks words at dashes: what it calls the word may be the rest of an option.
    head = typed[: len(typed) - len(word)]
    expected, offered = _expected(command, before, typed)
    if expected is not None and expected.kind in ("address", "range") and not typed.startswith("-"):
        return gdb.COMPLETE_EXPRESSION
    if expected is not None:
        offered = [*offered, *values(expected)]
    # At an equals sign as well, or not, as the language has it.
    name, equals, start = typed.partition("=")
    if equals:
        return [f"{name}={choice}"[len(head) :] for choice in offered if choice.startswith(start)]
    return [choice[len(head) :] for choice in offered if choice.startswith(typed)]


def _expected(command: Command, before: list[str], typed: str) -> tuple[Word | None, list[str]]:
    """What has its value typed, and the options that may stand there instead."""
    options = {option.name: option for option in command.all_options}
    last = options.get(before[-1]) if before else None
    if last is not None and last.kind != "flag":
        return last, []
    name, equals, _ = typed.partition("=")
    if equals:
        return options.get(name), []
    given = {word.partition("=")[0] for word in before}
    places = _places(command, before)
    argument = command.arguments[places] if places < len(command.arguments) else None
    return argument, [name for name in options if name not in given]


def _places(command: Command, before: Iterable[str]) -> int:
    """How many words are given by their place."""
    options = {option.name: option for option in command.all_options}
    count, is_value = 0, False
    for word in before:
        if is_value:
            is_value = False
        elif word.startswith("--"):
            is_value = "=" not in word and word in options and options[word].kind != "flag"
        else:
            count += 1
    return count


def values(word: Word) -> list[str]:
    """The choices of a word, or what its function finds in the stopped target; empty where that fails."""
    if word.choices:
        return list(word.choices)
    if not word.complete:
        return []
    module, _, function = word.complete.partition(":")
    try:
        machine = stop.machine()
        found = getattr(importlib.import_module(module), function)(stopped(machine, Journal()))
        return [str(value) for value in found]
    except (MachineError, LayoutError, gdb.error):
        return []  # Nothing is stopped, or it is not TinyOS: nothing to offer, and nowhere to say why.
