"""Dumps in the library and at the prompt: written while a machine runs, and opened in place of one."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from gdbplugin.dump.machine import DumpMachine
from gdbplugin.session import SessionError, TinyOS
from gdbplugin.session.errors import CommandFailedError
from tests.commands.forms import json_of

METHODS = ("backtrace", "check", "context", "events", "fault", "lazy", "maps", "pressure")
METHODS += ("registers", "report", "stacks", "stats", "tasks")
REPL = Path(sys.executable).with_name("tinyos-repl")


@pytest.fixture(scope="module")
def dumped(shared_tinyos, tmp_path_factory):
    """A dump of a stopped machine, in a folder whose name has a space; and what each method returned."""
    path = tmp_path_factory.mktemp("a dump") / "dump"
    with shared_tinyos.stopped():
        live = {name: json_of(name, getattr(shared_tinyos, name)()) for name in METHODS}
        written = shared_tinyos.dump(path)
    return path, live, written


@pytest.fixture(scope="module")
def opened(dumped, kernel_elf):
    with TinyOS.open_dump(dumped[0], kernel_elf) as session:
        yield session


@pytest.mark.parametrize("name", METHODS)
def test_each_method_returns_what_it_did_of_the_machine(opened, dumped, name):
    assert json_of(name, getattr(opened, name)()) == dumped[1][name]


def test_a_dump_is_small_and_has_the_consoles_end(dumped):
    path, _, written = dumped
    assert written.path == str(path)
    assert (written.cores, written.memory_size) == (4, 2 << 30)
    assert written.stored_size < 70 << 20
    machine = DumpMachine(path)
    assert "boot took" in machine.information["console"]
    assert machine.information["writer"] == "tinyos-gdb"


def test_a_dump_takes_little_more_than_what_the_guest_uses(tinyos, tmp_path):
    """With pages that hold something, which no strategy folds."""
    tinyos.shell("spawn hog 14000")
    while (tinyos.stats().stats.allocated_lazy_pages or 0) < 14_000:
        time.sleep(0.1)
    written = tinyos.dump(tmp_path / "dump")
    used = 14_000 * 4096
    assert used < written.stored_size < used + (12 << 20) < 70 << 20


def test_a_running_machine_runs_on_after_its_dump(shared_tinyos, tmp_path):
    assert shared_tinyos.running
    shared_tinyos.dump(tmp_path / "dump")
    assert shared_tinyos.running
    assert "ms" in shared_tinyos.shell("uptime")


def test_what_needs_a_machine_says_why_not(opened):
    assert not opened.running
    with pytest.raises(SessionError, match="is a dump, which does not run"):
        opened.resume()
    with pytest.raises(SessionError, match="this session has no console"):
        opened.shell("*s")
    assert "secondary_parked" in opened.gdb("info threads")


def test_a_file_that_is_none_is_one_line(tmp_path, kernel_elf):
    for content, said in (
        (None, "No such file or directory"),
        (b"x" * 100, "is not a dump: neither an ELF core nor"),
    ):
        path = tmp_path / "dump"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SessionError, match=said):
            TinyOS.open_dump(path, kernel_elf)


def test_a_folder_that_does_not_exist_is_one_line(shared_tinyos, tmp_path):
    place = tmp_path / "missing" / "dump"
    with pytest.raises(CommandFailedError, match=r"cannot write .*: No such file or directory"):
        shared_tinyos.dump(place)
    assert list(tmp_path.iterdir()) == []


def test_the_prompt_opens_a_dump(dumped, kernel_elf):
    arguments = [
        REPL,
        "--dump",
        dumped[0],
        "--kernel",
        kernel_elf,
        "--batch",
        "backtrace 1",
        "check",
        "continue",
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert "program_worker" in done.stdout
    assert "0 findings" in done.stdout
    assert "not being run" in done.stderr
    assert done.returncode == 1


def test_the_prompt_refuses_what_excludes_a_dump():
    done = subprocess.run(
        [REPL, "--dump", "x", "--connect", "y:1"], capture_output=True, text=True, timeout=60, check=False
    )
    assert "--connect and --dump exclude each other" in done.stderr
    assert done.returncode == 1


def test_a_kernel_that_fails_at_the_prompt_leaves_a_dump(kernel_elf, tmp_path):
    arguments = [REPL, "--kernel", kernel_elf, "--dump-on-failure", tmp_path / "dumps"]
    # A failed kernel does not answer: that is waited for until the time limit.
    arguments += ["--timeout", "3", "--batch", "console crash", "backtrace"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    (dump,) = (tmp_path / "dumps").iterdir()
    assert f"the kernel has failed; its dump is {dump}" in " ".join(done.stderr.split())
    assert done.stderr.count("its dump is") == 1
    with TinyOS.open_dump(dump, kernel_elf) as session:
        assert "KERNEL FAILURE" in DumpMachine(dump).information["console"]
        assert session.fault().failure is not None
        functions = [frame.function for frame in session.backtrace(core=0).backtraces[0].frames]
        assert functions[0] == "kernel::failure::halted"
        assert "kernel::shell::run" in functions


def test_a_kernel_that_does_not_fail_leaves_none(kernel_elf, tmp_path):
    arguments = [
        REPL,
        "--kernel",
        kernel_elf,
        "--dump-on-failure",
        tmp_path / "dumps",
        "-c",
        "console uptime",
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "dumps").exists()
