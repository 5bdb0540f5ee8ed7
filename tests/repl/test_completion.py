"""Completion, without a terminal and without GDB: what it would answer is in a table."""

from __future__ import annotations

import pytest

from gdbplugin.repl.completion import Offer, complete
from tests.repl.vocabulary import VOCABULARY

_GDB = {
    "b": ["backtrace", "break"],
    "st": ["stack", "step"],
    "inf thr": ["inf threads"],
    "break kernel::sch": ["break kernel::scheduler::end", "break kernel::scheduler::run"],
    "break sched": ["break kernel::scheduler::end"],
    "tinyos stacks ": ["tinyos stacks --json", "tinyos stacks 1", "tinyos stacks 2"],
    "tinyos d ": ["tinyos d --json", "tinyos d 1", "tinyos d 2"],
    "tinyos stacks 1 --j": ["tinyos stacks 1 --json"],
    "tinyos lazy --state=p": ["tinyos lazy --state=pending"],
    "help inf": ["help inferior", "help info"],
}


class Asked:
    """Answers as GDB would, and remembers what it was asked."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def __call__(self, command: str) -> list[str]:
        self.commands.append(command)
        return _GDB.get(command, [])


def words(text: str, *, in_submenu: bool = False) -> list[str]:
    return [offer.text for offer in complete(text, VOCABULARY, Asked(), in_submenu=in_submenu)]


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("*", ["*c", "*context", "*d", "*l", "*lazy", "*s", "*stacks", "*stats"]),
        ("*sta", ["*stacks", "*stats"]),
        ("st", ["stacks", "stats", "stack", "step"]),
        ("li", ["live"]),
        ("b", ["backtrace", "break"]),
        ("inf thr", ["threads"]),
        ("stacks ", ["--json", "1", "2"]),
        ("*stacks ", ["--json", "1", "2"]),
        ("*d ", ["--json", "1", "2"]),
        ("tinyos stacks ", ["--json", "1", "2"]),
        ("stacks 1 --j", ["--json"]),
        ("lazy --state=p", ["--state=pending"]),
        ("break kernel::sch", ["kernel::scheduler::end", "kernel::scheduler::run"]),
        # GDB finds a symbol by the middle of its name.
        ("break sched", ["kernel::scheduler::end"]),
        ("live ", ["d", "e", "l", "p", "s"]),
        ("live d", ["d"]),
        ("help li", ["live"]),
        ("help sta", ["stacks", "stats"]),
        ("help inf", ["inferior", "info"]),
        ("console *", []),
        ("nonsense ", []),
    ],
)
def test_what_is_offered(text: str, offered: list[str]) -> None:
    assert words(text) == offered


def test_an_empty_line_is_offered_what_is_our_own_and_not_all_of_gdb() -> None:
    asked = Asked()
    offered = [offer.text for offer in complete("", VOCABULARY, asked)]
    assert asked.commands == []
    assert {"*s", "stacks", "live", "console", "help", "restart", "quit"} <= set(offered)


def test_in_the_submenu_letters_are_offered_without_their_star() -> None:
    assert words("d", in_submenu=True) == ["d"]
    assert words("d ", in_submenu=True) == ["--json", "1", "2"]
    assert words("s", in_submenu=True) == ["s", "stacks", "stats"]


def test_an_offer_replaces_the_last_word_and_says_what_it_means() -> None:
    offer = next(iter(complete("*sta", VOCABULARY, Asked())))
    assert offer == Offer("*stacks", 4, "Show every dynamic stack, or all about one.")
    assert next(iter(complete("stacks 1 --j", VOCABULARY, Asked()))).replaced == 3


def test_nothing_is_asked_of_gdb_for_a_line_to_the_kernel() -> None:
    asked = Asked()
    assert list(complete("console stacks ", VOCABULARY, asked)) == []
    assert asked.commands == []
