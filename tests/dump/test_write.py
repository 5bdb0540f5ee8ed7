"""Dumps of a made-up kernel: what is in them, and what a failure leaves."""

import errno
import os

import pytest

from gdbplugin.dump.core_file import CoreFile
from gdbplugin.dump.machine import DumpMachine
from gdbplugin.dump.write import write_dump
from gdbplugin.kernel.target import Target
from gdbplugin.machine import MachineError
from tests.commands.forms import json_of, text_of
from tests.kernel.stopped import stopped_world
from tests.kernel.synthetic import World
from tests.schemas.validation import validate

SIZE = 1 << 30


@pytest.fixture
def target(monkeypatch):
    """A small TinyOS; its memory is said to be one page of ones at 0x5000."""
    monkeypatch.setattr(Target, "console_text", lambda _: "tinyos> ")
    monkeypatch.setattr(Target, "memory_parts", lambda _: (SIZE, iter([(0x5000, b"\1" * 4096)])))
    world = World()
    world.scheduler["tasks"][2] |= {"context": {"pc": 0x40_0044, "sp": 0x7000_0000_0000, "x": [7] * 31}}
    return stopped_world(world)


def test_a_dump_has_memory_registers_and_tasks(target, tmp_path):
    found = write_dump(target, str(tmp_path / "dump"))
    assert (found.memory_size, found.cores, found.tasks) == (SIZE, len(target.machine.cores), 1)
    assert "1 GiB of memory" in " ".join(text_of("dump", found).split())
    validate(json_of("dump", found))
    machine = DumpMachine(tmp_path / "dump")
    assert machine.read_physical(0x5000, 8) == b"\1" * 8
    assert machine.read_physical(0x6000, 8) == bytes(8)
    assert machine.information["console"] == "tinyos> "
    for name in ("TTBR0_EL1", "TTBR1_EL1", "TCR_EL1", "SCTLR_EL1", "X5"):
        assert machine.register(name, 0) == target.machine.register(name, 0)
    (task,) = (thread for thread in machine.file.threads if thread.number >= 1000)
    assert (task.number, task.registers[0], task.registers[31], task.registers[32]) == (
        1002,
        7,
        0x7000_0000_0000,
        0x40_0044,
    )


@pytest.mark.parametrize("failing", ["write", "rename", "folder"])
def test_a_failure_is_one_line_and_leaves_no_file(target, tmp_path, monkeypatch, failing):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*_):
        raise full

    if failing == "write":
        monkeypatch.setattr("gdbplugin.dump.write.write_core", fail)
    elif failing == "rename":
        monkeypatch.setattr("os.replace", fail)
    place = tmp_path / ("missing/dump" if failing == "folder" else "dump")
    reason = "No such file or directory" if failing == "folder" else "No space left on device"
    with pytest.raises(MachineError, match=rf"^cannot write {place}: {reason}$"):
        write_dump(target, str(place))
    assert list(tmp_path.iterdir()) == []


def test_an_older_dump_is_replaced_in_one_step(target, tmp_path):
    place = tmp_path / "dump"
    place.write_text("older")
    write_dump(target, str(place))
    CoreFile(place).close()
    assert list(tmp_path.iterdir()) == [place]


def test_a_device_is_not_replaced(target, tmp_path):
    place = tmp_path / "pipe"
    os.mkfifo(place)
    with pytest.raises(MachineError, match=rf"^cannot write {place}: it is not a regular file$"):
        write_dump(target, str(place))
    assert place.is_fifo()
