"""`check` of the kernel's own half of the address space: each kind of corruption of its tables is found."""

from __future__ import annotations

import struct

import pytest

from gdbplugin.kernel.kernel import MANAGER
from gdbplugin.layout import cache
from tests.writable_guest import writable_guest

IMAGE, LINEAR, DEVICES = 0xFFFF_8000_0000_0000, 0xFFFF_0000_0000_0000, 0xFFFF_C000_0000_0000
TEXT = IMAGE + 0x9_0000
PRIVILEGED_EXECUTE_NEVER = 1 << 53
ADDRESS = 0x0000_FFFF_FFFF_F000


@pytest.fixture(scope="module")
def guest(kernel_elf, tmp_path_factory):
    with writable_guest(kernel_elf, tmp_path_factory.mktemp("guest")) as found:
        yield found


def records(elf):
    """The page that the kernel's records begin in."""
    return cache.load(elf).static(MANAGER).address & ~0xFFF


def levels(machine, address):
    """The descriptors on the way to an address: physical address and value, the root's first."""
    return [(level.address, level.descriptor) for level in machine.translate(address).walk.levels]


def findings(machine, memory, place, descriptor):
    """What `check` finds while a descriptor is another."""
    old = memory[place : place + 8]
    memory[place : place + 8] = struct.pack("<Q", descriptor)
    machine.gdb("monitor info status")
    try:
        found = machine.json("check")["findings"]
    finally:
        memory[place : place + 8] = old
        machine.gdb("monitor info status")
    return [(entry["object"], entry["expected"], entry["found"]) for entry in found]


def test_as_it_was_booted_nothing_is_found(guest):
    machine, _ = guest
    checked = machine.json("check")
    assert checked["findings"] == []
    assert checked["checked"]["kernel_mappings"] > 900


def test_text_elsewhere(guest):
    machine, memory = guest
    place, descriptor = levels(machine, TEXT)[-1]
    (found,) = findings(machine, memory, place, descriptor & ~ADDRESS | 0x111_1000)
    assert found == (
        f"kernel text at {TEXT:#x}",
        "physical 0x90000",
        f"physical 0x1111000, up to {TEXT + 0x1000:#x}",
    )


def test_text_that_can_be_written_and_is_el0s(guest):
    machine, memory = guest
    place, descriptor = levels(machine, TEXT)[-1]
    (found,) = findings(machine, memory, place, descriptor & ~(1 << 7) | 1 << 6)
    assert found[:2] == (f"kernel text at {TEXT:#x}", "r-x at EL1, --- at EL0")
    # What EL0 may write, EL1 never executes.
    assert found[2] == f"rw- at EL1, rw- at EL0, up to {TEXT + 0x1000:#x}"


def test_data_that_can_be_executed(guest, kernel_elf):
    machine, memory = guest
    address = records(kernel_elf)
    place, descriptor = levels(machine, address)[-1]
    # As SCTLR_EL1.WXN is set, it must be read-only too.
    (found,) = findings(machine, memory, place, descriptor & ~PRIVILEGED_EXECUTE_NEVER | 1 << 7)
    assert found[1:] == ("rw- at EL1, --- at EL0", f"r-x at EL1, --- at EL0, up to {address + 0x1000:#x}")


def test_a_block_where_nothing_is_mapped(guest):
    machine, memory = guest
    address = LINEAR + 0x3C00_0000
    place, descriptor = levels(machine, address)[-1]
    assert descriptor == 0
    (found,) = findings(machine, memory, place, 0x3C00_0000 | 0x701 | 1 << 53 | 1 << 54)
    assert found == (
        f"kernel half at {address:#x}",
        "nothing mapped",
        f"physical 0x3c000000, up to {address + (2 << 20):#x}",
    )


def test_a_root_that_is_its_own_table(guest):
    machine, memory = guest
    root, _ = levels(machine, TEXT)[0]
    table = root & ~0xFFF
    found = findings(machine, memory, table + 8 * 300, table | 3)
    # Below it are the tables of the half once more, each a level higher than it is meant for.
    assert {entry[1] for entry in found} >= {"nothing mapped", "a well-formed table entry"}
    assert all(entry[0].startswith("kernel half at 0xffff96") for entry in found)


@pytest.mark.parametrize(
    ("bits", "expected", "found"),
    [
        (1 << 10, "the access flag set", "clear"),
        (1 << 11, "global", "not global (nG)"),
        (1 << 8, "inner shareable", "outer shareable"),
    ],
)
def test_flags_that_are_not_as_all_have_them(guest, bits, expected, found):
    machine, memory = guest
    place, descriptor = levels(machine, TEXT)[-1]
    (entry,) = findings(machine, memory, place, descriptor ^ bits)
    end = f", up to {TEXT + 0x1000:#x}"
    assert entry == (f"kernel text at {TEXT:#x}", expected, found + end)


def test_in_boot_it_is_noted_what_there_is_not_to_compare_yet(boot):
    """From the first instruction with the MMU on: no finding, whatever the kernel has not got to."""
    machine = boot(paused=True)
    seen = []
    with machine.stopped():
        for place in (
            "kernel_main",
            "install_kernel_table",
            "kernel::interrupts::initialize",
            "kernel::workload::run",
        ):
            machine.gdb(f"thbreak {place}")
            machine.gdb("continue")
            found = machine.json("check")
            assert found["findings"] == [], place
            seen.append((found["checked"]["kernel_mappings"] is not None, found["checked"]["frames"] > 0))
            assert bool(found["notes"]) == (seen[-1] != (True, True)), place
    assert seen[0] == seen[1] == (False, False)
    assert seen[-1] == (True, True)


def test_a_table_in_a_device(guest):
    machine, memory = guest
    root, _ = levels(machine, LINEAR)[1]
    (found,) = findings(machine, memory, (root & ~0xFFF) + 8 * 5, 0xFE20_1003)
    assert found[:2] == (f"kernel half at {LINEAR + (5 << 30):#x}", "a well-formed table entry")
    assert "the device" in found[2]


def test_a_page_that_is_not_mapped_any_more(guest):
    machine, memory = guest
    place, _ = levels(machine, TEXT)[-1]
    (found,) = findings(machine, memory, place, 0)
    assert found == (f"kernel text at {TEXT:#x}", "mapped", f"not mapped, up to {TEXT + 0x1000:#x}")


def test_devices_as_memory(guest):
    machine, memory = guest
    address = DEVICES + 0xFE20_0000
    place, descriptor = levels(machine, address)[-1]
    found = findings(machine, memory, place, descriptor & ~(7 << 2))
    assert [entry[:2] for entry in found] == [(f"devices at {address:#x}", "device memory")]


def test_unreadable_records_leave_findings_that_say_why(guest, kernel_elf):
    machine, memory = guest
    address = records(kernel_elf) + 0x1000
    place, descriptor = levels(machine, address)[-1]
    found = findings(machine, memory, place, descriptor & ~2)
    assert any(entry[0] == f"kernel half at {address:#x}" for entry in found), found
    assert found[-1][:2] == ("the kernel's records", "readable")
