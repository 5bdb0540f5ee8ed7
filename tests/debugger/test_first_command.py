"""The imports of the first command in a GDB, which take most of its time."""

import pytest

from tests.debugger.conftest import gdb

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
        ("translate 0xffff800000080000", 48),
        ("stats", 47),
        ("pressure", 49),
        ("events", 47),
        ("context", 49),
        ("registers", 49),
        ("lazy", 51),
        ("stacks", 57),
        ("report", 65),
        ("check", 66),
        ("maps", 60),
    ],
)
def test_a_command_imports_only_what_it_uses(stub, kernel_elf, command, most):
    found = imported(stub, kernel_elf, command)
    assert not UNWANTED & {name.partition(".")[0] for name in found}
    own = [name for name in found if name.startswith("gdbplugin.")]
    assert 30 < len(own) <= most, own


def test_json_is_imported_for_json(stub, kernel_elf):
    assert "json" in imported(stub, kernel_elf, "stats --json")
