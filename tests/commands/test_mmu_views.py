"""The views of translate, maps, registers and fault: their text, and their JSON by its schema."""

import random
import re

import pytest

from gdbplugin.kernel.fault import read_fault
from gdbplugin.kernel.maps import read_maps
from gdbplugin.kernel.registers import read_registers
from gdbplugin.kernel.translate import read_translation
from gdbplugin.machine import SelectionError
from gdbplugin.render import Style
from tests.aarch64.machines import BLOCK, TABLE, el1_registers
from tests.commands.forms import json_of, text_of
from tests.kernel.stopped import bare, stopped_world
from tests.kernel.synthetic import LAZY_BASE, STACK_BASE, TASK_PAGE, World
from tests.schemas.validation import validate

STACK_END = STACK_BASE + 0x20_0000
READERS = {
    "translate": read_translation,
    "maps": read_maps,
    "registers": read_registers,
    "fault": read_fault,
}


def shown(word, stopped, **words):
    """What a command prints with --json, by its schema, through JSON and back; and as text."""
    found = READERS[word](stopped, **words)
    content = json_of(word, found)
    assert content["findings"] == [vars(finding) for finding in stopped.diagnostics.findings]
    assert content["notes"] == stopped.diagnostics.notes
    validate(content)
    return content, text_of(word, found)


def test_a_translation_shows_every_level_and_the_outcome():
    content, text = shown("translate", stopped_world(), address=LAZY_BASE + 0x2010)
    assert content["input"] == LAZY_BASE + 0x2010
    assert content["output"] == 0x800_0010
    assert [level["level"] for level in content["levels"]] == [0, 1, 2, 3]
    assert [level["kind"] for level in content["levels"]] == ["table", "table", "table", "page"]
    assert content["fault"] is None
    assert content["attributes"]["el0"] == "r--"
    assert content["attributes"]["asid"] == 11
    lines = text.splitlines()
    assert lines[0] == "0x0000200000002010 by core 0, EL1, EL1&0 regime, ASID 11"
    assert lines[-1] == "-> physical 0x8000010"
    assert "page of 4 KiB at 0x8000000" in text
    assert text.isascii()


def test_a_fault_says_where_and_why():
    content, text = shown("translate", stopped_world(), address=LAZY_BASE)
    assert (content["output"], content["fault"]["kind"], content["fault"]["level"]) == (
        None,
        "translation",
        3,
    )
    assert text.splitlines()[-2:] == [
        "-> translation fault at level 3: invalid descriptor 0x0 at level 3",
        "  This is the address space that the core has now: --asid N selects another.",
    ]
    content, text = shown("translate", stopped_world(), address=0xFFFF_8000_0020_0000, el=0)
    assert content["mapped_to"] == 0x20_0000
    assert text.splitlines()[-1].startswith("-> permission fault at level 2: EL0 may not read there (--x)")


def test_hierarchical_limits_are_named_in_their_table():
    limits = 1 << 61 | 1 << 60
    memory = {
        0x1000: (0x2000 | TABLE | limits).to_bytes(8, "little") + bytes(4088),
        0x2000: (BLOCK | 0x40).to_bytes(8, "little") + bytes(4088),
    }
    for hierarchical_disabled in (False, True):
        registers = el1_registers(ttbr0=0x1000, CPSR=0x3C5)
        registers["TCR_EL1"] |= hierarchical_disabled << 41
        content, text = shown("translate", bare(registers, memory), address=0x1000)
        assert content["attributes"]["el0"] == ("rwx" if hierarchical_disabled else "---")
        assert "table at 0x2000, UXNTable, APTable: no access from EL0" in text
        assert ("ignored: HPD" in text) == hierarchical_disabled


def test_a_map_has_a_row_for_what_is_one_thing():
    content, text = shown("maps", stopped_world())
    stack = [mapping for mapping in content["mappings"] if mapping["owner"] == "stack 1"]
    assert (stack[0]["start"], stack[-1]["end"]) == (STACK_END - 0x3000, STACK_END)
    assert all(mapping["end"] - mapping["start"] == mapping["size"] for mapping in content["mappings"])
    assert {"el0", "el1", "physical", "memory_type", "asid"} <= set(stack[0])
    rows = [line for line in text.splitlines() if "stack 1" in line]
    assert len(rows) == 1
    assert "3 pieces" in rows[0]
    assert "stack 1 (task 1)" in rows[0]
    assert content["leaves"] == sum(sum(entry["leaves"].values()) for entry in content["mappings"])
    assert text.isascii()


def test_a_map_of_very_many_rows_is_cut_in_text_alone():
    world = World()
    for page in range(0, 2000, 2):
        world.mappings[1][0x1000_0000_0000 + page * 4096] = (
            0x4000_0000 + page * 4096
        ) | 0x0060_0000_0000_0F43
    stopped = stopped_world(world)
    content, text = shown("maps", stopped)
    assert len(content["mappings"]) > 1000
    assert "the first 400 are shown" in text
    assert len(text.splitlines()) < 420


def test_aliases_are_listed_by_address():
    world = World()
    physical = world.mappings[1][TASK_PAGE] & 0xFFFF_FFFF_F000
    world.mappings[2][TASK_PAGE + 0x5000] = world.mappings[1][TASK_PAGE]
    content, text = shown("maps", stopped_world(world), find_physical=physical + 4)
    assert {mapping["alias"] for mapping in content["mappings"]} == {TASK_PAGE + 4, TASK_PAGE + 0x5004}
    assert "is mapped 2 times" in text
    assert f"{TASK_PAGE + 0x5004:#018x}" in text
    _, text = shown("maps", stopped_world(world), find_physical=0xDEAD_0000)
    assert "is mapped 0 times" in text


def test_malformed_entries_stand_below_the_map():
    world = World()
    world.mappings[1][0x1000_0000_0000] = 0x401
    content, text = shown("maps", stopped_world(world))
    assert content["malformed_count"] == 1
    assert "reserved descriptor" in text
    assert "Malformed: 1" in text


@pytest.mark.parametrize("word", ["maps", "registers", "fault"])
def test_with_the_mmu_off_everything_is_shown(word):
    content, text = shown(word, bare({**el1_registers(), "SCTLR_EL1": 0, "CPSR": 0x3C5}))
    assert content["schema"] == f"tinyos.{word}/1"
    if word == "maps":
        assert content["mappings"] == []
        assert "MMU off" in text


def test_registers_of_any_value_are_shown_by_the_schemas():
    random.seed(3)
    memory = {0: random.randbytes(4096)}
    needed = ("TCR", "SCTLR", "TTBR0", "TTBR1")
    others = ("MAIR", "HCR", "SCR", "ESR", "FAR", "ELR", "SPSR", "VBAR")
    for _ in range(40):
        stems = [*needed, *(stem for stem in others if random.random() < 0.8)]
        registers = {
            f"{stem}_EL{level}": random.getrandbits(64) & random.choice(((1 << 64) - 1, 0xFFFF, 0))
            for stem in stems
            for level in (1, 2, 3)
        }
        registers.update(CPSR=0x3C0 | random.randrange(4) << 2, PAR_EL1=random.getrandbits(64))
        stopped = bare(registers, memory)
        shown("translate", stopped, address=random.getrandbits(64))
        shown("maps", stopped, limit=20)
        shown("registers", stopped)
        shown("fault", stopped)


def test_a_translation_and_a_map_as_text_beyond_ascii():
    found = read_translation(stopped_world(), address=0xFFFF_8000_0020_0000)
    assert text_of("translate", found, Style()).splitlines()[-1] == "→ physical 0x200000"
    assert text_of("maps", read_maps(stopped_world(), limit=1), Style()).endswith("\n")


# A page that EL0 may read (AP 0b11), not executable by a privileged level with EL0 beside it (PXN).
EL0_READS = 0x403 | 3 << 6 | 1 << 53
REGIMES = {
    "EL1": (1, {}, ("EL0", "EL1")),
    "EL2": (2, {"HCR_EL2": 1 << 31}, ("EL2",)),
    "EL2 with VHE": (2, {"HCR_EL2": 1 << 31 | 1 << 34 | 1 << 27}, ("EL0", "EL2")),
    "EL3": (3, {}, ("EL3",)),
}


def regime_of(name):
    """A machine whose current level translates one page, and that level."""
    level, more, levels = REGIMES[name]
    registers = {
        name.replace("_EL1", f"_EL{level}") if name[:2] != "ID" else name: value
        for name, value in el1_registers(ttbr0=0x1000).items()
    }
    if levels == (f"EL{level}",):
        registers[f"TCR_EL{level}"] = 16 | 4 << 16 | 1 << 31 | 1 << 23
    registers.update(more, CPSR=0x3C0 | level << 2 | 1, SCR_EL3=0x5B1)
    limits = 1 << 60 | 1 << 59
    memory = {
        0x1000: (0x2000 | TABLE | limits).to_bytes(8, "little") + bytes(4088),
        0x2000: (0x3000 | TABLE).to_bytes(8, "little") + bytes(4088),
        0x3000: (0x4000 | TABLE).to_bytes(8, "little") + bytes(4088),
        0x4000: (0x5000 | EL0_READS).to_bytes(8, "little") + bytes(4088),
    }
    return bare(registers, memory), levels


@pytest.mark.parametrize("name", REGIMES)
def test_permissions_are_those_of_the_regimes_levels(name):
    stopped, levels = regime_of(name)
    translated, text = shown("translate", stopped, address=0)
    mapped, map_text = shown("maps", stopped)
    aliases, alias_text = shown("maps", stopped, find_physical=0x5000)
    for found in (translated["attributes"], *mapped["mappings"], *aliases["mappings"]):
        assert tuple(found["permissions"]) == tuple(found["permissions_with_pan"]) == levels
        assert found["el0"] == found["permissions"].get("EL0")
        assert found["el1"] == found["permissions"].get("EL1")
        assert set(found["permissions"].values()) == {"r--"}
    words = ", ".join(f"{level} r--" for level in levels)
    assert f"  {words}, " in text
    for line in (*map_text.splitlines(), *alias_text.splitlines()):
        if "what" in line.split():
            assert tuple(word for word in line.split() if re.fullmatch("EL[0-3]", word)) == levels
    assert ("UXNTable, PXNTable" in text or "PXNTable, UXNTable" in text) == ("EL0" in levels)
    assert (", XNTable" in text) == ("EL0" not in levels)
    with pytest.raises(SelectionError, match="regime has no EL"):
        read_maps(stopped, permissions="el3:r--" if "EL3" not in levels else "el0:---")
    assert len(read_maps(stopped, permissions="---").ranges) == 0
