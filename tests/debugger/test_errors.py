"""Errors are one line that says what to do, never a Python traceback."""

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from gdbplugin.session.gdb import find_gdb
from tests.debugger.conftest import PLUGIN, gdb
from tests.debugger.test_packets import with_other_build_id


def one_line(outcome):
    assert "Python Exception" not in outcome.errors
    assert "Traceback" not in outcome.errors
    return outcome.errors.strip().splitlines()[-1]


def test_no_target(kernel_elf):
    commands = ("tinyos report", "tinyos r", "tinyos *r", "tinyos check --json")
    outcome = gdb(*commands, elf=kernel_elf)
    one_line(outcome)
    lines = outcome.errors.splitlines()
    assert [line.startswith("there is no target") for line in lines] == [True] * len(commands), lines


def test_no_program(shared_machine):
    outcome = gdb(f"target remote {shared_machine.qemu.gdb_address}", "tinyos report")
    assert one_line(outcome).startswith("no program is loaded")


def test_a_stripped_program(shared_machine, kernel_elf, tmp_path):
    stripped = tmp_path / "stripped.elf"
    stripped.write_bytes(without_sections(kernel_elf))
    outcome = gdb(f"target remote {shared_machine.qemu.gdb_address}", "tinyos report", elf=stripped)
    assert "is stripped" in one_line(outcome)


def without_sections(elf):
    """An ELF without section headers, and so without symbols and DWARF."""
    content = bytearray(elf.read_bytes())
    content[0x28:0x30] = bytes(8)  # e_shoff
    content[0x3C:0x40] = bytes(4)  # e_shnum, e_shstrndx
    return bytes(content)


def test_a_program_that_is_not_tinyos(shared_machine):
    connect = f"target remote {shared_machine.qemu.gdb_address}"
    outcome = gdb("set architecture aarch64", connect, "tinyos report", elf=sys.executable)
    assert any(words in one_line(outcome) for words in ("is not TinyOS", "is stripped"))


def test_a_program_of_another_architecture(shared_machine, kernel_elf, tmp_path):
    other, content = tmp_path / "x86.elf", bytearray(kernel_elf.read_bytes())
    content[0x12:0x14] = (62).to_bytes(2, "little")  # e_machine
    other.write_bytes(content)
    connect = f"target remote {shared_machine.qemu.gdb_address}"
    for command in ("tinyos report", "tinyos translate 0", "tinyos registers"):
        said = one_line(gdb(connect, command, elf=other))
        assert said.startswith("GDB treats the target as i386:x86-64, not as AArch64: load")
        assert str(other) in said
    told = gdb("set architecture aarch64", connect, "tinyos registers TTBR1_EL1", elf=other)
    assert "TTBR1_EL1 of all cores: 0x" in told.output


def test_another_build_than_the_one_that_runs(shared_machine, kernel_elf, tmp_path):
    other = tmp_path / "other.elf"
    other.write_bytes(with_other_build_id(kernel_elf))
    outcome = gdb(f"target remote {shared_machine.qemu.gdb_address}", "tinyos report", elf=other)
    assert "is not what the machine runs" in one_line(outcome)


def test_a_running_target(shared_machine, kernel_elf):
    outcome = gdb(
        "set mi-async on",
        f"target remote {shared_machine.qemu.gdb_address}",
        "continue &",
        "tinyos report",
        "interrupt",
        elf=kernel_elf,
    )
    assert "the target is running: stop it first" in outcome.errors
    assert "Python Exception" not in outcome.errors


def test_a_connection_lost_during_a_command(proxy, kernel_elf):
    def cut_during_the_command():
        while sum(packet.startswith("m") for packet in proxy.packets) < 100:
            time.sleep(0.001)
        proxy.cut()

    threading.Thread(target=cut_during_the_command, daemon=True).start()
    outcome = gdb(f"target remote {proxy.address}", "tinyos check", "tinyos report", elf=kernel_elf)
    assert "the connection to the target was lost" in outcome.errors
    assert one_line(outcome).startswith("there is no target")


def test_help_and_completion():
    outcome = gdb(
        "help tinyos",
        "help tinyos report",
        "apropos tinyos",
        "complete tinyos ",
        "complete tinyos report ",
    )
    lines = outcome.output.splitlines()
    assert "Usage: tinyos report [--python] [--json]" in lines
    assert "tinyos check" in lines
    assert lines.count("tinyos report --json") == 1
    assert outcome.errors == ""


def test_sourcing_it_again_changes_nothing():
    outcome = gdb(f"source {PLUGIN}", f"source {PLUGIN}", "help tinyos report")
    assert outcome.errors == ""


def test_it_works_from_another_directory(tmp_path):
    # The path may be relative to this directory.
    program = Path(shutil.which(find_gdb())).absolute()
    arguments = [program, "--nx", "--batch", "-x", PLUGIN, "-ex", "tinyos report"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "there is no target" in done.stderr
