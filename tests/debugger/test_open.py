"""`tinyos open`: dumps of QEMU and copies of RAM answer as the live machine, as far as they can."""

import contextlib
import json
import os
import shutil

import pytest

from gdbplugin.dump.core_file import data_of
from gdbplugin.programs import RAM_VARIABLE
from tests.debugger.conftest import gdb

# What needs memory alone, once it is known where the kernel's tables are.
BY_MEMORY = ("check", "lazy", "stacks", "stats", "pressure", "events 50", "maps --el 1 --asid 3")
# What needs the cores' general registers as well.
BY_CORES = ("context", "tasks", "backtrace --all", "tasks 3")
# What needs system registers that QEMU's dumps do not have.
BY_REGISTERS = (
    "translate 0xffff800000080000",
    "translate 0x400000 --asid 2",
    "registers TCR_EL1 --core 0",
)
GIVEN = ("SCTLR_EL1", "TCR_EL1", "TTBR0_EL1", "TTBR1_EL1", "MAIR_EL1", "ID_AA64MMFR0_EL1", "ID_AA64MMFR2_EL1")
FORMATS = ("elf", "kdump", "raw-kdump", "ram", "zst")


@contextlib.contextmanager
def stopped_between_tasks(machine):
    """Stop a machine while no task runs: a copy of memory does not have what such a task has in registers."""
    for _ in range(200):
        with machine.stopped():
            if machine.json("tasks")["current"] == 0:
                yield
                return
    pytest.fail("a task runs at each of 200 stops")


@pytest.fixture(scope="module")
def dumps(shared_machine, tmp_path_factory):
    """Dumps in all formats of a machine at one stop, what each command said there, and its registers."""
    folder = tmp_path_factory.mktemp("dumps")
    paths = {name: folder / f"machine {name}" for name in FORMATS[:-1]} | {"zst": folder / "machine.zst"}
    with stopped_between_tasks(shared_machine):
        live = {command: shared_machine.json(command) for command in (*BY_MEMORY, *BY_CORES, *BY_REGISTERS)}
        with shared_machine.stopped_target() as target:
            values = {name: target.machine.register(name, 0) for name in GIVEN}
        shared_machine.gdb(f"tinyos dump '{paths['zst']}'", timeout=60)
        with open(shared_machine.qemu.files[RAM_VARIABLE], "rb") as ram, paths["ram"].open("wb") as copy:
            size = os.fstat(ram.fileno()).st_size
            for address, data in data_of(ram.fileno(), size):
                os.pwrite(copy.fileno(), data, address)
            copy.truncate(size)
        for name, options in (("elf", ""), ("kdump", "-z"), ("raw-kdump", "-z -R")):
            # Its parser takes no spaces.
            shared_machine.gdb(f"monitor dump-guest-memory {options} {folder}/{name}", timeout=120)
            if (folder / name).exists():
                (folder / name).rename(paths[name])
    yield paths, live, values
    shutil.rmtree(folder)


def answers(path, kernel_elf, commands, *options):
    """What a GDB that has opened a dump answers to commands, and what it said before."""
    words = [
        f"tinyos open '{path}' {' '.join(options)}",
        *(f"tinyos {command} --json" for command in commands),
    ]
    outcome = gdb(*words, elf=kernel_elf)
    assert outcome.errors == ""
    lines = outcome.output.splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return dict(zip(commands, found, strict=True)), "\n".join(line for line in lines if line[:1] != "{")


def timeless(found):
    """Without the time of the stop, which a dump of others does not have."""
    if isinstance(found, dict):
        return {
            name: timeless(value)
            for name, value in found.items()
            if name not in ("now", "time", "ran", "registers") and not name.endswith(("_ago", "seconds"))
        }
    return [timeless(one) for one in found] if isinstance(found, list) else found


@pytest.mark.parametrize("name", FORMATS)
def test_what_memory_shows_is_as_on_the_live_machine(dumps, kernel_elf, name):
    paths, live, _ = dumps
    if not paths[name].exists():
        pytest.skip("this QEMU does not write it")
    found, said = answers(paths[name], kernel_elf, BY_MEMORY)
    assert timeless(found) == {command: timeless(live[command]) for command in BY_MEMORY}
    kinds = {"elf": "ELF core", "ram": "copy of RAM", "zst": "dump of tinyos-gdb"}
    assert f"({kinds.get(name, 'kdump')}): " in " ".join(said.split())
    saved = "TTBR0_EL1, TTBR1_EL1 are as the kernel has saved them" in " ".join(said.split())
    assert saved == (name != "zst")


@pytest.mark.parametrize("name", ["elf", "kdump", "zst"])
def test_what_cores_show_is_as_on_the_live_machine(dumps, kernel_elf, name):
    paths, live, _ = dumps
    found, _ = answers(paths[name], kernel_elf, BY_CORES)
    assert timeless(found) == {command: timeless(live[command]) for command in BY_CORES}


@pytest.mark.parametrize("name", ["elf", "kdump"])
def test_given_registers_complete_a_dump(dumps, kernel_elf, name):
    paths, live, values = dumps
    options = [f"--register {register}={value:#x}" for register, value in values.items()]
    found, _ = answers(paths[name], kernel_elf, BY_REGISTERS, *options)
    assert found == {command: live[command] for command in BY_REGISTERS}


def test_without_the_kernels_file_it_says_what_is_missing(dumps):
    paths, _, _ = dumps
    outcome = gdb("set architecture aarch64", f"tinyos open '{paths['kdump']}'", "tinyos translate 0")
    said = " ".join(outcome.output.split())
    assert "this dump does not have SCTLR_EL1, TCR_EL1, TTBR0_EL1, TTBR1_EL1" in said
    assert "give values by --register NAME=VALUE" in said
    assert "Traceback" not in outcome.errors


def test_a_core_file_of_others_says_how_to_open_it(dumps, kernel_elf):
    paths, _, _ = dumps
    link = paths["elf"].with_name("link")
    link.symlink_to(paths["elf"])
    outcome = gdb(f"core-file {link}", "tinyos check", elf=kernel_elf)
    assert outcome.errors.splitlines()[-1] == (
        f"{link} is not a dump of tinyos-gdb, and has no system registers: open it by `tinyos open {link}`"
    )


def test_a_live_target_is_not_replaced(shared_machine, tmp_path):
    with shared_machine.stopped() as session, pytest.raises(Exception, match="a live target is connected"):
        session.execute(f"tinyos open {tmp_path}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("/nowhere/dump", "cannot read /nowhere/dump: No such file or directory"),
        ("/dev/null", "/dev/null is not a dump: neither an ELF core nor a kdump file, and with 0 bytes"),
        ("/tmp", "cannot read /tmp: Is a directory"),
        ("/dev/null --register X99=1", 'tinyos open: "X99" is not a register of a dump'),
        ("", "tinyos open: FILE is missing"),
    ],
)
def test_what_cannot_be_opened_is_one_line(words, said):
    outcome = gdb(f"tinyos open {words}")
    (line,) = outcome.errors.splitlines()
    assert line.startswith(said)


def test_files_and_registers_are_completed(tmp_path):
    (tmp_path / "machine.dump").touch()
    outcome = gdb(f"complete tinyos open {tmp_path}/mach", "complete tinyos open x --register TTBR")
    assert f"tinyos open {tmp_path}/machine.dump" in outcome.output
    assert "--register TTBR1_EL1=" in outcome.output
