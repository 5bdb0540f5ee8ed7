"""The imports of the first command in a GDB, which take most of its time."""

import subprocess

import pytest

from gdbplugin.session.gdb import find_gdb
from tests.debugger.conftest import PLUGIN, gdb

# Not needed to show an object as text; each takes as long as ten of our modules.
UNWANTED = {
    "argparse",
    "ast",
    "asyncio",
    "dataclasses",
    "elftools",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "pickle",
    "socket",
    "subprocess",
    "tabulate",
    "tempfile",
    "typing",
    "urllib",
}
BEFORE = "python import sys; tinyos_test_before = set(sys.modules)"
AFTER = "python print('modules', *sorted(sys.modules.keys() - tinyos_test_before))"


def imported(stub, elf, command):
    """The modules that a command imports in a fresh GDB."""
    outcome = gdb(f"target remote {stub}", BEFORE, f"tinyos {command}", AFTER, elf=elf)
    assert (outcome.status, outcome.errors) == (0, "")
    (line,) = [line for line in outcome.output.splitlines() if line.startswith("modules ")]
    return line.split()[1:]


@pytest.fixture
def stub(shared_machine):
    """The address that GDB connects to."""
    return shared_machine.qemu.gdb_address


@pytest.mark.parametrize(
    ("command", "most"),
    [
        ("translate 0xffff800000080000", 38),
        ("stats", 31),
        ("pressure", 31),
        ("events", 31),
        ("context", 36),
        ("registers", 40),
        ("lazy", 39),
        ("stacks", 38),
        ("report", 43),
        ("check", 48),
        ("maps", 45),
        ("lint", 52),
        ("diff now", 48),
    ],
)
def test_a_command_imports_only_what_it_uses(stub, kernel_elf, command, most):
    found = imported(stub, kernel_elf, command)
    assert not UNWANTED & {name.partition(".")[0] for name in found}
    own = [name for name in found if name.startswith("gdbplugin.")]
    assert 20 < len(own) <= most, own


def test_a_question_imports_no_more_than_json(stub, kernel_elf):
    found = imported(stub, kernel_elf, "lazy --where 'state == \"zero\"' --group owner")
    assert UNWANTED & {name.partition(".")[0] for name in found} == {"json"}


def test_json_is_imported_for_json(stub, kernel_elf):
    assert "json" in imported(stub, kernel_elf, "stats --json")


def typed(*lines, elf, stub, before_prompt=()):
    """What a GDB prints that is connected, runs some commands, and then gets lines at its prompt."""
    arguments = [find_gdb(), "--nx", "--quiet", "-iex", "set debuginfod enabled off", str(elf)]
    arguments += ["-x", str(PLUGIN)]
    for command in (f"target remote {stub}", *before_prompt):
        arguments += ["-ex", command]
    done = subprocess.run(
        arguments, input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("command", ["stats", "report"])
def test_a_typed_command_finds_its_modules_imported(stub, kernel_elf, command):
    said = typed(BEFORE, f"tinyos {command}", AFTER, elf=kernel_elf, stub=stub)
    (line,) = [line for line in said.splitlines() if "modules" in line]
    assert "gdbplugin." not in line


def test_the_imports_before_a_prompt_need_no_packet(proxy, kernel_elf):
    # Where the guest happens to stop decides what GDB asks when it connects, so only what follows is counted:
    # `monitor` is a packet of its own, before the first prompt and after it.
    mark = "monitor info name"
    said = typed(AFTER, mark, elf=kernel_elf, stub=proxy.address, before_prompt=[BEFORE, mark])
    assert "gdbplugin." in said
    marks = [index for index, packet in enumerate(proxy.packets) if packet.startswith("qRcmd")]
    assert len(marks) == 2
    assert marks[1] == marks[0] + 1
