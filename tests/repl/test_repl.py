"""The REPL at its prompt on a real machine, with keys from prompt_toolkit's pipe input."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from gdbplugin.repl.completion import complete
from gdbplugin.session import EndedError, TinyOS
from tests.repl.conversation import Conversations, Person
from tests.session.processes import wait_until_gone


@pytest.fixture(scope="module")
def converse(kernel_elf: Path) -> Iterator[Conversations]:
    """Conversations with one REPL. Each test must leave the kernel running."""
    conversations = Conversations(kernel_elf)
    yield conversations
    conversations.close()


def test_figures_of_kernel_gdb_and_repl_agree(converse: Conversations) -> None:
    def script(person: Person) -> None:
        person.says_and_sees("console hold", "hold")
        person.says_and_sees("console *s", "context_switch_count: ")
        person.says_and_sees("*s", "ticks")
        person.says_and_sees("tinyos stats", "ticks")
        person.says_and_sees("console go", "go")

    shown = converse(script)
    with converse.repl.session.stopped():
        figures = asdict(converse.repl.session.stats().stats)
    kernels = dict(re.findall(r"│ (\w+): (\d+)", shown))
    assert kernels.keys() == figures.keys()
    tables = re.findall(r"counter +value.*?ticks", shown, re.DOTALL)
    assert len(tables) == 2
    for table in tables:
        rows = {name: int(value.replace(",", "")) for name, value in re.findall(r"(\w+) +([\d,]+)\n", table)}
        for name, value in kernels.items():
            if name != "context_switch_count":  # The kernel switches to its shell for each line.
                assert rows[name] == int(value), name


def test_letters_work_without_star_in_the_submenu(converse: Conversations) -> None:
    def script(person: Person) -> None:
        person.types("*\n")
        person.says_and_sees("d 1", "Stack 1")
        person.says_and_sees("p", "Pressure: ")
        person.says_and_sees("output 6*7", "42")
        person.types("q\n")
        person.says_and_sees("p 6*7", "$1 = 42")

    converse(script)


def test_help_explains_own_commands_and_asks_gdb_for_others(converse: Conversations) -> None:
    # GDB puts a line with the command's aliases first.
    gdbs = converse.repl.target.text("help tinyos stacks").strip().removeprefix("tinyos stacks, tinyos d\n")

    def script(person: Person) -> None:
        overview = person.says_and_sees("help", "Ctrl-D quits.")
        for word in ("*s, stats", "*d, stacks", "translate", "console", "live [s|d|l|p|e", "restart"):
            assert word in overview
        shown = person.says_and_sees("help *d", gdbs.splitlines()[-1])
        assert " ".join(gdbs.split()) in " ".join(shown.split())
        person.says_and_sees("help live", "full-screen view")
        person.says_and_sees("help info line", "Core addresses")
        person.says_and_sees("help nonsense", 'Undefined command: "nonsense"')

    converse(script)


def test_running_kernel_still_runs_after_a_command(converse: Conversations) -> None:
    def script(person: Person) -> None:
        person.types("thread 1\n")
        person.says_and_sees("bt 1", "#0 ")
        person.says_and_sees("output $_thread", "1")
        person.says_and_sees("c", "already running")

    converse(script)
    assert converse.repl.session.running


def test_ctrl_c_stops_the_kernel_and_shows_where(converse: Conversations) -> None:
    def script(person: Person) -> None:
        person.types("\x03")
        person.sees("#0 ")
        person.types("nonsense\x03")  # Now it clears the line.
        person.says_and_sees("output 6*7", "42")
        person.says_and_sees("console *s", "the kernel is stopped and reads nothing")
        person.says_and_sees("interrupt", "already stopped")
        person.says_and_sees("c", "Continuing.")

    assert "nonsense" not in converse(script)
    assert converse.repl.session.running


def test_stop_in_the_background_is_shown_above_the_prompt(converse: Conversations) -> None:
    console = converse.repl.session.console

    def script(person: Person) -> None:
        person.says_and_sees("tbreak kernel::shell::control::uptime", "Temporary breakpoint")
        person.types("echo ha")
        person.sees_typed("echo ha")
        console.send("uptime\r")
        person.sees("hit Temporary breakpoint")
        person.types("lf\\n\n")
        person.says_and_sees("c", "Continuing.")
        person.sees("│ ")

    shown = converse(script)
    assert "\nhalf\n" in shown
    assert converse.repl.session.running


def test_command_that_moves_the_kernel_leaves_it_stopped(converse: Conversations) -> None:
    def script(person: Person) -> None:
        # Earlier tests may have left a parked core selected, which never moves.
        person.types("thread 1\nadvance kernel::scheduler::tick\n")
        person.says_and_sees("interrupt", "already stopped")
        person.says_and_sees("c", "Continuing.")

    converse(script)


@pytest.mark.parametrize(
    "command",
    ["python import time; print('begun', flush=True); time.sleep(60)", "until *0x1234", "stepi 100000000"],
)
def test_ctrl_c_ends_a_command_but_not_the_repl(converse: Conversations, command: str) -> None:
    def script(person: Person) -> None:
        person.types("interrupt\n" + command + "\n")
        person.sees("#0 ")
        if "begun" in command:
            person.sees("begun")
        else:
            person.waits(lambda: debugger.runs > runs, lambda: "running command")
        os.kill(os.getpid(), signal.SIGINT)
        person.says_and_sees("output 6*7", "42")
        person.says_and_sees("c", "Continuing.")

    debugger = converse.repl.session.debugger
    runs = debugger.runs
    converse(script)


def test_what_a_command_prints_is_shown_once_by_during(converse: Conversations) -> None:
    def script(person: Person) -> None:
        person.types("interrupt\nduring info line kernel_main\n")
        person.sees("Difference from before `info line kernel_main` to after it")
        person.says_and_sees("c", "Continuing.")

    assert converse(script).count("starts at address") == 1


def test_ctrl_c_in_during_stops_the_kernel_and_shows_what_changed(converse: Conversations) -> None:
    def script(person: Person) -> None:
        person.types("interrupt\nduring continue\n")
        person.waits(lambda: debugger.runs > runs, lambda: "running command")
        os.kill(os.getpid(), signal.SIGINT)
        person.sees("`continue` failed: interrupted by Ctrl-C")
        person.sees("Difference from before `continue` to after it")
        person.says_and_sees("output 6*7", "42")
        person.says_and_sees("c", "Continuing.")

    debugger = converse.repl.session.debugger
    runs = debugger.runs
    shown = converse(script)
    assert "received signal SIGINT" in shown


def test_kernel_output_is_marked_and_separate(converse: Conversations) -> None:
    def script(person: Person) -> None:
        person.types("echo half a line")
        converse.repl.session.console.send("uptime\r")
        person.sees(" ms\n")
        person.types("\\n\n")
        person.sees("half a line")

    shown = converse(script)
    assert re.search(r"^│ (tinyos> )?uptime$\n^│ \d+ ms$", shown, re.MULTILINE)
    assert "\nhalf a line\n" in "\n" + shown


_STACKS_OPTIONS = {"--where", "--sort", "--group", "--columns", "--csv", "--python", "--json"}


def test_completion_offers_values_of_a_running_kernel(converse: Conversations) -> None:
    repl = converse.repl
    assert repl.session.running
    ids = {str(stack.id) for stack in repl.session.stacks() if stack.is_active}
    assert {offer.text for offer in complete("tinyos stacks ", repl)} == ids | _STACKS_OPTIONS
    asids = {offer.text for offer in complete("tinyos events --asid ", repl)}
    assert {str(space.asid) for space in repl.session.context().spaces.spaces} <= asids
    assert "break kernel_main" in repl.complete("break kernel_mai")
    assert repl.session.running


def test_tab_completes_a_word(converse: Conversations) -> None:
    def script(person: Person) -> None:
        person.types("pressu\t")
        person.sees_typed("pressure")
        person.types("\n")
        person.sees("Pressure: ")

    converse(script)


def test_an_end_that_is_known_only_after_the_last_output_is_named(
    converse: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = converse.repl.session
    pid, known, hidden_until = session.debugger.pid, type(session).ended, [0.0]

    def ended(self: TinyOS) -> EndedError | None:
        found: EndedError | None = known.fget(self)  # type: ignore[attr-defined]
        return found if time.monotonic() >= hidden_until[0] else None

    monkeypatch.setattr(type(session), "ended", property(ended))

    def script(person: Person) -> None:
        hidden_until[0] = time.monotonic() + 1.0
        os.kill(pid, signal.SIGKILL)
        person.sees("GDB was killed by SIGKILL; `restart` starts a new session")
        person.says_and_sees("restart", "a new session")
        person.says_and_sees("*s", "total_dynamic_stacks")

    converse(script)


@pytest.mark.parametrize("victim", ["GDB", "QEMU"])
def test_killed_program_is_named_and_restart_works(converse: Conversations, victim: str) -> None:
    session = converse.repl.session
    pids = {"GDB": session.debugger.pid, "QEMU": session.qemu.pid}

    def script(person: Person) -> None:
        os.kill(pids[victim], signal.SIGKILL)
        person.sees(f"{victim} was killed by SIGKILL; `restart` starts a new session")
        person.says_and_sees("*s", f"{victim} was killed by SIGKILL; `restart` starts")
        person.says_and_sees("restart", "a new session")
        wait_until_gone(pids.values())
        person.says_and_sees("*s", "total_dynamic_stacks")

    converse(script)


def test_gdb_killed_during_a_command_is_named(converse: Conversations) -> None:
    pid = converse.repl.session.debugger.pid

    def script(person: Person) -> None:
        person.types("python import time; print('begun', flush=True); time.sleep(60)\n")
        person.sees("begun")
        os.kill(pid, signal.SIGKILL)
        person.sees("GDB was killed by SIGKILL; `restart` starts a new session")
        person.says_and_sees("restart", "a new session")

    converse(script)


def test_quit_and_end_of_input_do_not_ask(converse: Conversations) -> None:
    converse(lambda person: person.types("quit\n"))
    converse(lambda _: None)


def test_stop_during_a_command_is_never_lost(converse: Conversations) -> None:
    repl = converse.repl
    start = len(converse.shown())
    repl.run("break kernel::exceptions::handle_interrupts")
    deadline = time.monotonic() + 20
    while converse.shown()[start:].count("hit Breakpoint") < 10:
        assert time.monotonic() < deadline
        if not repl.session.running:
            repl.run("continue")
        repl.run("output 1")
    repl.run("interrupt")
    repl.run("info breakpoints")
    repl.run("delete")
    repl.run("continue")
    shown = converse.shown()[start:]
    hits = re.search(r"already hit (\d+) time", shown)
    assert hits is not None
    assert shown.count("hit Breakpoint") == int(hits[1])
