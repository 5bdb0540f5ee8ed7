"""Devices in physical memory: found in what QEMU says, and never read."""

import re

import pytest

from gdbplugin.debugger.memory_map import ASK, MemoryMap
from tests.debugger.conftest import gdb
from tests.debugger.stub_proxy import StubProxy

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
"""


@pytest.mark.parametrize(
    ("address", "length", "device"),
    [
        (0, 0x1000_0000, None),
        (0, 0x1000_0001, "uart"),
        (0x1000_0000, 1, "uart"),
        (0x1000_0FFF, 1, "uart"),
        (0x1000_1000, 0x1000, None),
        (0x1000_1FFF, 2, "a clock"),
        (0x1000_2000, 0x1000, "a clock"),
        (0x1000_2100, 0x1000, None),
        (0x0FFF_F000, 0x100_0000, "a clock"),
        (0x2000_0000, 0x1000, None),
        (1 << 60, 8, None),
        (0x1000_0000, 0, None),
    ],
)
def test_a_device_in_a_range(address, length, device):
    assert MemoryMap.parse(TEXT).device(address, length) == device


def test_where_nothing_is_said_nothing_is_a_device():
    for text in ("", "unknown command", "FlatView #0\n Root memory region: (none)\n"):
        assert MemoryMap.parse(text).device(0, 1 << 52) is None


def test_the_devices_of_the_board(shared_machine):
    """As the board's manual has them: the first PL011, the distributor and the CPU interface of the GIC."""
    found = MemoryMap.parse(shared_machine.qemu.monitor(ASK))
    for address in (0xFE20_1000, 0xFF84_1000, 0xFF84_2000):
        assert found.device(address, 4), hex(address)
    assert found.device(0, 1 << 30) is None


def test_no_command_reads_a_device_that_a_table_leads_to(shared_machine, kernel_elf, tmp_path):
    """A task's root leads to the interrupt controller, as a table and as the page of a record."""
    with StubProxy(tmp_path, shared_machine.qemu.gdb_address) as proxy:
        done = gdb(
            f"target remote {proxy.address}",
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
    assert done.output.count("is there, which reading might change") >= 3
