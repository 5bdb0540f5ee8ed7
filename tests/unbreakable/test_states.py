"""Every command where it cannot work, or not wholly: an answer, or one line that says why there is none."""

import sys
from pathlib import Path

import pytest

from tests.debugger.test_errors import without_sections
from tests.debugger.test_packets import with_other_build_id
from tests.unbreakable.commands import EXPRESSIONS, assert_unbroken, every_command, play

pytestmark = pytest.mark.xdist_group("unbreakable")

ANY_KERNEL = (
    "translate",
    "maps",
    "lint",
    "registers",
    "fault",
    "backtrace",
    "search",
    "where",
    "during",
    "watch",
)
# They need a recording of the machine, and no kernel.
OF_A_RECORDING = ("back", "checkpoint", "checkpoints", "recording", "rewind")
ANY_KERNEL_EXPRESSIONS = ("$tinyos_asid", "$tinyos_translate")


def works_on_any_kernel(command):
    # An ASID is looked up in TinyOS's records, where the cores have it not.
    if "--asid" in command:
        return False
    if command in EXPRESSIONS:
        return any(name in command for name in ANY_KERNEL_EXPRESSIONS)
    return command.split()[1] in ANY_KERNEL


def assert_only_any_kernel_answers(given, *reasons):
    for one in given:
        if works_on_any_kernel(one["command"]):
            assert one["error"] is None, one
        elif "--asid" not in one["command"]:
            assert one["error"] is not None, one
            is_of_recording = one["command"].split()[1] in OF_A_RECORDING
            said = ("is not recorded",) if is_of_recording else reasons
            assert any(reason in one["error"] for reason in said), one


def test_no_target(kernel_elf, tmp_path):
    given, errors = play([{"commands": every_command(running=True)}], tmp_path, elf=kernel_elf)
    assert_unbroken(given, errors)
    for one in given:
        assert "there is no target" in one["error"], one


def test_a_running_target(shared_machine, kernel_elf, tmp_path):
    given, errors = play(
        [{"commands": every_command(running=True)}],
        tmp_path,
        "set mi-async on",
        f"target remote {shared_machine.qemu.gdb_address}",
        "continue &",
        elf=kernel_elf,
    )
    assert_unbroken(given, errors)
    for one in given:
        assert "the target is running: stop it first" in one["error"], one


def test_no_symbols(shared_machine, tmp_path):
    given, errors = on(shared_machine, tmp_path, None)
    assert_unbroken(given, errors)
    assert_only_any_kernel_answers(given, "no program is loaded")


def test_a_stripped_program(shared_machine, kernel_elf, tmp_path):
    stripped = tmp_path / "stripped.elf"
    stripped.write_bytes(without_sections(kernel_elf))
    given, errors = on(shared_machine, tmp_path, stripped)
    assert_unbroken(given, errors)
    assert_only_any_kernel_answers(given, "is stripped")


def test_another_program(shared_machine, tmp_path):
    given, errors = on(shared_machine, tmp_path, Path(sys.executable), "set architecture aarch64")
    assert_unbroken(given, errors)
    assert_only_any_kernel_answers(given, "is stripped", "is not TinyOS")


def test_a_program_of_another_architecture(shared_machine, kernel_elf, tmp_path):
    other, content = tmp_path / "x86.elf", bytearray(kernel_elf.read_bytes())
    content[0x12:0x14] = (62).to_bytes(2, "little")  # e_machine
    other.write_bytes(content)
    given, errors = on(shared_machine, tmp_path, other)
    assert_unbroken(given, errors)
    for one in given:
        assert "GDB treats the target as i386:x86-64" in one["error"], one


def test_another_build(shared_machine, kernel_elf, tmp_path):
    other = tmp_path / "other.elf"
    other.write_bytes(with_other_build_id(kernel_elf))
    given, errors = on(shared_machine, tmp_path, other)
    assert_unbroken(given, errors)
    assert_only_any_kernel_answers(given, "is not what the machine runs")


def on(machine, directory, elf, *before):
    """All commands on the machine with the symbols of another program; none of which can have it run."""
    commands = every_command(running=True)
    connect = f"target remote {machine.qemu.gdb_address}"
    return play([{"commands": commands}], directory, *before, connect, elf=elf)
