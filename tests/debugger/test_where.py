"""`where` and `search` on the running kernel: against QEMU's walker, and a mark planted in memory."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gdbplugin.session import TinyOS
from tests.commands.forms import json_of
from tests.debugger.conftest import gdb
from tests.integration.guest import gva2gpa
from tests.integration.load import write_physical

pytestmark = pytest.mark.xdist_group("where")

MARK = 0x5EA2_C4ED_0DD5_EED5
KERNEL = 0xFFFF_8000_0008_0000


def test_physical_addresses_are_those_of_qemus_walker(shared_machine):
    with shared_machine.stopped() as debugger:
        for mapping in shared_machine.json("maps --core 1")["mappings"]:
            for address in (mapping["start"], mapping["end"] - 1):
                found = shared_machine.where(address, core=1)
                assert found.place.physical == gva2gpa(debugger, 1, address)
                assert address in [one.alias for one in found.place.aliases]


def test_the_memory_and_devices_are_those_of_qemus_map(shared_machine):
    with shared_machine.stopped():
        listed = re.findall(
            r"^ +([0-9a-f]{16})-([0-9a-f]{16}) .*?(\w+)\): ", _flat_view(shared_machine), re.M
        )
        assert len(listed) > 20
        for first, last, kind in listed:
            for address in (int(first, 16), int(last, 16)):
                place = shared_machine.where(physical=address).place
                assert (place.memory.start, place.memory.end) == (int(first, 16), int(last, 16) + 1)
                assert (place.device is None) == (kind in ("ram", "rom", "romd"))
        assert shared_machine.where(physical=0xFE20_1018).place.device == "pl011"


def _flat_view(machine):
    """The part of QEMU's list that is the address space of the machine."""
    said = machine.gdb("monitor info mtree -f")
    return next(view for view in said.split("FlatView #") if re.search(r'^ AS "memory"', view, re.M))


def test_registers_of_any_core_are_told(shared_machine):
    with shared_machine.stopped():
        for core in range(4):
            for register, name in (("pc", "PC"), ("sp", "SP"), ("x29", "X29")):
                found = shared_machine.where(register, core=core)
                assert (found.register, found.core) == (name, core)
                shared_machine.gdb(f"thread {core + 1}")
                evaluated = f"python print(int(gdb.parse_and_eval('${register}')) & (1 << 64) - 1)"
                assert found.value == int(shared_machine.gdb(evaluated))
            assert shared_machine.where("VBAR_EL1").place.region.name == "kernel text"


@pytest.fixture(params=["mapped", "by GDB"])
def marked(request, boot):
    """A stopped machine with a mark in a lazy page, the address of that, and its physical address."""
    machine = boot(share_ram=request.param == "mapped")
    machine.interrupt()
    page = next(iter(machine.lazy(state="allocated", limit=1)))
    write_physical(machine, page.physical_address + 0x128, MARK.to_bytes(8, "little"))
    machine.gdb("thread 1")
    return machine, page.virtual_address + 0x128, page.physical_address + 0x128


def test_a_mark_is_found_live_by_packets_and_in_a_dump(
    marked: tuple[TinyOS, int, int], tmp_path: Path, kernel_elf: Path
) -> None:
    machine, address, physical = marked
    page = f"{address & -4096:#x}+0x1000"
    commands = [
        f"search {MARK:#x} --in {page}",
        f"search {MARK.to_bytes(8, 'little').hex(' ')} --align 8 --in {page}",
        f"search --pointer-to {MARK:#x}+1 --in {page}",
        f"where {address:#x}",
        f"where --physical {physical:#x}",
        "where TTBR0_EL1",
        "where sp --core 3",
    ]
    if machine.qemu.ram is not None:  # By packets the kernel's map of all memory takes too long for a test.
        commands += [f"search {MARK:#x}", f"search {MARK:#x} --in mapped"]
    live = {command: machine.json(command) for command in commands}
    for command, found in live.items():
        if command.startswith("search"):
            assert [(hit["address"], hit["physical"]) for hit in found["hits"]] == [(address, physical)]
            assert found["hits"][0]["lazy"]["state"] == "allocated"
    assert live[commands[3]]["physical"] == live[commands[4]]["physical"] == physical
    # The library reads the same, in its own process.
    first, _ = next(iter(live.items()))
    assert json_of("search", machine.search(MARK, in_=(address & -4096, None, 0x1000))) == live[first]
    assert json_of("where", machine.where(address)) == live[commands[3]]
    machine.dump(tmp_path / "dump")
    asked = (f"tinyos {command} --json" for command in commands)
    outcome = gdb(f"core-file {tmp_path / 'dump'}", *asked, elf=kernel_elf)
    assert outcome.errors == ""
    later = [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{")]
    assert dict(zip(commands, later, strict=True)) == live
    with TinyOS.open_dump(tmp_path / "dump", kernel_elf) as opened:
        found = json_of("search", opened.search(MARK))
        assert (found["scope"], found["searched"]) == ("physical", 2 << 30)
        if machine.qemu.ram is not None:
            assert found == live[f"search {MARK:#x}"] == json_of("search", machine.search(MARK))
        assert json_of("where", opened.where(address)) == live[commands[3]]


_INTERRUPTED = """
import os, signal, gdb
from gdbplugin.kernel.search_memory import Run
parts = Run.parts
def interrupted(run):
    for number, part in enumerate(parts(run)):
        if number == 5:
            os.kill(os.getpid(), signal.SIGINT)
        yield part
Run.parts = interrupted
gdb.execute("tinyos search %#x --in mapped")
print("done")
"""


def test_ctrl_c_shows_what_was_found(shared_machine, kernel_elf, tmp_path):
    """Through packets, of which an interrupt must leave no answer behind."""
    script = tmp_path / "interrupted.py"
    script.write_text(_INTERRUPTED % MARK)
    shared_machine.detach()
    done = gdb(
        f"target remote {shared_machine.qemu.gdb_address}", f"source {script}", "info threads", elf=kernel_elf
    )
    said = " ".join(done.output.split())
    assert f"No hit for {MARK:#x} in " in said, done
    assert re.search(r"Note: interrupted after \d+ % of the memory: there may be more", said), done
    assert "done" in said
    # GDB's connection is in order.
    assert "secondary_parked" in said
    assert "Python Exception" not in done.errors


def test_no_symbols_and_no_tinyos_leave_the_tables_and_the_map(shared_machine):
    shared_machine.detach()
    connect = ("set architecture aarch64", f"target remote {shared_machine.qemu.gdb_address}", "thread 2")
    commands = (
        "where $pc",
        "where --physical 0xfe201000",
        "search 0xd65f03c0 --size 4 --limit 3 --in $pc+4096",
    )
    done = gdb(*connect, *(f"tinyos {command} --json" for command in commands))
    found = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    assert len(found) == len(commands), done
    assert found[0]["translation"]["levels"]
    assert found[0]["aliases"]
    assert (found[0]["frame"], found[0]["region"]["symbol"]) == (None, None)
    assert found[1]["device"] == "pl011"
    # RET instructions after the address where the core waits.
    assert found[2]["hits"]
