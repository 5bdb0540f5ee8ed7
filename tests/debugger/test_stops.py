"""`set tinyos keep-stops` in GDB: what is read at a stop, and what `tinyos diff` then knows."""

import re
import sys

import pytest

from tests.debugger.conftest import gdb

ADVICE = "no earlier stop was kept: `set tinyos keep-stops 5` keeps the last five from now on"
# To the shell's next interrupt, some milliseconds later. `stepi` never returns from `wfi`, as QEMU's timers
# stand still then.
STEP = ("thbreak shell_interrupted", "continue")


@pytest.fixture
def connect(shared_machine):
    """The command that connects GDB; the machine is then stopped."""
    return f"target remote {shared_machine.qemu.gdb_address}"


def titles(output):
    """The moments of each difference that was shown."""
    return re.findall(r"^Difference from (\S+) to (\S+) ", output, re.MULTILINE)


def test_without_the_setting_the_command_says_how(connect, kernel_elf):
    done = gdb(connect, "show tinyos keep-stops", "tinyos diff", *STEP, "tinyos diff", elf=kernel_elf)
    assert "How many of the last stops are kept, for tinyos diff: 0." in done.output
    assert done.errors.splitlines() == [ADVICE, ADVICE]


def test_the_last_stops_are_kept(connect, kernel_elf):
    done = gdb(
        connect,
        "set tinyos keep-stops 2",
        *(*STEP, "tinyos diff", *STEP, *STEP, "tinyos diff $tinyos_stop(-2) --json"),
        *("tinyos diff $tinyos_stop(-2)", "tinyos diff $tinyos_stop(-2) $tinyos_stop(-1)"),
        "tinyos diff $tinyos_stop(-3)",
        elf=kernel_elf,
    )
    last, before = "$tinyos_stop(-1)", "$tinyos_stop(-2)"
    assert titles(done.output) == [(last, "now"), (before, "now"), (before, last)]
    assert "$tinyos_stop(-3): only 2 earlier stops were kept" in done.errors
    assert "Python" not in done.errors


def test_a_diff_keeps_its_own_stop(connect, kernel_elf):
    done = gdb(connect, "tinyos diff now", *STEP, "tinyos diff", *STEP, "tinyos diff", elf=kernel_elf)
    assert "diff" not in done.errors
    assert len(titles(done.output)) == 3


def test_a_stop_that_cannot_be_kept_is_said_when_asked_for(shared_machine, kernel_elf):
    said = gdb("info address shell_interrupted", elf=kernel_elf).output
    address = re.search(r"0x\w+", said)[0]
    done = gdb(
        "set architecture aarch64",
        f"target remote {shared_machine.qemu.gdb_address}",
        "set tinyos keep-stops 3",
        *(f"thbreak *{address}", "continue"),
        f"file {kernel_elf}",
        "tinyos diff",
        elf=sys.executable,
    )
    assert "no earlier stop was kept: the last stop could not be kept: " in done.errors
    assert "Traceback" not in done.errors


def reads_by_step(proxy, kernel_elf, *settings):
    """The packets by which GDB switches to physical memory and back, during three steps."""
    mark = "monitor info name"
    steps = [word for _ in range(3) for word in (mark, *STEP)]
    before = f"target remote {proxy.address}"
    done = gdb(before, "set confirm off", *settings, *steps, mark, elf=kernel_elf)
    assert "Python" not in done.errors
    asked = f"qRcmd,{b'info name'.hex()}"
    marks = [index for index, packet in enumerate(proxy.packets) if packet == asked]
    sent = proxy.packets[marks[0] : marks[-1]]
    return [packet for packet in sent if packet.startswith("Qqemu.PhyMemMode")]


def test_a_stop_reads_nothing_unless_asked_to(proxy, kernel_elf):
    assert reads_by_step(proxy, kernel_elf) == []


def test_a_stop_that_is_kept_puts_the_memory_mode_back(proxy, kernel_elf):
    sent = reads_by_step(proxy, kernel_elf, "set tinyos keep-stops 2")
    assert sent.count("Qqemu.PhyMemMode:1") >= 3
    assert sent[-1] == "Qqemu.PhyMemMode:0"


def test_switched_off_again_a_stop_reads_nothing(proxy, kernel_elf):
    assert reads_by_step(proxy, kernel_elf, "set tinyos keep-stops 2", "set tinyos keep-stops 0") == []


def test_a_machine_that_started_anew_is_another(connect, kernel_elf):
    """What was kept of the former machine on this connection is forgotten with it."""
    done = gdb(connect, "tinyos diff now", "disconnect", connect, "tinyos diff", elf=kernel_elf)
    assert ADVICE in done.errors
