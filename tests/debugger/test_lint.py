"""`tinyos lint` in GDB: kernels that run in QEMU, one made right and one broken in each way; and TinyOS."""

from __future__ import annotations

import json
import struct

import pytest

from tests.aarch64 import qemu
from tests.debugger.conftest import gdb
from tests.elf_files import SHF_ALLOC, SHT_NOBITS, Section
from tests.kernel.lint_kernels import BROKEN, SECTIONS, TEXT, Kernel
from tests.layout.assembled import elf_of
from tests.schemas.validation import validate
from tests.writable_guest import writable_guest

IMAGE = 0xFFFF_8000_0008_0000
AT_EL1 = 0x3C5
SHF_EXECINSTR = 4
NOT_BOOTED = ("HCR_EL2.TGE set",)
"""With TGE no core can go to EL1."""


@pytest.fixture(scope="module")
def board():
    with qemu.running(qemu.VIRT) as target:
        yield target


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """An ELF file with the kernel's sections and no bytes in them."""
    sections = [
        Section(name, b"", SHT_NOBITS, SHF_ALLOC | SHF_EXECINSTR, start, end - start, align=4096)
        for start, end, name in SECTIONS
    ]
    path = tmp_path_factory.mktemp("program") / "kernel.elf"
    path.write_bytes(elf_of(sections))
    return path


def booted(board, kernel):
    """Load the kernel's tables and registers, and let the core run in its text."""
    written = qemu.stub.WRITTEN
    registers = {name: value for name, value in kernel.registers.items() if name in written}
    words = kernel.image.words()
    board.start(registers, words, state=AT_EL1, at=TEXT)


def lint(board, program, *commands):
    done = gdb(f"target remote {board.gdb_address}", *commands, elf=program)
    assert "Traceback" not in done.errors
    return done


def kernel_of(board):
    return Kernel(board.base, board.base + qemu.SPIN)


def test_a_kernel_made_right_runs_and_has_no_findings(board, program):
    booted(board, kernel_of(board))
    assert board.pc() == TEXT
    done = lint(board, program, "tinyos lint --json", "tinyos lint --strict")
    found = json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))
    validate(found)
    assert found["findings"] == []
    assert found["leaves"] == 15
    assert [space["name"] for space in found["address_spaces"]] == [
        "TTBR0_EL1 of core 0",
        "TTBR1_EL1 of core 0",
    ]
    assert "0 findings" in done.output
    assert done.errors == ""


@pytest.mark.parametrize("how", [how for how in BROKEN if how not in NOT_BOOTED])
def test_each_broken_rule_is_found_on_a_running_kernel(board, program, how):
    kernel = kernel_of(board)
    breaking, rules = BROKEN[how]
    breaking(kernel)
    booted(board, kernel)
    done = lint(board, program, "tinyos lint --json", "tinyos lint --strict")
    found = json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))
    validate(found)
    assert {one["rule"] for one in found["broken"]} == rules
    assert f"tinyos lint: {found['broken_count']} finding" in done.errors
    for one in found["broken"]:
        for mapping in filter(None, (one["mapping"], one["other"])):
            assert board.gva2gpa(mapping["start"]) in (mapping["physical"], None)


@pytest.fixture(scope="module")
def guest(kernel_elf, tmp_path_factory):
    with writable_guest(kernel_elf, tmp_path_factory.mktemp("guest")) as found:
        yield found


def test_tinyos_and_all_of_its_spaces(guest):
    machine, _ = guest
    found = machine.lint()
    assert not found.broken
    tasks = {space.number for space in machine.context().spaces.active}
    assert {space.task for space in found.spaces} - {None} == tasks
    assert not [note for note in found.notes if "stopped at" in note]


@pytest.mark.parametrize(
    ("address", "flip", "rules"),
    [
        (IMAGE, 1 << 7, {"writable-text"}),
        # As SCTLR_EL1.WXN is set, what can be written is not executed.
        (IMAGE + 0x10_0000, 1 << 53, set()),
        (IMAGE + 0x10_0000, 1 << 6, {"el0-kernel"}),
        (0xFFFF_C000_FE20_1000, 1 << 53 | 1 << 7, {"executable-device"}),
        (IMAGE + 0x10_0000, 3 << 8, {"mismatched-alias"}),
    ],
    ids=[
        "writable text",
        "writable data without XN",
        "data open to EL0",
        "executable device",
        "not shareable",
    ],
)
def test_a_changed_descriptor_of_tinyos_is_found(guest, address, flip, rules):
    machine, memory = guest
    machine.gdb("monitor info status")
    leaf = machine.translate(address).walk.levels[-1]
    old = memory[leaf.address : leaf.address + 8]
    memory[leaf.address : leaf.address + 8] = struct.pack("<Q", leaf.descriptor ^ flip)
    machine.gdb("monitor info status")
    try:
        found = machine.lint()
    finally:
        memory[leaf.address : leaf.address + 8] = old
        machine.gdb("monitor info status")
    assert {one.rule for one in found.broken} == rules
    for rule in rules:
        named = [one for one in found.broken if one.rule == rule]
        sides = [side for one in named for side in (one.mapping, one.other) if side is not None]
        assert any(side.start <= address < side.end for side in sides)
        assert any(side.descriptor_address == leaf.address for side in sides)
