"""Kernels with other forms of debug information work too; what cannot be read is named."""

import json

import pytest

from gdbplugin.layout.elf import read_image
from gdbplugin.session import SessionError, TinyOS
from tests.debugger.conftest import gdb
from tests.debugger.test_errors import one_line
from tests.elf_files import (
    COMPRESSIONS,
    changed,
    debug_link,
    debug_only,
    sections_of,
    stripped,
    without_indexes,
)
from tests.layout.assembled import Unit, elf_with, string

pytestmark = pytest.mark.xdist_group("debug information")

NAME = "kernel.debug"
COMMANDS = ("tinyos stacks --json", "tinyos check --json")


@pytest.fixture(scope="module")
def dwarf5_machine(dwarf5_elf):
    """A machine with the DWARF 5 kernel, its tasks held, for the tests' own GDBs."""
    with TinyOS.boot(dwarf5_elf) as machine:
        machine.shell("hold")
        yield machine


@pytest.fixture
def ask(dwarf5_machine, tmp_path, monkeypatch):
    """Runs commands in a GDB on that machine, with another form of the kernel's file."""
    # All forms have the same build-id, but each must be read itself.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def ask_gdb(elf, *commands, before=()):
        connect = f"target remote {dwarf5_machine.qemu.gdb_address}"
        return gdb(*before, connect, *commands, elf=elf)

    return ask_gdb


@pytest.fixture(scope="module")
def expected(dwarf5_machine, dwarf5_elf):
    """The answers with the kernel's own file."""
    connect = f"target remote {dwarf5_machine.qemu.gdb_address}"
    return answers(gdb(connect, *COMMANDS, elf=dwarf5_elf))


def answers(outcome):
    """The parts of the printed objects that are the same at each stop."""
    stacks, check = (json.loads(line) for line in outcome.output.splitlines() if line.startswith("{"))
    assert (stacks["findings"], stacks["notes"], check["findings"]) == ([], [], []), outcome.errors
    fields = ("id", "owner", "policy", "base_address", "max_size", "guard_address")
    return [[stack[field] for field in fields] for stack in stacks["stacks"]]


def test_a_dwarf_5_kernel_is_tinyos(expected, dwarf5_machine):
    with dwarf5_machine.stopped():
        stacks = list(dwarf5_machine.stacks())
    dwarf5_machine.detach()
    fields = ("id", "owner", "policy", "base_address", "max_size", "guard_address")
    assert len(expected) > 5
    assert expected == [[getattr(stack, field) for field in fields] for stack in stacks]


def test_a_dwarf_5_kernel_is_read_by_the_library(dwarf5_elf):
    with TinyOS.boot(dwarf5_elf) as machine, machine.stopped():
        assert "0 findings" in machine.gdb("tinyos check")
        assert not machine.check().findings
        ids = [stack["id"] for stack in machine.json("stacks")["stacks"]]
        assert [stack.id for stack in machine.stacks()] == ids
        assert "Stacks (" in machine.gdb("tinyos report")
        assert machine.break_on("stack-growth")


@pytest.mark.parametrize("method", ["none", *COMPRESSIONS])
def test_a_compressed_kernel_without_indexes_answers(ask, expected, dwarf5_elf, tmp_path, method):
    path = tmp_path / "kernel.elf"
    path.write_bytes(changed(without_indexes(dwarf5_elf), COMPRESSIONS.get(method, lambda one: one)))
    assert answers(ask(path, *COMMANDS)) == expected


def split(dwarf5_elf, folder):
    """A stripped kernel, and the contents of its debug file."""
    debug = debug_only(dwarf5_elf.read_bytes())
    folder.mkdir(exist_ok=True)
    (folder / "kernel.elf").write_bytes(stripped(dwarf5_elf.read_bytes(), [debug_link(NAME, debug)]))
    return folder / "kernel.elf", debug


@pytest.mark.parametrize("place", [NAME, f".debug/{NAME}"])
def test_a_kernel_answers_with_its_debug_file(ask, expected, dwarf5_elf, tmp_path, place):
    path, debug = split(dwarf5_elf, tmp_path / "bin")
    (path.parent / place).parent.mkdir(exist_ok=True)
    (path.parent / place).write_bytes(debug)
    assert answers(ask(path, *COMMANDS)) == expected


@pytest.mark.parametrize("by", ["build-id", "path"])
def test_a_kernel_answers_with_a_system_debug_file(ask, expected, dwarf5_elf, tmp_path, by):
    path, debug = split(dwarf5_elf, tmp_path / "bin")
    digits = read_image(dwarf5_elf).build_id.hex()
    places = {
        "build-id": tmp_path / "system" / ".build-id" / digits[:2] / f"{digits[2:]}.debug",
        "path": tmp_path / "system" / path.parent.relative_to("/") / NAME,
    }
    places[by].parent.mkdir(parents=True)
    places[by].write_bytes(debug)
    # Before GDB loads the file.
    load = (f"set debug-file-directory {tmp_path}/nowhere:{tmp_path}/system", f"file {path}")
    assert answers(ask(None, *COMMANDS, before=load)) == expected


def test_a_debug_file_that_the_user_adds_is_used(ask, expected, dwarf5_elf, tmp_path):
    path, debug = split(dwarf5_elf, tmp_path / "bin")
    (tmp_path / "other.debug").write_bytes(debug)
    assert answers(ask(path, *COMMANDS, before=[f"add-symbol-file {tmp_path}/other.debug"])) == expected


def test_a_debug_file_alone_is_enough(ask, expected, dwarf5_elf, tmp_path):
    path, debug = split(dwarf5_elf, tmp_path / "bin")
    path.with_name(NAME).write_bytes(debug)
    load = (f"exec-file {path}", f"symbol-file {path.with_name(NAME)}")
    assert answers(ask(None, *COMMANDS, before=load)) == expected


def test_a_missing_debug_file_is_named(ask, dwarf5_elf, tmp_path):
    path, _ = split(dwarf5_elf, tmp_path / "bin")
    said = one_line(ask(path, "tinyos report"))
    assert f"{path} is stripped: it has no debug information, and its debug file {NAME} is missing" in said
    assert str(path.with_name(NAME)) in said


def test_a_debug_file_of_another_build_is_named(ask, dwarf5_elf, tmp_path):
    path, debug = split(dwarf5_elf, tmp_path / "bin")
    path.with_name(NAME).write_bytes(debug + b"x")
    said = one_line(ask(path, "tinyos report"))
    assert f"{path.with_name(NAME)} does not belong to {path}: its checksum is" in said


def with_skeletons(elf):
    """The kernel's file with only a skeleton of its debug information: the rest is in `kernel.dwo`."""
    skeleton = elf_with(Unit([], top=[("dwo_name", "string", string("kernel.dwo"))]))
    made = {one.name: one for one in sections_of(skeleton) if one.is_debug}
    probes = ".debugger_probes"
    return changed(
        elf.read_bytes(), lambda one: one if not one.is_debug or one.name == probes else made.get(one.name)
    )


def test_split_debug_information_is_named(ask, dwarf5_elf, tmp_path):
    path = tmp_path / "kernel.elf"
    path.write_bytes(with_skeletons(dwarf5_elf))
    said = ask(path, "tinyos report").errors
    assert f"the debug information of {path} is split: part of it is in kernel.dwo" in said
    assert "-Csplit-debuginfo=off" in said


def with_an_odd_version(elf):
    """The kernel's file with units of an unknown DWARF version."""
    data = next(one.data for one in sections_of(elf.read_bytes()) if one.name == ".debug_info")
    odd, offset = bytearray(data), 0
    while offset < len(odd):
        odd[offset + 4] = 9
        offset += 4 + int.from_bytes(odd[offset : offset + 4], "little")
    return elf.read_bytes().replace(data, bytes(odd))


def test_an_unknown_version_of_dwarf_is_named(ask, dwarf5_elf, tmp_path):
    path = tmp_path / "kernel.elf"
    path.write_bytes(with_an_odd_version(dwarf5_elf))
    said = ask(path, "tinyos report").errors
    assert f"the debug information of {path} cannot be read" in said
    assert "version. Got '9'" in said


def test_the_library_reads_registers_without_the_types(dwarf5_elf, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "kernel.elf"
    path.write_bytes(with_skeletons(dwarf5_elf))
    with TinyOS.boot(path) as machine:
        assert len(machine.registers()) > 5
        with pytest.raises(SessionError, match=r"is split: part of it is in kernel\.dwo"):
            machine.stacks()


@pytest.mark.parametrize("spoil", [with_skeletons, with_an_odd_version])
def test_what_needs_no_kernel_works_without_its_types(ask, dwarf5_elf, tmp_path, spoil):
    path = tmp_path / "kernel.elf"
    path.write_bytes(spoil(dwarf5_elf))
    outcome = ask(path, "tinyos registers TTBR1_EL1", "tinyos translate $pc")
    assert "TTBR1_EL1 of all cores: 0x" in outcome.output
    assert "page of 4 KiB at 0x" in outcome.output
    assert "kernel.dwo, which" not in outcome.errors
    assert "cannot be read" not in outcome.errors


def test_a_type_that_gdb_has_not_read_says_how_to(ask, dwarf5_elf):
    commands = ("print $tinyos_level()", "print $tinyos_stack(1).id")
    outcome = ask(dwarf5_elf, *commands)
    values = [line for line in outcome.output.splitlines() if line.startswith("$")]
    if len(values) == 2:
        return  # This GDB understands the compiler's index.
    assert len(values) == 1
    assert f"type `symbol-file -readnow {dwarf5_elf}`" in one_line(outcome)
    again = ask(dwarf5_elf, *commands, before=[f"symbol-file -readnow {dwarf5_elf}"])
    assert [line for line in again.output.splitlines() if line.startswith("$")] == [*values, "$2 = 1"]
