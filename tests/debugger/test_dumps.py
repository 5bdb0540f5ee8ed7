"""Dumps: every command answers as on the live machine; and what GDB shows of one without the plugin."""

import json
import re
import subprocess

import pytest

from gdbplugin.session.gdb import find_gdb
from tests.commands.forms import BY_WORD, words
from tests.debugger.conftest import gdb

IMAGE = 0xFFFF_8000_0008_0000
COMMANDS = (
    *words(),
    *(f"translate {IMAGE:#x}", "translate 0x400000", "tasks 3", "stacks 1", "backtrace --all"),
    *(
        "diff now now",
        "maps --el 1",
        "registers TCR",
        "events 5 --core 0",
        "lazy --state zero",
        "registers --core 2",
        "where $sp",
        "where TTBR1_EL1",
        "where --physical 0xfe201000",
        "where 0x200000004123",
        "search --pointer-to 0x200000000000..0x200010000000 --limit 20",
    ),
)
RUNNING = {command.word for command in BY_WORD.values() if command.form.runs_target}


@pytest.fixture(scope="module")
def dumped(shared_machine, tmp_path_factory):
    """A dump of a busy machine, and what each command said of that machine."""
    path = tmp_path_factory.mktemp("dump") / "dump"
    shared_machine.console.send("faults 200000\r")
    with shared_machine.stopped():
        live = {command: shared_machine.json(command) for command in COMMANDS}
        shared_machine.gdb(f"tinyos dump {path}", timeout=60)
    return path, live


def test_every_command_answers_as_on_the_live_machine(dumped, kernel_elf):
    path, live = dumped
    outcome = gdb(f"core-file {path}", *(f"tinyos {command} --json" for command in COMMANDS), elf=kernel_elf)
    assert outcome.errors == ""
    found = [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{")]
    assert dict(zip(COMMANDS, found, strict=True)) == live


def test_what_runs_the_target_says_why_it_cannot(dumped, kernel_elf):
    path, _ = dumped
    outcome = gdb(f"core-file {path}", "tinyos stress", "tinyos dump /nowhere/dump", elf=kernel_elf)
    assert "Traceback" not in outcome.errors
    assert outcome.errors.splitlines() == [
        "the target is a dump, which does not run: the stress test needs a live one",
        "all of the memory can be read only from a live machine",
    ]


def stock(path, kernel_elf, *commands):
    """What GDB without the plugin says of a dump."""
    arguments = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(
        [find_gdb(), "-nx", "-q", "-batch", kernel_elf, path, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def test_stock_gdb_shows_cores_and_tasks(dumped, kernel_elf):
    path, live = dumped
    said = stock(path, kernel_elf, "info threads")
    numbers = {int(number) for number in re.findall(r"LWP (\d+)\b.*\n", said)}
    tasks = live["tasks"]["tasks"]
    waiting = {1000 + task["id"] for task in tasks if task["state"] != "Ended" and task["core"] is None}
    assert numbers >= {1, 2, 3, 4} | waiting
    assert "secondary_parked" in said
    assert "program_worker" in said


def test_stock_gdb_prints_the_kernels_statics(dumped, kernel_elf):
    path, live = dumped
    manager = "tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER.value.value"
    said = stock(path, kernel_elf, "set language rust", f"output {manager}.stats.total_lazy_pages")
    assert said.endswith(str(live["stats"]["stats"]["total_lazy_pages"]))


def test_stock_gdb_shows_the_frames_of_every_thread(dumped, kernel_elf):
    path, _ = dumped
    said = stock(path, kernel_elf, "thread apply all bt")
    assert len(re.findall(r"^Thread \d+", said, re.MULTILINE)) >= 4 + 7
    assert re.search(r"#\d+ .*kernel_main", said)
