"""`tinyos where`: each thing that is known of an address, from made-up kernels and bare machines."""

from __future__ import annotations

import pytest

from gdbplugin.aarch64.walk import translate
from gdbplugin.kernel.physical_map import MemoryMap
from gdbplugin.kernel.target import Target
from gdbplugin.kernel.where import read_where
from gdbplugin.machine import SelectionError
from tests.aarch64.machines import BLOCK, TABLE, el1_registers
from tests.commands.forms import json_of, text_of
from tests.kernel.stopped import Names, bare, stopped_world
from tests.kernel.synthetic import (
    KERNEL_TABLES,
    LAZY_BASE,
    POOL_BASE,
    READ_WRITE,
    STACK_BASE,
    STATIC_VIRTUAL,
    TASK_PAGE,
    World,
)
from tests.schemas.validation import validate

STACK_END = STACK_BASE + 0x20_0000
SECOND_STACK_END = STACK_END + 0x20_0000
RAM, UART = (0, 0x4000_0000, "ram", "ram"), (0x9000_0000, 0x9000_1000, "i/o", "pl011")


@pytest.fixture(autouse=True)
def memory_map(monkeypatch):
    """The machine is said to have 1 GiB of RAM and a UART."""
    monkeypatch.setattr(Target, "memory_map", MemoryMap([RAM, UART]))


def where(stopped, **words):
    """The JSON of what an address is, by its schema, and its text on one line."""
    found = read_where(stopped, **words)
    content = json_of("where", found)
    validate(content)
    text = text_of("where", found)
    assert text.isascii()
    return content, " ".join(text.split())


def named(monkeypatch, symbols, sections=()):
    monkeypatch.setattr(Target, "symbols", Names(symbols, sections))


def test_a_lazy_page_has_its_record_frame_and_descriptor():
    content, text = where(stopped_world(), address=LAZY_BASE + 0x3010)
    frame = World().mappings[1][LAZY_BASE + 0x3000] & 0xFFFF_FFFF_F000
    assert content["physical"] == frame + 0x10
    assert content["lazy"] == {
        "virtual_address": LAZY_BASE + 0x3000,
        "state": "allocated",
        "record": 3,
        "physical_address": frame,
        "owner": 1,
        "owner_name": "worker",
        "access_count": 3,
    }
    assert content["frame"]["use"] == "LazyPage"
    assert content["frame"]["virtual_address"] == LAZY_BASE + 0x3000
    assert content["translation"]["levels"][-1]["descriptor"] == World().mappings[1][LAZY_BASE + 0x3000]
    assert [(one["alias"], one["task"]) for one in content["aliases"]] == [(LAZY_BASE + 0x3010, 1)]
    assert "allocated, record 3, of task 1 (worker)" in text
    assert "memory ram (ram), 0x0..0x40000000" in text
    assert content["notes"] == []


def test_a_pending_page_has_no_frame_but_its_record():
    content, text = where(stopped_world(), address=LAZY_BASE)
    assert (content["physical"], content["frame"], content["lazy"]["state"]) == (None, None, "pending")
    assert content["aliases"] == []
    assert "translation fault at level 3" in text


@pytest.mark.parametrize(
    ("below", "kind", "in_use"), [(8, "stack", True), (0x800, "stack", False), (0x1_0800, "guard", False)]
)
def test_a_stack_is_named_with_its_owner_and_pointer(below, kind, in_use):
    content, text = where(stopped_world(), address=STACK_END - below)
    stack = content["stack"]
    assert (stack["id"], stack["task"], stack["task_name"]) == (1, 1, "worker")
    assert (stack["below_base"], stack["base_address"]) == (below, STACK_END)
    assert content["region"]["kind"] == kind
    assert (STACK_END - below >= stack["stack_pointer"]) == in_use
    assert ("so in use" in text) == in_use


def test_an_address_of_a_task_that_does_not_run_is_found_by_its_tables():
    """TTBR0 is task 1's; the second stack is task 2's."""
    content, text = where(stopped_world(), address=SECOND_STACK_END - 8)
    frame = World().mappings[2][SECOND_STACK_END - 0x1000] & 0xFFFF_FFFF_F000
    assert content["physical"] == frame + 0xFF8
    assert content["translation"]["regime"]["task"] == 2
    assert "address space of task 2, ASID 12, not the core's current" in text
    # Nothing is on record of this address, but task 2's tables map it.
    world = World()
    world.mappings[2][0x9999_0000] = 0x0030_0000 | READ_WRITE
    content, _ = where(stopped_world(world), address=0x9999_0008)
    assert (content["physical"], content["translation"]["regime"]["task"]) == (0x0030_0008, 2)
    # What all tasks have at one address is the current task's.
    assert where(stopped_world(), address=TASK_PAGE)[0]["translation"]["regime"]["asid"] == 11
    # Unless another is asked for.
    assert where(stopped_world(), address=TASK_PAGE, asid=12)[0]["frame"]["owner"] == 2


def test_every_mapped_page_is_told_from_either_side():
    world = World()
    for task, pages in world.mappings.items():
        for address, descriptor in pages.items():
            physical = descriptor & 0xFFFF_FFFF_F000
            content, _ = where(stopped_world(), address=address + 0x123, asid=task + 10)
            assert content["physical"] == physical + 0x123
            back, _ = where(stopped_world(), physical=physical + 0x123)
            mappings = {(one["alias"], one["asid"]) for one in back["aliases"]}
            assert (address + 0x123, task + 10) in mappings
            use, owner, _ = world.frames[physical]
            assert (back["frame"]["use"], back["frame"]["owner"]) == (use, owner)
            assert back["alias_count"] == sum(
                (other & 0xFFFF_FFFF_F000) == physical
                for known in world.mappings.values()
                for other in known.values()
            )


def test_every_entry_of_a_walk_is_found_as_a_table():
    stopped = stopped_world()
    walk = read_where(stopped, STACK_END - 8).place.translation.walk
    assert len(walk.levels) == 4
    for level in walk.levels:
        content, text = where(stopped_world(), physical=level.address + 4)
        table = content["table"]
        wanted = {
            "level": level.level,
            "table": level.table,
            "index": level.index,
            "address": level.address,
            "descriptor": level.descriptor,
            "kind": level.kind.value,
        }
        assert {name: table[name] for name in wanted} == wanted
        assert table["input"] <= STACK_END - 8 < table["input"] + (1 << (39 - 9 * level.level))
        assert (table["register"], table["asid"], table["task"]) == ("TTBR0_EL1", 11, 1)
        assert f"entry {level.index} of a level {level.level} table of TTBR0_EL1" in text


def test_the_kernels_tables_are_nobodys():
    content, _ = where(stopped_world(), physical=KERNEL_TABLES + 8 * 256)
    assert (content["table"]["register"], content["table"]["asid"]) == ("TTBR1_EL1", None)
    assert content["table"]["input"] == 0xFFFF_8000_0000_0000
    assert content["table"]["output"] == KERNEL_TABLES + 4096


def test_a_device_a_gap_and_unmapped_memory_are_told_apart():
    for physical, device, said in (
        (0x9000_0004, "pl011", "device pl011"),
        (0x8000_0000, None, "nothing: there is no memory"),
        (0x3000_0000, None, "memory that no known table maps"),
    ):
        content, text = where(stopped_world(), physical=physical)
        assert content["device"] == device
        assert text.startswith(f"Physical {physical:#x}: {said}")


def test_a_symbol_its_section_and_the_field_are_named(monkeypatch):
    stopped = stopped_world()
    manager = stopped.kernel.static("tinyos::memory::dynamic::DYNAMIC_MEMORY_MANAGER")
    named(
        monkeypatch, {manager.name: manager.address}, [(STATIC_VIRTUAL, STATIC_VIRTUAL + 0x20_0000, ".bss")]
    )
    content, text = where(stopped_world(), address=manager.address + 8)
    assert content["section"] == ".bss"
    assert content["region"]["symbol"] == f"{manager.name} + 8"
    assert content["field"] == "DYNAMIC_MEMORY_MANAGER.stats.total_dynamic_stacks"
    assert "kernel image: DYNAMIC_MEMORY_MANAGER.stats.total_dynamic_stacks" in text


def test_a_register_stands_for_its_value_on_a_core():
    world = World()
    world.registers = {"X5": LAZY_BASE + 0x3010, "SP": STACK_END - 16, "X30": STATIC_VIRTUAL}
    for name, register in (("x5", "X5"), ("SP", "SP"), ("lr", "X30")):
        content, text = where(stopped_world(world), address=name)
        assert (content["register"], content["core"]) == (register, 0)
        assert content["value"] == content["address"] == world.registers[register]
        assert text.startswith(f"{register} of core 0, {world.registers[register]:#018x}: ")
    with pytest.raises(SelectionError, match=r"^this target does not give X6 of core 0$"):
        read_where(stopped_world(world), "x6")
    with pytest.raises(SelectionError, match=r"^no core 7"):
        read_where(stopped_world(world), "x5", core=7)


def test_a_table_register_stands_for_its_table():
    content, text = where(stopped_world(), address="TTBR0_EL1")
    root = World().tables[1]
    assert (content["physical"], content["table"]["table"], content["table"]["index"]) == (root, root, 0)
    assert f"table at physical {root:#x}: entry 0 of a level 0 table" in text


@pytest.mark.parametrize(
    ("granule", "more"), [("4K", 1 << 59), ("16K", 1 << 59), ("64K", 0)], ids=["4K", "16K", "64K"]
)
@pytest.mark.parametrize("register", ["TTBR0_EL1", "TTBR1_EL1"])
def test_a_table_above_48_bits_is_at_the_address_that_its_register_has(register, granule, more):
    """With 52-bit addresses, bits 5:2 of the register are bits 51:48 of the address."""
    features = {"ID_AA64MMFR0_EL1": 1 << 28 | 2 << 20 | 6, "ID_AA64MMFR2_EL1": 1 << 28 | 1 << 16}
    registers = el1_registers(granule, t0sz=12, t1sz=12, CPSR=0x3C5, **features)
    registers["TCR_EL1"] = registers["TCR_EL1"] & ~(7 << 32) | 6 << 32 | more
    registers[register] = 5 << 48 | 0x2_0000_0024
    content, text = where(bare(registers), address=register)
    assert content["physical"] == 9 << 48 | 0x2_0000_0000
    assert "table at physical 0x9000200000000" in text


def test_a_table_of_stage_2_above_48_bits_is_at_the_address_that_its_register_has():
    features = {"ID_AA64MMFR0_EL1": 6, "ID_AA64MMFR2_EL1": 1 << 28 | 1 << 16}
    stage2 = {"VTCR_EL2": 16 | 1 << 6 | 1 << 14 | 6 << 16, "VTTBR_EL2": 7 << 48 | 0x2_0000_0024}
    registers = el1_registers(CPSR=0x3C5, SCTLR_EL2=0, **features, **stage2)
    for enabled, physical in ((1, 9 << 48 | 0x2_0000_0000), (0, 0x2_0000_0024)):
        content, _ = where(bare(registers | {"HCR_EL2": enabled}), address="VTTBR_EL2")
        assert content["physical"] == physical


def test_a_table_register_needs_no_other_register():
    content, _ = where(bare({"TTBR0_EL1": 3 << 48 | 0x4000_1001}), address="TTBR0_EL1")
    assert content["physical"] == 0x4000_1000


def test_a_stack_pointer_at_the_end_of_its_stack_is_explained():
    world = World()
    world.registers = {"SP": STACK_END}
    content, _ = where(stopped_world(world), address="sp")
    assert content["notes"] == ["SP is at the end of stack 1, which is empty"]


def test_one_address_is_asked_for():
    for words in ({}, {"address": 1, "physical": 2}):
        with pytest.raises(SelectionError, match=r"^give one address"):
            read_where(stopped_world(), **words)


def test_another_kernel_is_told_by_its_sections_tables_and_map(monkeypatch):
    memory = {
        0x1000: (0x2000 | TABLE).to_bytes(8, "little") + bytes(4088),
        0x2000: (BLOCK | 0x40).to_bytes(8, "little") + bytes(4088),
    }
    named(monkeypatch, {"start": 0x1_0000}, [(0x1_0000, 0x2_0000, ".text")])
    content, _ = where(bare(el1_registers(ttbr0=0x1000, CPSR=0x3C5), memory), address=0x1_0004)
    assert (content["physical"], content["section"]) == (0x1_0004, ".text")
    assert content["region"]["text"] == ".text of the program: start + 4"
    assert (content["frame"], content["stack"], content["lazy"]) == (None, None, None)
    assert [one["alias"] for one in content["aliases"]] == [0x1_0004]
    found = where(bare(el1_registers(ttbr0=0x1000, CPSR=0x3C5), memory), physical=0x2000)[0]["table"]
    assert (found["level"], found["output"]) == (1, 0)


def test_with_the_mmu_off_each_address_is_its_own(monkeypatch):
    named(monkeypatch, {"start": 0x8_0000})
    registers = el1_registers(CPSR=0x3C5) | {"SCTLR_EL1": 0}
    content, text = where(bare(registers), address=0x8_0000)
    assert (content["physical"], content["region"]["symbol"], content["aliases"]) == (
        0x8_0000,
        "start + 0",
        [],
    )
    assert "MMU off" in text


def test_a_physical_address_needs_no_registers():
    content, text = where(bare({}), physical=0x9000_0000)
    assert content["device"] == "pl011"
    assert "Note: where it is mapped is not known" in text


def test_tables_that_have_no_end_are_not_read_for_ever():
    registers = el1_registers(ttbr0=0x1000, CPSR=0x3C5)
    loop = (0x1000 | TABLE).to_bytes(8, "little") * 512
    content, _ = where(bare(registers, {0x1000: loop}), physical=0x1008)
    assert content["table"]["table"] == 0x1000
    assert any("not all tables were read" in note for note in content["notes"])


def test_a_walk_agrees_with_translate():
    stopped = stopped_world()
    for address in (LAZY_BASE + 0x2345, STACK_END - 1, STATIC_VIRTUAL + 0x1234, 0x1234, 1 << 60):
        place = read_where(stopped, address).place
        view = place.translation.view
        assert place.physical == translate(view.machine, view.regime, address).output
    assert read_where(stopped, STACK_END - 1).place.physical >= POOL_BASE


def test_with_the_mmu_off_a_physical_address_is_told_too(monkeypatch):
    named(monkeypatch, {"start": 0x8_0000}, [(0x8_0000, 0x9_0000, ".text")])
    content, _ = where(bare(el1_registers(CPSR=0x3C5) | {"SCTLR_EL1": 0}), physical=0x8_0008)
    assert (content["address"], content["section"]) == (0x8_0008, ".text")
    assert content["region"]["symbol"] == "start + 8"
