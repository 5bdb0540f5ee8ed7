"""`tinyos lint` over a kernel made right, one broken in each way, and machines of chance."""

from __future__ import annotations

import random
import struct

import pytest

from gdbplugin.aarch64.aliases import FrameUses, MappedPiece, Use, conflicts_of
from gdbplugin.aarch64.registers import memory_type_without_hints
from gdbplugin.aarch64.walk import translate
from gdbplugin.kernel import lint_mappings
from gdbplugin.kernel.lint import read_lint
from gdbplugin.kernel.lint_findings import KEPT_OF_EACH
from gdbplugin.kernel.lint_rules import RULES
from gdbplugin.machine import BytesMachine, SelectionError
from tests.aarch64.images import Image, Page, Setting, random_image
from tests.aarch64.machines import SetupMachine
from tests.aarch64.processors import MAX
from tests.aarch64.setups import STRICT, Generator
from tests.aarch64.stage2_setups import GuestGenerator
from tests.aarch64.test_images import FORMATS, widths
from tests.commands.forms import json_of, text_of
from tests.kernel.lint_kernels import (
    BROKEN,
    DATA,
    FREE,
    NORMAL,
    STACK,
    TEXT,
    Kernel,
    ProgramTarget,
    stopped_kernel,
)
from tests.kernel.stopped import bare, stopped_machine, stopped_world
from tests.kernel.synthetic import READ_WRITE, STACK_BASE, World


def broken_rules(found):
    return {rule.name for rule in found.rules if rule.broken_count}


def test_a_kernel_made_right_has_no_findings():
    found = read_lint(stopped_kernel(Kernel()))
    assert [str(one) for one in found.findings] == []
    assert found.broken_count == 0
    assert {space.name for space in found.spaces} == {"TTBR0_EL1 of core 0", "TTBR1_EL1 of core 0"}
    assert found.leaves == 15
    assert found.tables == 16


@pytest.mark.parametrize("how", BROKEN)
def test_each_rule_is_found_where_it_is_broken_and_no_other(how):
    kernel = Kernel()
    breaking, rules = BROKEN[how]
    breaking(kernel)
    found = read_lint(stopped_kernel(kernel))
    assert broken_rules(found) == rules
    assert {one.rule for one in found.broken} == rules
    assert found.diagnostics.finding_count == found.broken_count == len(found.broken)
    said = text_of("lint", found)
    for one in found.broken:
        assert one.section in said.replace("\n      ", " ")
        for mapping in filter(None, (one.mapping, one.other)):
            data = kernel.image.machine().read_physical(mapping.descriptor_address, 8)
            assert int.from_bytes(data, "little") == mapping.descriptor
            assert kernel.image.expected(mapping.start).output == mapping.physical
    assert len(json_of("lint", found)["broken"]) == len(found.broken)


def test_every_rule_is_broken_by_some_kernel():
    assert {rule.name for rule in RULES} == set().union(*(rules for _, rules in BROKEN.values()))


def test_a_finding_names_addresses_descriptor_and_rule():
    kernel = Kernel()
    kernel.change(kernel.text[1], Page(index=NORMAL))
    (finding,) = read_lint(stopped_kernel(kernel)).findings
    assert (
        finding.object
        == f"{TEXT + 0x1000:#x}-{TEXT + 0x2000:#x}, .text of the program, by TTBR1_EL1 of core 0"
    )
    assert finding.expected == "kernel text that is read-only (writable-text; DDI 0487, D8.4.1 RRNGJG)"
    assert finding.found.startswith(
        ".text, EL0 ---, EL1 rw-, Normal write-back, by the level 3 descriptor 0x006"
    )


def test_both_sides_of_an_alias_are_named():
    kernel = Kernel()
    kernel.page(FREE, 0x101_1000, Page(index=2))
    (one,) = read_lint(stopped_kernel(kernel)).broken
    sides = {(one.mapping.start, one.mapping.memory_type), (one.other.start, one.other.memory_type)}
    assert sides >= {(FREE, "Normal non-cacheable")}
    assert {mapping.end - mapping.start for mapping in (one.mapping, one.other)} == {0x1000}
    assert one.object == f"frames {kernel.base + 0x101_1000:#x}-{kernel.base + 0x101_2000:#x}"


def test_ignored_rules_are_not_found_and_unknown_ones_are_an_error():
    kernel = Kernel()
    kernel.clear("SCTLR_EL1", 19)
    found = read_lint(stopped_kernel(kernel), ("wxn",))
    assert found.broken_count == 0
    assert [rule.name for rule in found.rules if rule.ignored] == ["wxn"]
    with pytest.raises(SelectionError, match=r'"no" is not a rule \(known: writable-executable, '):
        read_lint(stopped_kernel(kernel), ("no",))


def test_cores_with_different_values_are_one_finding():
    kernel = Kernel()
    kernel.clear("SCTLR_EL1", 19)
    target = stopped_kernel(kernel)
    registers = target.machine._registers[0]
    target.machine._registers[1] = {**registers, "SCTLR_EL1": registers["SCTLR_EL1"] ^ 1 << 2}
    found = read_lint(target)
    (one,) = found.broken
    assert one.object == "SCTLR_EL1.WXN of cores 0, 1"
    assert [value.cores for value in one.setting.values] == [(0,), (1,)]
    assert {space.cores for space in found.spaces} == {(0, 1)}


def test_a_program_that_does_not_run_has_no_sections_here():
    kernel = Kernel()
    kernel.page(STACK - 0x1000, 0x1C0_0000)
    other = [(start + 0x100_0000, end + 0x100_0000, name) for start, end, name in ((TEXT, DATA, ".text"),)]
    found = read_lint(stopped_kernel(kernel, other))
    assert found.broken_count == 0
    assert any("sections were not used" in note for note in found.notes)
    assert any("guard pages below stacks were not looked for" in note for note in found.notes)


def test_a_kernel_in_the_lower_half_is_protected_from_el0():
    kernel = Kernel()
    kernel.lower.add(0x8000_0000, kernel.base + 0x1B0_0000, Page(ap=3, index=NORMAL))
    kernel.registers["VBAR_EL1"] = 0x8000_0000
    found = read_lint(stopped_kernel(kernel, ()))
    assert broken_rules(found) == {"el0-kernel"}
    assert "exception vectors of EL1" in found.broken[0].found


def test_text_that_two_levels_execute_is_judged_in_the_tables_of_both():
    kernel = Kernel()
    host = Image(
        Setting("EL2&0", 5, wxn=True, mair=(0xFF,) * 8), (12, 48), (12, 48), window=(0x6000_0000, 0x7000_0000)
    )
    host.ranges[1].add(TEXT, kernel.text_frames, Page())
    registers = {**host.registers(), **kernel.registers, "HCR_EL2": 1 << 31 | 1 << 34, "VBAR_EL2": TEXT}
    memory = {**kernel.image.memory(), **host.memory()}
    found = read_lint(ProgramTarget(BytesMachine(memory, {0: registers})))
    named = [one.mapping for one in found.broken if one.rule == "writable-text"]
    assert [(one.space, one.start, one.end) for one in named] == [
        ("TTBR1_EL2 of core 0", TEXT, TEXT + 0x1000)
    ]


def test_with_the_mmu_off_there_is_nothing_to_look_at():
    found = read_lint(bare({"CPSR": 5, "SCTLR_EL1": 0, "TCR_EL1": 0, "TTBR0_EL1": 0, "TTBR1_EL1": 0}))
    assert found.broken_count == found.tables == 0
    assert any("has its MMU off" in note for note in found.notes)


def test_what_hcr_el2_has_from_before_does_not_count_in_secure_state():
    """Without SCR_EL3.EEL2 there is no EL2 in Secure state: EL1 is in use in spite of E2H and TGE."""
    kernel = Kernel()
    kernel.clear("SCR_EL3", 0)
    kernel.registers["HCR_EL2"] |= 1 << 34 | 1 << 27
    kernel.clear("SCTLR_EL1", 19)
    found = read_lint(stopped_kernel(kernel))
    assert broken_rules(found) == {"wxn"}
    assert {space.regime_name for space in found.spaces} == {"EL1&0"}
    assert found.leaves == 15


def test_registers_that_cannot_be_read_are_a_note():
    found = read_lint(bare({}))
    assert found.broken_count == 0
    assert any("was not looked at" in note for note in found.notes)


def test_indirect_permissions_are_not_judged():
    kernel = Kernel()
    kernel.clear("SCTLR_EL1", 19)
    kernel.page(FREE, 0x1C0_0000, Page(pxn=0, index=NORMAL))
    kernel.registers["TCR2_EL1"] = 1 << 1
    found = read_lint(stopped_kernel(kernel))
    assert "writable-executable" not in broken_rules(found)
    assert any("PIR registers" in note for note in found.notes)


def test_tinyos_spaces_and_its_guard_pages():
    target = stopped_world()
    found = read_lint(target)
    assert {space.task for space in found.spaces} >= {1, 2}
    assert "missing-guard" not in broken_rules(found)


def test_a_mapped_guard_page_of_tinyos_is_found_in_its_tasks_space():
    world = World()
    guard = STACK_BASE + 0x20_0000 - 0x1_1000
    world.mappings[1][guard] = world.frame("Stack", 1, 99) | READ_WRITE
    world.mappings[2][guard] = world.frame("Stack", 2, 99) | READ_WRITE
    (one,) = [one for one in read_lint(stopped_world(world)).broken if one.rule == "missing-guard"]
    assert (one.mapping.start, one.mapping.end) == (guard, guard + 0x1000)
    assert one.mapping.space == "TTBR0_EL1 of task 1"
    assert "the page below stack 1 is mapped" in one.found


def test_secure_and_non_secure_frames_are_not_the_same():
    """EL3's mapping of an address is of Secure memory, unless its descriptor has NS set."""
    kernel = Kernel()
    kernel.page(FREE, 0x1C0_0000)
    for non_secure, rules in ((False, set()), (True, {"mismatched-alias"})):
        el3 = Image(
            Setting("EL3", 5, wxn=True, mair=(0x04,) * 8), (12, 48), window=(0x6000_0000, 0x7000_0000)
        )
        leaf = el3.ranges[0].add(0x1000, kernel.base + 0x1C0_0000, Page(ap=1))
        memory = {**kernel.image.memory(), **el3.memory()}
        table = el3.ranges[0].tables[3, 0]
        word = table.descriptors[1] | non_secure << 5
        memory[table.address] = word.to_bytes(8, "little").rjust(16, b"\0").ljust(0x1000, b"\0")
        registers = {**el3.registers(), **kernel.registers}
        found = read_lint(ProgramTarget(BytesMachine(memory, {0: registers})))
        assert broken_rules(found) == rules, leaf


def naive_aliases(uses):
    """By each page: whether some pair of mappings does not go together, and how."""
    pages = {}
    for use, pieces in uses.items():
        for piece in pieces:
            for frame in range(piece.physical, piece.end, 0x1000):
                pages.setdefault((use.domain, frame), set()).add(use)
    found = set()
    for (domain, frame), here in pages.items():
        for one in here:
            for other in here - {one}:
                found |= {(domain, frame, mismatched) for mismatched, _, _ in conflicts_of(one, other)}
    return found


@pytest.mark.parametrize("seed", range(30))
def test_aliases_are_those_of_every_page_by_itself(seed):
    chosen = random.Random(seed)
    levels = [frozenset(), frozenset({1}), frozenset({0}), frozenset({0, 1})]
    uses, frames, owners = {}, FrameUses(), {}
    for _ in range(60):
        use = Use(
            chosen.choice((None, None, 7)), chosen.choice(("a", "b", None)), *chosen.choices(levels, k=2)
        )
        pieces = []
        for _ in range(chosen.randint(1, 4)):
            physical, pages = chosen.randrange(200) << 12, chosen.choice((1, 1, 3, 40))
            owner = len(owners)
            piece = MappedPiece(physical, physical + (pages << 12), chosen.randrange(1 << 36) << 12, owner)
            owners[owner] = (use, piece)
            pieces.append(piece)
        uses.setdefault(use, []).extend(pieces)
        frames.add(use, pieces)
    found = set()
    for alias in frames.aliases():
        assert alias.physical < alias.end
        sides = []
        for owner, start in ((alias.owner, alias.start), (alias.other_owner, alias.other_start)):
            use, piece = owners[owner]
            assert piece.physical <= alias.physical < alias.end <= piece.end
            assert start - piece.start == alias.physical - piece.physical
            sides.append(use)
        assert (alias.mismatched, *sides) in [
            *conflicts_of(sides[0], sides[1]),
            *conflicts_of(sides[1], sides[0]),
        ]
        found |= {
            (sides[0].domain, frame, alias.mismatched) for frame in range(alias.physical, alias.end, 0x1000)
        }
    assert found == naive_aliases(uses)


def test_random_images_are_judged_as_their_plans_say():
    """What a plan makes writable and executable is found, leaf by leaf, and nothing else."""
    some = 0
    for number, (granule, ds, processor_bits) in enumerate(FORMATS.values()):
        for regime in ("EL1&0", "EL2", "EL2&0", "EL3"):
            setting = Setting(regime, 6, ds=ds, processor_bits=processor_bits, big_endian=bool(number & 1))
            width = max(widths(granule, ds, processor_bits)) - 3
            image = random_image(setting, ((granule, width),) * (1 + setting.two), number)
            found = read_lint(stopped_machine(image.machine()))
            expected = set()
            for one in image.ranges:
                for leaf in one.leaves:
                    rights = one.rights(leaf)[0 if setting.two else 1 : 2]
                    if any("w" in word for word in rights) and any("x" in word for word in rights):
                        expected |= {leaf.start}
            named = [one.mapping for one in found.broken if one.rule == "writable-executable"]
            assert all(any(m.start <= start < m.end for m in named) for start in expected)
            shown = {
                leaf.start
                for mapping in named
                for one in image.ranges
                for leaf in one.leaves
                if mapping.start <= leaf.start < mapping.end
            }
            assert shown == expected
            some += len(expected)
    assert some > 50


SCATTERED = 300 << 39
"""Input address of the scattered pages, from the start of the upper range."""


def kernel_with_scattered_pages(tables):
    """A kernel with full tables of pages in no order, one frame of which is mapped in another way as well."""
    kernel, order, where = Kernel(), 0x10_0000_0000, 0x70_0000_0000
    frames = list(range(tables * 512))
    random.Random(3).shuffle(frames)
    kernel.upper.add(FREE, order + (frames[777] << 12), Page(index=2))
    memory = kernel.image.memory()
    directories = -(-tables // 512)
    root = memory[kernel.upper.root.address]
    root = root[: 8 * 300] + (where | 3).to_bytes(8, "little") + root[8 * 301 :]
    memory[kernel.upper.root.address] = root
    words = {where: [where + 0x1000 * number | 3 for number in range(1, directories + 1)]}
    for number in range(tables):
        at = where + 0x1000 * (1 + directories + number)
        words.setdefault(where + 0x1000 * (1 + number // 512), []).append(at | 3)
        part = frames[number * 512 : number * 512 + 512]
        words[at] = [order + (frame << 12) | 0x0060_0000_0000_0707 for frame in part]
    for at, table in words.items():
        memory[at] = struct.pack(f"<{len(table)}Q", *table).ljust(0x1000, b"\0")
    return BytesMachine(memory, {0: kernel.registers})


def test_half_a_million_scattered_pages_are_looked_at(monkeypatch):
    target = ProgramTarget(kernel_with_scattered_pages(1000))
    found = read_lint(target)
    assert found.leaves == 16 + 512_000
    assert broken_rules(found) == {"mismatched-alias"}
    (one,) = found.broken
    assert {one.mapping.start, one.other.start} == {FREE, 0xFFFF_0000_0000_0000 + SCATTERED + (777 << 12)}
    assert not any("reading stopped" in note for note in found.notes)
    monkeypatch.setattr(lint_mappings, "MAPS_AT_ONCE", 2)
    found = read_lint(ProgramTarget(target.machine))
    assert any("reading stopped at" in note for note in found.notes)
    assert found.leaves < 320_000


def test_many_findings_are_counted_and_the_first_kept():
    kernel = Kernel()
    kernel.clear("TCR_EL1", 56)
    for number in range(KEPT_OF_EACH + 5):
        kernel.page(FREE + 0x2000 * number, 0x1C0_0000, Page(ap=3, index=NORMAL))
    found = read_lint(stopped_kernel(kernel))
    assert found.broken_count == found.diagnostics.finding_count == KEPT_OF_EACH + 6
    assert len(found.broken) == KEPT_OF_EACH + 1
    assert [one.rule for one in found.broken[:2]] == ["el0-kernel", "e0pd"]


def test_memory_types_without_hints():
    same = {memory_type_without_hints(value) for value in (0xFF, 0xEE, 0xDD, 0x77, 0xF0)}
    assert same == {"Normal write-back"}
    assert {memory_type_without_hints(value) for value in (0xBB, 0x88, 0x22)} == {"Normal write-through"}
    assert memory_type_without_hints(0x44) == "Normal non-cacheable"
    assert memory_type_without_hints(0x04) == "Device-nGnRE"
    assert memory_type_without_hints(0x50) == memory_type_without_hints(0x02) == "unpredictable (reserved)"


@pytest.mark.parametrize("makes", [Generator, GuestGenerator], ids=["one stage", "two stages"])
def test_machines_of_chance_get_an_answer(makes):
    """Tables and registers of chance, also under a hypervisor: what is found has its descriptor there."""
    some = 0
    generator = makes(23, MAX, 0x4000_0000, 0x4100_0000, 0x10_0000, STRICT)
    for _ in range(40):
        made = generator.setup()
        setup = made[0] if isinstance(made, tuple) else made
        machine = SetupMachine(setup, MAX, 0x4000_0000, 0x4100_0000)
        found = read_lint(stopped_machine(machine))
        regime = {space.name: space.regime for space in found.spaces}
        for one in found.broken:
            for mapping in filter(None, (one.mapping, one.other)):
                walk = translate(machine, regime[mapping.space], mapping.start)
                assert walk.levels[-1].descriptor == mapping.descriptor
                assert walk.stage2 is not None or walk.output in (mapping.physical, None)
                some += 1
        assert text_of("lint", found)
    assert some > 100
