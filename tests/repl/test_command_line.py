"""What a typed line means, and the list of commands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdbplugin.render import Style
from gdbplugin.repl.command_line import (
    BY_WORD,
    OWN,
    Action,
    ConsoleInput,
    Continue,
    GdbCommand,
    Help,
    Interrupt,
    Live,
    Nothing,
    PluginCommand,
    Quit,
    Refused,
    Restart,
    Step,
    Submenu,
    help_text,
    overview,
    parse,
)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("", Nothing()),
        ("   ", Nothing()),
        ("# a remark", Nothing()),
        ("*", Submenu(True)),
        ("*s", PluginCommand("s")),
        (" *d 3 --json ", PluginCommand("d 3 --json")),
        ("* d 3", PluginCommand("d 3")),
        ("*stacks 3", PluginCommand("stacks 3")),
        ("*h", Help("tinyos")),
        ("stacks 3", PluginCommand("stacks 3")),
        ("check", PluginCommand("check")),
        ("tinyos stats --json", PluginCommand("stats --json")),
        ("tinyos", PluginCommand("")),
        # A letter without its star is GDB's own.
        ("s", Step("s")),
        ("c", Continue("c")),
        ("l", GdbCommand("l")),
        ("stack", GdbCommand("stack")),
        ("bt 3", GdbCommand("bt 3")),
        ("x/4gx $sp", GdbCommand("x/4gx $sp")),
        ("continue 3", Continue("continue 3")),
        ("cont", Continue("cont")),
        ("c&", Continue("c")),
        ("continue &", Continue("continue")),
        ("jump *0x80000", Continue("jump *0x80000")),
        ("con", GdbCommand("con")),
        ("step&", GdbCommand("step&")),
        ("python print(1)", GdbCommand("python print(1)")),
        ("shell ls", GdbCommand("shell ls")),
        ("interrupt", Interrupt()),
        ("stop", Interrupt()),
        ("console *t", ConsoleInput("*t")),
        ("console  spawn worker ", ConsoleInput("spawn worker")),
        ("live", Live("s")),
        ("live p", Live("p")),
        ("live *d", Live("d")),
        ("live lazy", Live("l")),
        ("help", Help("")),
        ("h", Help("")),
        ("?", Help("")),
        ("help live", Help("live")),
        ("help *d", Help("tinyos stacks")),
        ("help stacks", Help("tinyos stacks")),
        ("help tinyos c", Help("tinyos context")),
        ("help tinyos", Help("tinyos")),
        ("help info line", Help("info line")),
        ("h bt", GdbCommand("h bt")),
        ("restart", Restart()),
        ("q", Quit()),
        ("quit", Quit()),
        ("exit", Quit()),
    ],
)
def test_line_at_main_prompt_is_parsed(line: str, meant: Action) -> None:
    assert parse(line) == meant


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("d 3", PluginCommand("d 3")),
        ("c", PluginCommand("c")),
        ("s --json", PluginCommand("s --json")),
        ("stats", PluginCommand("stats")),
        ("*s", PluginCommand("s")),
        ("*", Submenu(True)),
        ("q", Submenu(False)),
        ("quit", Submenu(False)),
        ("..", Submenu(False)),
        ("h", Help("tinyos")),
        ("?", Help("tinyos")),
        ("live p", Live("p")),
        ("console h", ConsoleInput("h")),
        ("bt", GdbCommand("bt")),
        ("continue", Continue("continue")),
        ("", Nothing()),
    ],
)
def test_line_in_submenu_is_parsed_without_star(line: str, meant: Action) -> None:
    assert parse(line, in_submenu=True) == meant


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("console", "console needs a TEXT"),
        ("console  ", "console needs a TEXT"),
        (
            "live x",
            'no view "x" (known: s stats, d stacks, l lazy, p pressure, e events',
        ),
        ("live s d", 'no view "s d"'),
        ("restart now", "takes no arguments"),
        ("commands 2", "`source FILE`"),
        ("comm", "`source FILE`"),
        ("define mine", "`source FILE`"),
        ("while 1", "`source FILE`"),
        ("if $pc", "`source FILE`"),
        ("python", "`source FILE`"),
        ("shell", "`source FILE`"),
        ("tui enable", "tinyos-gdb"),
        ("edit", "tinyos-gdb"),
    ],
)
def test_impossible_line_is_refused_with_a_remedy(line: str, said: str) -> None:
    refused = parse(line)
    assert isinstance(refused, Refused)
    assert said in refused.reason
    assert "\n" not in refused.reason


def test_gdb_commands_that_run_the_target_are_recognised() -> None:
    for word in ("c", "fg", "continue", "contin", "j", "jump", "sig", "signal"):
        assert isinstance(parse(f"{word} 1"), Continue), word
    for word in ("s", "step", "next", "n", "finish", "fin", "until", "u", "stepi", "si", "ni", "advance"):
        assert isinstance(parse(f"{word} 1"), Step), word
    for word in ("info", "set", "show", "stepping", "st", "f"):
        assert isinstance(parse(f"{word} 1"), GdbCommand), word


@pytest.mark.parametrize("style", [Style(), Style(encoding="ascii")])
def test_overview_fits_from_40_columns(style: Style) -> None:
    for width in range(1, 201):
        shown = overview(replace(style, width=width))
        assert max(map(len, shown.splitlines())) <= max(40, width)
        assert shown.split()[-4:] == ["Tab", "completes,", "Ctrl-D", "quits."]


@pytest.mark.parametrize("topic", [*OWN, *BY_WORD])
@pytest.mark.parametrize("width", [40, 70, 120])
def test_help_fits_the_terminal_and_loses_no_word(topic: str, width: int) -> None:
    wide, narrow = help_text(topic, Style(width=1000)), help_text(topic, Style(width=width))
    assert wide is not None
    assert narrow is not None
    assert narrow.split() == wide.split()
    assert max(map(len, narrow.splitlines())) <= width


def test_an_unknown_topic_has_no_help() -> None:
    assert help_text("bt", Style()) is None
