"""Devices in physical memory are found in QEMU's map, and never read."""

import re
import sys

import pytest

from gdbplugin.kernel.physical_map import ASK, MemoryMap
from tests.debugger.conftest import gdb
from tests.debugger.stub_proxy import StubProxy
from tests.debugger.test_stub_socket import BRIDGE

TEXT = """FlatView #0
 AS "dma", root: other
 Root memory region: other
  0000000000000000-00000000ffffffff (prio 0, i/o): everything

FlatView #1
 AS "memory", root: system
 AS "cpu-memory-0", root: system
 Root memory region: system
  0000000000000000-000000000fffffff (prio 0, ram): ram
  0000000010000000-0000000010000fff (prio -1000, i/o): uart
  0000000010001000-0000000010001fff (prio 0, romd): flash
  0000000010002000-00000000100020ff (prio 0, i/o): a clock @0000000000001000
  0000000020000000-000000002fffffff (prio 0, ram): ram @0000000010000000
  0000000030000000-000000003fffffff (prio 0, ram): more ram KVM
"""


UART, CLOCK = "the device uart is there", "the device a clock is there"
NOTHING = "there is no memory"


@pytest.mark.parametrize(
    ("address", "length", "lack"),
    [
        (0, 0x1000_0000, None),
        (0, 0x1000_0001, UART),
        (0x1000_0000, 1, UART),
        (0x1000_0FFF, 1, UART),
        (0x1000_1000, 0x1000, None),
        (0x1000_1FFF, 2, CLOCK),
        (0x1000_2000, 0x1000, CLOCK),
        (0x1000_2100, 0x1000, NOTHING),
        (0x0FFF_F000, 0x100_0000, UART),
        (0x2000_0000, 0x2000_0000, None),
        (0x3FFF_FFFF, 2, NOTHING),
        (1 << 60, 8, NOTHING),
    ],
)
def test_ranges_that_must_not_be_read_have_a_reason(address, length, lack):
    found = MemoryMap.parse(TEXT).lack(address, length)
    assert found is None if lack is None else found.startswith(lack)


def test_without_a_map_everything_is_memory():
    for text in ("", "unknown command", "FlatView #0\n Root memory region: (none)\n"):
        assert MemoryMap.parse(text).lack(0, 1 << 52) is None


def test_the_map_has_the_boards_devices(shared_machine):
    """From the board's manual: the first PL011, and the GIC's distributor and CPU interface."""
    found = MemoryMap.parse(shared_machine.qemu.monitor(ASK))
    for address in (0xFE20_1000, 0xFF84_1000, 0xFF84_2000):
        assert "the device" in found.lack(address, 4), hex(address)
    assert found.lack(0, 2 << 30) is None
    assert found.lack(0, (2 << 30) + 1) is not None


@pytest.mark.parametrize("way", ["socket", "log", "program"])
def test_no_command_reads_a_device_that_a_table_leads_to(shared_machine, kernel_elf, tmp_path, way):
    """Table roots in the interrupt controller and the UART, by each way to the stub."""
    with StubProxy(tmp_path, shared_machine.qemu.gdb_address) as proxy:
        bridge = tmp_path / "bridge.py"
        bridge.write_text(BRIDGE)
        program = f"| {sys.executable} {bridge} {proxy.address}"
        done = gdb(
            *([f"set remotelogfile {tmp_path / 'log'}"] if way == "log" else []),
            f"target remote {program if way == 'program' else proxy.address}",
            "tinyos translate 0 --ttbr 0xff842000",
            "tinyos maps --ttbr 0xff841000",
            "tinyos maps --ttbr 0xfe201000 --json",
            "tinyos translate 0 --ttbr 0x8001000",
            elf=kernel_elf,
        )
    assert done.errors == ""
    read = [
        tuple(int(number, 16) for number in packet[1:].split(","))
        for packet in proxy.packets
        if re.match(r"m[0-9a-f]+,[0-9a-f]+$", packet)
    ]
    assert read
    assert [place for place in read if 0xFC00_0000 <= place[0] < 1 << 32] == []
    assert done.output.count("is there, and reading might change it") >= 3


def test_a_breakpoint_condition_can_be_the_first_use(shared_machine, kernel_elf):
    """The monitor is asked during an internal stop of GDB."""
    done = gdb(
        f"target remote {shared_machine.qemu.gdb_address}",
        "thbreak shell_interrupted if $tinyos_translate(0xffff800000080000) == 0x80000",
        "continue",
        "output 6*7",
        elf=kernel_elf,
    )
    assert done.errors == ""
    assert "hit Temporary breakpoint" in done.output
    assert "\n42" in done.output


def test_what_is_at_an_address_has_its_range_and_name():
    found = MemoryMap.parse(TEXT)
    for address, name, is_memory in (
        (0, "ram", True),
        (0x0FFF_FFFF, "ram", True),
        (0x1000_0FFF, "uart", False),
        (0x1000_1000, "flash", True),
        (0x1000_20FF, "a clock", False),
        (0x3FFF_FFFF, "more ram KVM", True),
    ):
        here = found.at(address)
        assert here is not None
        assert here.start <= address < here.end
        assert (here.name, here.is_memory) == (name, is_memory)
    assert found.at(0x1000_2100) is None
    assert found.at(1 << 52) is None
    assert MemoryMap().at(0) is None
    assert found.memory[0] == (0, 0x1000_0000)


def test_a_map_in_a_dump_is_the_same_or_none():
    found = MemoryMap.parse(TEXT)
    rows = [list(entry) for entry in found.ranges]
    assert MemoryMap.of_rows(rows).ranges == found.ranges
    for damaged in (None, 7, {"a": 1}, [[0, 1, "ram"]], [[1, 0, "ram", "x"]], [["0", 1, "ram", "x"]], [3]):
        assert MemoryMap.of_rows(damaged).ranges == ()
    assert MemoryMap.of_rows([*rows, [0, 1, "ram", 5]]).ranges == ()
