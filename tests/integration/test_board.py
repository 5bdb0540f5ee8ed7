"""What the kernel takes from the firmware and sets for the board: RAM, the UART's pins and clock."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from gdbplugin.kernel import interface
from gdbplugin.pytest_plugin import Boot
from gdbplugin.session import SessionError, TinyOS
from tests.integration import device_trees, firmware
from tests.integration.device import DEVICES
from tests.integration.load import LINEAR_MAP

_MIB, _GIB = 1 << 20, 1 << 30
_FIRST = (0, 948 * _MIB)
_UPPER_HALF = 1 << 63
IMAGE = 0xFFFF_8000_0000_0000
_MAILBOX, _UART = 0xFE00_B880, 0xFE20_1000
_GPFSEL1, _PULLS = 0xFE20_0004, 0xFE20_00E4
_ALT0 = 0b100

Range = tuple[int, int]


def _said_ram(machine: TinyOS) -> str:
    said = re.search(r"^RAM: (.*)$", machine.console.transcript, re.MULTILINE)
    assert said, machine.console.transcript
    return said[1]


def _exported_ram(machine: TinyOS) -> list[Range]:
    """The linear map that the kernel exports to debuggers."""
    with machine.stopped_target() as target:
        ranges = interface.read_memory_map(target.required_kernel())
    return [
        (one.physical, one.physical + one.end - one.start)
        for one in ranges
        if one.kind == interface.LINEAR_MAP
    ]


def _mapped_ram(machine: TinyOS) -> list[Range]:
    """The linear map by the kernel's tables, adjacent parts as one."""
    found: list[Range] = []
    with machine.stopped():
        for entry in machine.maps(range=(_UPPER_HALF, (1 << 64) - 1)).mappings:
            if entry.start - entry.physical != LINEAR_MAP:
                continue
            start, end = entry.physical, entry.physical + entry.end - entry.start
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], end)
            else:
                found.append((start, end))
    return found


@pytest.mark.parametrize(
    "ram",
    [
        [_FIRST],
        [_FIRST, (_GIB, 2 * _GIB)],
        [_FIRST, (_GIB, 0xFC00_0000)],
        [_FIRST, (_GIB, 0xFC00_0000), (4 * _GIB, 8 * _GIB)],
        [(0, 512 * _MIB)],
    ],
    ids=["1 GiB", "2 GiB", "4 GiB", "8 GiB", "half to the VideoCore"],
)
def test_the_kernel_maps_the_ram_of_the_device_tree_and_no_more(
    entered: Callable[..., TinyOS], ram: list[Range]
) -> None:
    # A size has 32 bits.
    entries = [
        (part, min(end - part, 2 * _GIB)) for start, end in ram for part in range(start, end, 2 * _GIB)
    ]
    machine = entered(2, tree=device_trees.board(*entries))
    said = ", ".join(f"{start:#x} to {end:#x} ({end - start >> 20} MiB)" for start, end in ram)
    assert _said_ram(machine) == f"{said}, by the device tree at {firmware.TREE:#x}"
    assert _exported_ram(machine) == _mapped_ram(machine) == ram
    assert machine.json("check")["findings"] == []
    assert "passed" in machine.shell("*c", timeout=60)


@pytest.mark.parametrize("level", [3, 1])
def test_the_tree_arrives_at_every_exception_level(entered: Callable[..., TinyOS], level: int) -> None:
    assert "by the device tree" in _said_ram(entered(level, tree=device_trees.board((0, _GIB))))


@pytest.mark.parametrize("way", ["flat image", "ELF"])
def test_qemus_tree_is_taken_too(
    boot: Boot, kernel_image: Path, kernel_elf: Path, tmp_path: Path, way: str
) -> None:
    """QEMU puts its own RAM into the tree that it is given. With an ELF the tree is at address 0."""
    (tmp_path / "board.dtb").write_bytes(device_trees.board((0, 64 * _MIB)))
    machine = boot(
        kernel=kernel_elf if way == "ELF" else kernel_image, extra=("-dtb", str(tmp_path / "board.dtb"))
    )
    (ram,) = _exported_ram(machine)
    assert ram[0] == 0
    assert ram[1] >= 948 * _MIB
    assert "by the device tree at 0x" in _said_ram(machine)


_TREE = device_trees.board((0, _GIB))


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        (b"", "there is no device tree"),
        (bytes(64), "does not begin as one"),
        (_TREE[:4] + struct.pack(">I", 1 << 30) + _TREE[8:], "has a size that cannot be right"),
        (_TREE.replace(b"memory\0\0", b"memoir\0\0"), "has no RAM"),
        (_TREE[:64] + bytes(len(_TREE) - 64), "has an unknown token"),
    ],
    ids=["no tree", "no magic number", "wrong size", "no RAM", "zeros"],
)
def test_without_a_usable_tree_the_kernel_says_what_it_assumes(
    entered: Callable[..., TinyOS], tree: bytes, reason: str
) -> None:
    machine = entered(2, tree=tree)
    where = f"the device tree at {firmware.TREE:#x} " if tree else ""
    assert _said_ram(machine) == f"0x0 to 0x3b400000 (948 MiB), assumed: {where}{reason}"
    assert _exported_ram(machine) == _mapped_ram(machine) == [_FIRST]


def test_a_board_without_ram_for_the_pool_is_refused_aloud(entered: Callable[..., TinyOS]) -> None:
    with pytest.raises(SessionError, match="the kernel needs RAM from 0x0 to 0x10000000"):
        entered(2, tree=device_trees.board((0, 128 * _MIB)), timeout=4.0)


def _physical_word(machine: TinyOS, address: int) -> int:
    with machine.stopped() as gdb:
        return int(gdb.execute(f"monitor xp /1wx {address:#x}").split()[1], 16)


def test_the_uart_has_its_pins_without_pulls(machine: TinyOS) -> None:
    functions, pulls = (_physical_word(machine, address) for address in (_GPFSEL1, _PULLS))
    assert (functions >> 12 & 7, functions >> 15 & 7) == (_ALT0, _ALT0)
    assert pulls >> 28 == 0
    # The other pins are as they were after reset.
    assert functions & ~(0o77 << 12) == 0
    assert pulls & 0x0FFF_FFFF != 0


def test_the_uarts_clock_is_the_firmwares(machine: TinyOS) -> None:
    """QEMU's firmware says 3 MHz, from which the divisor of 115,200 baud follows (PL011 TRM, UARTIBRD)."""
    assert "\nUART clock: 3000000 Hz, by the firmware\n" in machine.console.transcript
    whole, fraction = (_physical_word(machine, _UART + offset) for offset in (0x24, 0x28))
    assert whole * 64 + fraction == round(3_000_000 / 16 / 115_200 * 64)


@pytest.mark.parametrize(
    ("registers", "reason"),
    [
        (0, "the firmware does not answer"),
        (1 << 31, "the firmware's mailbox stays full"),
        (1 << 30, "the firmware does not answer"),
    ],
    ids=["only answers to others", "full", "silent"],
)
def test_a_firmware_that_does_not_answer_is_given_up_aloud(boot: Boot, registers: int, reason: str) -> None:
    """QEMU's always answers: the kernel's tables are made to lead to memory instead of to the mailbox."""
    machine = boot(paused=True)
    with machine.stopped() as gdb:
        gdb.execute("thbreak kernel::console::initialize")
        machine.gdb("continue")
        descriptor = machine.translate(DEVICES + _MAILBOX).walk.levels[-1]
        memory = 0x3000_0000
        block = descriptor.descriptor & ~0x0000_FFFF_FFE0_0000 | memory
        changes = {
            IMAGE + descriptor.address: struct.pack("<Q", block),
            LINEAR_MAP + memory + _MAILBOX % (2 * _MIB): struct.pack("<I", registers) * 16,
        }
        for address, content in changes.items():
            gdb.mi(f"-data-write-memory-bytes {address:#x} {content.hex()}")
    machine.resume()
    machine.console.wait_for_prompt()
    assert f"\nUART clock: 48000000 Hz, assumed: {reason}\n" in machine.console.transcript
