"""The serial console loses neither ticks while it prints nor what is typed; what is lost is counted."""

from __future__ import annotations

import re

import pytest

from gdbplugin.session import TinyOS
from tests.integration.answers import figures, table

_SECONDS = 60.0
_INTERRUPTS_MASKED = 1 << 7
"""PSTATE.I."""


@pytest.mark.parametrize("command", ["*r", "*c", "tasks"])
def test_answers_are_printed_with_interrupts_on(machine: TinyOS, command: str) -> None:
    machine.shell("hold")
    machine.interrupt()
    machine.console.send(f"{command}\r")
    machine.gdb("break kernel::console::write_byte")
    for _ in range(len(command) + 2):  # Its echo.
        machine.gdb("continue", timeout=_SECONDS)
    if command == "*c":
        # The test's own lines come first.
        machine.gdb("delete")
        machine.gdb("thbreak tinyos::text::memory::context::totals", timeout=_SECONDS)
        machine.gdb("continue", timeout=_SECONDS)
        machine.gdb("break kernel::console::write_byte")
    states = []
    for _ in range(20):
        machine.gdb("continue", timeout=_SECONDS)
        states.append(int(machine.gdb("python print(int(gdb.parse_and_eval('$cpsr')))")) & _INTERRUPTS_MASKED)
    assert set(states) == {0}
    machine.gdb("delete")
    machine.resume()
    machine.console.wait_for_prompt(_SECONDS)


def test_what_is_typed_during_a_long_command_is_kept(machine: TinyOS) -> None:
    lines = 600
    machine.console.send("*t\r" + "uptime\r" * lines)
    for _ in range(lines):
        machine.console.expect(r"\n\d+ ms\n", _SECONDS)
    machine.console.wait_for_prompt()
    counted = figures(machine.shell("console"))
    assert int(counted["received_bytes"]) == len("*t\r") + len("uptime\r") * lines + len("console\r")
    assert counted["overrun_count"] == counted["line_error_count"] == counted["waiting_bytes"] == 0


def test_an_overrun_is_counted_and_said_and_its_byte_kept(machine: TinyOS) -> None:
    # QEMU's UART never overruns: the flag is put into the word that the data register gave.
    machine.interrupt()
    place = re.search(
        r"0x[0-9a-f]+", machine.gdb("info address tinyos::console_input::ConsoleInput::receive")
    )
    assert place
    machine.gdb(f"break *{place[0]}")
    machine.console.send("uptime\r")
    machine.gdb("continue", timeout=_SECONDS)
    machine.gdb("set var data = data | 0x800")
    machine.gdb("delete")
    machine.resume()
    answer = machine.console.wait_for_prompt(_SECONDS)
    assert " ms\n" in answer, "the command came without its first letter"
    assert "console: input was lost: 1 overruns and 0 line errors since boot" in answer
    assert figures(machine.shell("console"))["overrun_count"] == 1
    assert machine.json("stats")["counters"]["console_overruns"] == 1


def test_a_break_on_the_line_is_counted_and_typed_text_goes_on(machine: TinyOS) -> None:
    machine.console.send("upt")
    machine.console.expect("upt$")
    machine.qemu.command("chardev-send-break", {"id": "console"})
    machine.console.send("ime\r")
    answer = machine.console.wait_for_prompt(_SECONDS)
    assert " ms\n" in answer
    assert "console: input was lost: 0 overruns and 1 line errors since boot" in answer
    assert machine.json("stats")["counters"]["console_line_errors"] == 1
    assert "input was lost" not in machine.shell("uptime"), "it is said once"
    assert table(machine.shell("tasks"), "task")
