"""Completion without a terminal and without GDB, whose answers are in a table."""

from __future__ import annotations

import pytest

from gdbplugin.commands import COMMANDS
from gdbplugin.commands.descriptor import Parameter
from gdbplugin.repl.command_line import VIEWS
from gdbplugin.repl.completion import Offer, complete

_GDB = {
    "b": ["backtrace", "break"],
    "st": ["stack", "step"],
    "inf thr": ["inf threads"],
    "break kernel::sch": ["break kernel::scheduler::end", "break kernel::scheduler::run"],
    "break sched": ["break kernel::scheduler::end"],
    "print kernel_m": ["print kernel_main"],
    "help inf": ["help inferior", "help info"],
}

# The options of a command that shows a list.
_STACKS = ("--where", "--sort", "--group", "--columns", "--csv", "--python", "--json")

LETTERED = [command for command in COMMANDS if command.letter]


class Source:
    """Answers like GDB and the target, and remembers the questions."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.parameters: list[str] = []

    def complete(self, command: str) -> list[str]:
        self.commands.append(command)
        return _GDB.get(command, [])

    def offered_values(self, parameter: Parameter) -> list[str]:
        self.parameters.append(parameter.name)
        return list(parameter.choices) or ["1", "2"]


def words(text: str, *, in_submenu: bool = False) -> list[str]:
    return [offer.text for offer in complete(text, Source(), in_submenu=in_submenu)]


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("*", sorted(f"*{text}" for command in LETTERED for text in (command.letter, command.word))),
        ("*sta", ["*stacks", "*stats"]),
        ("st", ["stacks", "stats", "stress", "stack", "step"]),
        ("tinyos sta", ["stacks", "stats"]),
        ("translate kernel_m", ["kernel_main"]),
        ("li", ["lint", "live"]),
        ("b", ["back", "backtrace", "break"]),
        ("inf thr", ["threads"]),
        ("stacks ", [*_STACKS, "1", "2"]),
        ("*stacks ", [*_STACKS, "1", "2"]),
        ("*d ", [*_STACKS, "1", "2"]),
        ("tinyos stacks ", [*_STACKS, "1", "2"]),
        ("stacks 1 --j", ["--json"]),
        ("lazy --state=p", ["--state=pending"]),
        ("lazy --where 'owner == 1 and st", ["state", "startswith("]),
        ("*l --sort state,-ac", ["state,-access_count"]),
        ("break kernel::sch", ["kernel::scheduler::end", "kernel::scheduler::run"]),
        # GDB completes a symbol from a part in its middle.
        ("break sched", ["kernel::scheduler::end"]),
        ("live ", sorted(VIEWS)),
        ("live d", ["d"]),
        ("help li", ["lint", "live"]),
        ("help sta", ["stacks", "stats"]),
        ("help inf", ["inferior", "info"]),
        ("console *", []),
        ("nonsense ", []),
    ],
)
def test_completions_of_a_line(text: str, offered: list[str]) -> None:
    assert words(text) == offered


def test_empty_line_offers_own_commands_without_asking_gdb() -> None:
    source = Source()
    offered = [offer.text for offer in complete("", source)]
    assert (source.commands, source.parameters) == ([], [])
    assert {"*s", "stacks", "live", "console", "help", "restart", "quit"} <= set(offered)


def test_submenu_offers_letters_without_star() -> None:
    assert words("d", in_submenu=True) == ["d", "diff", "dump", "during"]
    assert words("d ", in_submenu=True) == [*_STACKS, "1", "2"]
    assert words("s", in_submenu=True) == ["s", "search", "stacks", "stats", "stress"]


def test_offer_replaces_last_word_and_has_a_meaning() -> None:
    offer = next(iter(complete("*sta", Source())))
    assert offer == Offer("*stacks", 4, "Show every dynamic stack, or all about one.")
    assert next(iter(complete("stacks 1 --j", Source()))).replaced == 3


def test_console_line_offers_nothing_and_asks_nobody() -> None:
    source = Source()
    assert list(complete("console stacks ", source)) == []
    assert (source.commands, source.parameters) == ([], [])
