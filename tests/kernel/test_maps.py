"""`maps` and `translate` over synthetic machines: selection of a space, filters, aliases, odd settings."""

import random

import pytest

from gdbplugin.aarch64.regime import RegimeUnknownError
from gdbplugin.aarch64.walk import translate
from gdbplugin.kernel.maps import _name_contains, read_maps
from gdbplugin.kernel.selection import asids
from gdbplugin.kernel.translate import read_translation
from gdbplugin.machine import BytesMachine, SelectionError
from tests.aarch64.machines import BLOCK, TABLE, el1_registers
from tests.commands.forms import text_of
from tests.kernel.stopped import Names, bare, stopped_machine, stopped_world
from tests.kernel.synthetic import LAZY_BASE, STACK_BASE, TASK_PAGE, ZERO_FRAME, World

BASE = STACK_BASE + 0x20_0000


def rows(found):
    return [(mapping.start, mapping.end, mapping.owner) for mapping in found.mappings]


def test_the_current_space_is_the_tasks_and_ranges_have_owners():
    found = read_maps(stopped_world())
    owners = [owner for _, _, owner in rows(found)]
    assert owners.count("task page") == 1
    assert owners.count("stack 1") >= 1
    assert "lazy range 0" in owners
    assert all(start < end for start, end, _ in rows(found))
    assert rows(found) == sorted(rows(found))
    stack = [mapping for mapping in found.mappings if mapping.owner == "stack 1"]
    assert (stack[0].start, stack[-1].end) == (BASE - 0x3000, BASE)
    assert {str(mapping.attributes.el0) for mapping in stack} == {"rw-"}
    assert {mapping.asid for mapping in stack} == {11}
    assert found.view.current


@pytest.mark.parametrize("by", ["asid", "ttbr"])
def test_another_space_is_chosen_by_asid_or_by_its_register(by):
    world = World()
    selection = {"asid": 12} if by == "asid" else {"ttbr": world.tables[2] | 12 << 48}
    found = read_maps(stopped_world(world), **selection)
    assert "stack 2" in [owner for _, _, owner in rows(found)]
    assert "stack 1" not in [owner for _, _, owner in rows(found)]
    assert found.view.asid == 12
    assert not found.view.current


def test_an_unknown_asid_is_an_error_with_the_known_ones():
    with pytest.raises(SelectionError, match=r"no address space with ASID 99 \(known: 11, 12\)"):
        read_maps(stopped_world(), asid=99)
    assert asids(stopped_world()) == [11, 12]


def test_an_asid_of_an_older_generation_is_no_spaces():
    world = World()
    world.manager["context_switcher"]["spaces"][2]["generation"] = 2
    with pytest.raises(SelectionError, match=r"\(known: 11\)"):
        read_maps(stopped_world(world), asid=12)


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({"core": 4}, r"no core 4 \(known: 0\)"),
        ({"el": 9}, r"no exception level 9 \(known: 0 to 3\)"),
        ({"asid": 1, "ttbr": 1}, "give only one of them"),
    ],
)
def test_an_unknown_selection_is_an_error_of_one_sentence(selection, words):
    with pytest.raises(SelectionError, match=words):
        read_maps(stopped_world(), **selection)


def test_without_a_known_level_one_is_asked_for():
    stopped = bare({name: value for name, value in el1_registers().items() if name != "CPSR"})
    with pytest.raises(RegimeUnknownError, match="--el"):
        read_maps(stopped)
    assert read_maps(stopped, el=1).view.level == 1


def test_every_page_of_a_map_translates_to_where_the_map_says():
    stopped = stopped_world()
    found = read_maps(stopped)
    for mapping in found.mappings:
        for address in (mapping.start, mapping.end - 1):
            output = translate(found.view.machine, found.view.regime, address).output
            assert output == mapping.physical + address - mapping.start
            assert read_translation(stopped, address).output == output


def test_a_range_cuts_what_reaches_over_its_ends():
    whole = read_maps(stopped_world())
    start, end = BASE - 0x1800, BASE - 0x800
    found = read_maps(stopped_world(), range=(start, end))
    assert found.mappings[0].start == start
    assert found.mappings[-1].end == end
    # Of the tables only those with a part in it are read: one of each level.
    assert (found.tables, found.leaves) == (4, 2)
    assert whole.tables > 8
    for mapping in found.mappings:
        inside = next(other for other in whole.mappings if other.start <= mapping.start < other.end)
        assert mapping.physical == inside.physical + mapping.start - inside.start


@pytest.mark.parametrize(
    ("pattern", "some"),
    [("r--", True), ("rw-", True), ("rwx", False), ("el0:r--", True), ("el1:??x", False), ("???", True)],
)
def test_permissions_are_matched_at_either_level_or_at_one(pattern, some):
    level, _, letters = pattern.rpartition(":")
    found = read_maps(stopped_world(), permissions=pattern, range=(0, 1 << 48)).mappings
    whole = read_maps(stopped_world(), range=(0, 1 << 48)).mappings

    def fits(permissions):
        return all(wanted in ("?", there) for wanted, there in zip(letters, str(permissions), strict=True))

    either = [(entry, entry.attributes.el0, entry.attributes.el1) for entry in whole]
    expected = [
        entry
        for entry, el0, el1 in either
        if (fits(el0) and level != "el1") or (fits(el1) and level != "el0")
    ]
    assert list(found) == expected
    assert bool(found) == some


@pytest.mark.parametrize("pattern", ["", "r", "rwxx", "xwr", "el4:r--", "el0:", ":rwx"])
def test_an_invalid_pattern_of_permissions_is_an_error(pattern):
    with pytest.raises(SelectionError, match="is not a pattern of permissions"):
        read_maps(stopped_world(), permissions=pattern)


def test_a_level_that_the_regime_lacks_is_an_error():
    with pytest.raises(SelectionError, match=r"the EL1&0 regime has no EL2 \(known: EL0, EL1\)"):
        read_maps(stopped_world(), permissions="el2:r--")


def test_an_owner_is_found_by_part_of_its_name_and_limits_hold():
    found = read_maps(stopped_world(), owner="LAZY")
    assert {mapping.owner for mapping in found.mappings} == {"lazy range 0"}
    assert found.filtered
    whole = read_maps(stopped_world())
    limited = read_maps(stopped_world(), limit=2)
    assert (len(limited.mappings), len(limited.ranges)) == (2, 2)
    # What is shown of it is whole.
    assert limited.ranges == whole.ranges[:2]
    assert limited.is_limited
    assert limited.range_count == whole.range_count == len(whole.ranges)
    assert not read_maps(stopped_world(), limit=1000).is_limited


def test_a_number_in_an_owners_name_must_be_the_whole_number():
    assert _name_contains("stack 1", "stack 1")
    assert _name_contains("guard of stack 1", "stack 1")
    assert _name_contains("stack 1 and stack 10", "stack 1")
    assert not _name_contains("stack 10", "stack 1")
    assert _name_contains("stack 10", "stack")
    assert not _name_contains("stack 10", "stack 2")


def test_a_limit_does_not_change_how_often_a_frame_is_mapped():
    world = World()
    shared = world.mappings[1][TASK_PAGE]
    for place in range(5):
        world.mappings[2][TASK_PAGE + 0x5000 + 0x2000 * place] = shared
    physical = shared & 0xFFFF_FFFF_F000
    whole = read_maps(stopped_world(world), find_physical=physical)
    limited = read_maps(stopped_world(world), find_physical=physical, limit=2)
    assert whole.range_count >= 6
    said = text_of("maps", limited)
    assert f"is mapped {whole.range_count} times in the" in said
    assert "the first 2 of them, as --limit says" in said
    part = read_maps(stopped_world(world), find_physical=physical, owner="nobody")
    assert "mapped 0 times (other filters applied) in the" in text_of("maps", part)


def test_with_the_mmu_off_a_frame_is_where_it_is():
    world = World()
    world.registers["SCTLR_EL1"] = 0
    found = read_maps(stopped_world(world), find_physical=0x8_0000)
    said = text_of("maps", found)
    assert "is its own physical address" in said
    assert "times" not in said


def test_every_alias_of_a_frame_is_found_in_every_space():
    world = World()
    shared = world.mappings[1][TASK_PAGE]
    world.mappings[2][TASK_PAGE + 0x5000] = shared
    physical = (shared & 0xFFFF_FFFF_F000) + 0x123
    found = read_maps(stopped_world(world), find_physical=physical)
    seen = [
        (mapping.start + physical - mapping.physical, mapping.asid, mapping.task)
        for mapping in found.mappings
    ]
    assert (TASK_PAGE + 0x123, 11, 1) in seen
    assert (TASK_PAGE + 0x5123, 12, 2) in seen
    assert len(seen) == 2
    (alias,) = read_maps(stopped_world(world), find_physical=physical, asid=12).mappings
    assert alias.asid == 12
    assert len(read_maps(stopped_world(world), find_physical=ZERO_FRAME).mappings) == 1
    assert read_maps(stopped_world(world), find_physical=0xDEAD_0000_0000).mappings == ()


def test_memory_in_one_piece_is_split_where_a_lazy_range_begins():
    world = World()
    world.manager["lazy_allocator"]["ranges"] = [
        {"first": 0, "pages": 4, "owner": 1},
        {"first": 4, "pages": 1, "owner": 1},
    ]
    found = read_maps(stopped_world(world), range=(LAZY_BASE + 0x3000, LAZY_BASE + 0x5000))
    assert rows(found) == [
        (LAZY_BASE + 0x3000, LAZY_BASE + 0x4000, "lazy range 0"),
        (LAZY_BASE + 0x4000, LAZY_BASE + 0x5000, "lazy range 1"),
    ]
    first, second = found.mappings
    assert second.physical == first.physical + 0x1000


def test_a_kernel_that_is_not_tinyos_is_told_by_its_sections():
    tables = {
        0x1000: (0x2000 | TABLE).to_bytes(8, "little") + bytes(4088),
        0x2000: (0x4000_0000 | BLOCK).to_bytes(8, "little")
        + (0x4000_0000 | BLOCK).to_bytes(8, "little")
        + bytes(4080),
    }
    machine = BytesMachine(tables, {0: el1_registers(ttbr0=0x1000, CPSR=0x3C5, MAIR_EL1=0xFF)})
    names = Names(sections=[(0x1000, 0x3000, ".text")])
    found = read_maps(stopped_machine(machine), names)
    assert rows(found) == [
        (0, 0x1000, ""),
        (0x1000, 0x3000, ".text of the program"),
        (0x3000, 0x4000_0000, ""),
        (0x4000_0000, 0x8000_0000, "identity map"),
    ]
    assert found.mappings[0].memory_type == "Normal write-back"
    assert [mapping.physical for mapping in found.mappings] == [
        0x4000_0000,
        0x4000_1000,
        0x4000_3000,
        0x4000_0000,
    ]
    # Without the bit nG these are of no ASID.
    assert {mapping.asid for mapping in found.mappings} == {None}


@pytest.mark.parametrize("level", range(4))
def test_with_the_mmu_off_there_is_no_map_and_output_is_input(level):
    registers = {
        f"{stem}_EL{number}": 0 for stem in ("TCR", "SCTLR", "TTBR0", "TTBR1", "MAIR") for number in (1, 2, 3)
    }
    stopped = bare({**registers, "CPSR": 0x3C0 | level << 2, "ID_AA64MMFR0_EL1": 0x1124})
    found = read_maps(stopped)
    assert (found.mappings, found.tables) == ((), 0)
    translated = read_translation(stopped, 0x1234_5678)
    assert (translated.output, translated.fault, translated.walk.levels) == (0x1234_5678, None, ())


def test_garbage_in_every_register_and_table_is_answered():
    random.seed(11)
    words = [random.getrandbits(64) for _ in range(512)]
    memory = {0: b"".join(word.to_bytes(8, "little") for word in words)}
    stems = ("TCR", "SCTLR", "TTBR0", "TTBR1", "MAIR", "HCR", "SCR")
    for _ in range(150):
        registers = {
            f"{stem}_EL{level}": random.getrandbits(64) & random.choice(((1 << 64) - 1, 0xFFFF, 0))
            for stem in stems
            for level in (1, 2, 3)
        }
        registers.update(CPSR=0x3C0 | random.randrange(4) << 2)
        registers.update({f"ID_AA64MMFR{n}_EL1": random.getrandbits(64) for n in range(3)})
        stopped = bare(registers, memory)
        read_maps(stopped, limit=50)
        found = read_translation(stopped, random.getrandbits(64))
        assert (found.output is None) == (found.fault is not None)


def test_memory_of_el1_is_a_permission_fault_at_el0():
    stopped = stopped_world()
    address = 0xFFFF_8000_0020_0000
    assert read_translation(stopped, address, el=1).output == 0x20_0000
    denied = read_translation(stopped, address, el=0)
    assert (denied.output, denied.fault.kind, denied.walk.output) == (None, "permission", 0x20_0000)


def test_a_lazy_page_on_the_zero_page_is_read_only_and_has_asid():
    found = read_translation(stopped_world(), LAZY_BASE + 0x2010)
    assert found.output == ZERO_FRAME + 0x10
    assert str(found.walk.attributes.el0) == "r--"
    assert found.asid == 11
    assert len(found.walk.levels) == 4
