"""The walker, by hand-made tables and against the naive walker over random ones."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.aarch64.maps import Leaf, Malformed, leaf_attributes, leaves
from gdbplugin.aarch64.regime import el1_regime
from gdbplugin.aarch64.virtual import UntranslatedAddressError, VirtualMemory
from gdbplugin.aarch64.walk import translate
from gdbplugin.machine import CachedMachine
from tests.aarch64 import naive
from tests.aarch64.machines import BLOCK, PAGE, TABLE, WordMachine, el1_registers

ROOT, SECOND, THIRD, LAST = 0x1000, 0x2000, 0x3000, 0x4000


def small_map(entries=None, **registers):
    """Four levels that lead 0x0 to the table LAST, with `entries` by index there."""
    words = {ROOT: SECOND | TABLE, SECOND: THIRD | TABLE, THIRD: LAST | TABLE}
    words.update({LAST + 8 * index: value for index, value in (entries or {}).items()})
    return WordMachine(words, el1_registers(ttbr0=ROOT, ttbr1=ROOT, **registers))


def look(machine, address):
    return translate(machine, el1_regime(machine, 0), address)


def test_four_levels_to_a_page():
    machine = small_map({5: 0x8765_4000 | PAGE})
    found = look(machine, 0x5678)
    assert found.output == 0x8765_4678
    assert [level.level for level in found.levels] == [0, 1, 2, 3]
    assert [level.address for level in found.levels] == [ROOT, SECOND, THIRD, LAST + 40]
    assert found.size == 4096
    assert len(machine.reads) == 4


def test_both_halves_of_the_address_space():
    machine = small_map({0: 0x9000 | PAGE})
    assert look(machine, 0xFFFF_0000_0000_0010).output == 0x9010
    assert look(machine, 0x10).output == 0x9010
    assert look(machine, 0x0001_0000_0000_0000).fault.kind == "translation"


def test_a_block_ends_the_walk_where_it_stands():
    machine = WordMachine({ROOT: SECOND | TABLE, SECOND + 8: 0x4000_0000 | BLOCK}, el1_registers(ttbr0=ROOT))
    found = look(machine, 0x4000_0000 + 0x123_4567)
    assert found.output == 0x4123_4567
    assert (found.size, len(found.levels)) == (1 << 30, 2)


@pytest.mark.parametrize(
    ("descriptor", "kind"),
    [(0, "translation"), (0x9001, "translation"), (0x9003, "access flag"), (1 << 46 | PAGE, "address size")],
)
def test_faults_at_the_last_level(descriptor, kind):
    found = look(small_map({0: descriptor}), 0)
    assert (found.output, found.fault.kind, found.fault.level) == (None, kind, 3)


def test_an_access_flag_fault_still_tells_the_attributes():
    assert str(look(small_map({0: 0x9003 | 1 << 6}), 0).attributes.el0) == "rwx"


def test_hardware_may_set_the_access_flag():
    machine = small_map({0: 0x9003})
    machine.registers["TCR_EL1"] |= 1 << 39
    assert look(machine, 0).output == 0x9000


def test_an_unreadable_table_is_a_fault_of_the_walk():
    machine = small_map({0: PAGE})
    machine.present = lambda address: address < LAST
    found = look(machine, 0)
    assert (found.fault.kind, found.fault.level) == ("external abort", 3)


def test_walks_that_are_disabled_read_nothing():
    machine = small_map({0: PAGE})
    machine.registers["TCR_EL1"] |= 1 << 7
    assert "EPD" in look(machine, 0).fault.reason
    assert machine.reads == []
    assert list(leaves(machine, el1_regime(machine, 0).lower)) == []


def test_with_the_mmu_off_an_address_is_its_own_translation():
    machine = small_map()
    machine.registers["SCTLR_EL1"] = 0
    assert look(machine, 0x8_0000).output == 0x8_0000
    assert look(machine, 0xFFFF_0000_0000_0000).fault.kind == "address size"


def test_hierarchical_attributes_take_away():
    machine = small_map({0: 0x9000 | PAGE | 1 << 6})
    assert str(look(machine, 0).attributes.el0) == "rwx"
    machine.words[SECOND] |= 1 << 62
    assert str(look(machine, 0).attributes.el0) == "r-x"
    machine.words[THIRD] |= 1 << 61 | 1 << 60
    found = look(machine, 0).attributes
    assert (str(found.el0), str(found.el1)) == ("---", "r-x")
    machine.registers["TCR_EL1"] |= 1 << 41
    assert str(look(machine, 0).attributes.el0) == "rwx"


def test_a_table_that_contains_itself_ends():
    machine = WordMachine({ROOT + 8 * index: ROOT | TABLE for index in range(512)}, el1_registers(ttbr0=ROOT))
    found = list(leaves(machine, el1_regime(machine, 0).lower, maximum_tables=50))
    assert isinstance(found[-1], Malformed)
    assert "50 tables" in found[-1].reason
    assert len(machine.reads) == 50


def test_leaves_are_in_order_and_each_table_is_read_once():
    words = {
        ROOT: SECOND | TABLE,
        SECOND: 0x4000_0000 | BLOCK,
        SECOND + 8: THIRD | TABLE,
        SECOND + 16: 0x8000_0000 | BLOCK,
        SECOND + 24: 1 << 46 | BLOCK,
        THIRD + 8: LAST | TABLE,
        LAST: 0x5000 | PAGE,
        LAST + 16: 0x9001,
    }
    machine = WordMachine(words, el1_registers(ttbr0=ROOT))
    found = list(leaves(machine, el1_regime(machine, 0).lower))
    assert [(type(entry), entry.start) for entry in found] == [
        (Leaf, 0),
        (Leaf, 0x4020_0000),
        (Malformed, 0x4020_2000),
        (Leaf, 0x8000_0000),
        (Malformed, 0xC000_0000),
    ]
    assert machine.reads == [(table, 4096) for table in (ROOT, SECOND, THIRD, LAST)]


def test_an_unreadable_table_in_a_map_is_reported_and_the_rest_goes_on():
    machine = small_map({0: 0x9000 | PAGE})
    machine.words[THIRD + 8] = 0x7_0000 | TABLE
    machine.words[THIRD + 16] = 0x20_0000 | BLOCK
    machine.present = lambda address: address < 0x7_0000
    found = list(leaves(machine, el1_regime(machine, 0).lower))
    assert [type(entry) for entry in found] == [Leaf, Malformed, Leaf]
    assert found[1].start == 0x20_0000


def test_virtual_reads_join_contiguous_pages_and_name_the_hole():
    machine = small_map({0: 0x10000 | PAGE, 1: 0x11000 | PAGE, 2: 0x15000 | PAGE})
    machine.words.update({0x10FF8: 1, 0x11000: 2, 0x15000: 3})
    memory = VirtualMemory(machine, el1_regime(machine, 0))
    assert memory.extents(0xFF8, 0x1010) == [(0x10FF8, 0x1008), (0x15000, 8)]
    data = memory.read(0xFF8, 0x1010)
    assert (data[0], data[8], data[0x1008]) == (1, 2, 3)
    with pytest.raises(UntranslatedAddressError, match="0x3000 is not mapped"):
        memory.read(0x2000, 0x2000)


GRANULE_BITS = {"4K": 12, "16K": 14, "64K": 16}
TABLES = 6


@st.composite
def random_maps(draw):
    """Tables that point at each other, at leaves and at nothing; and addresses that tend to hit them."""
    granule = draw(st.sampled_from(sorted(GRANULE_BITS)))
    size_offset = draw(st.integers(16, 39))
    upper = draw(st.booleans())
    entry_count = 1 << (GRANULE_BITS[granule] - 3)
    size = 1 << GRANULE_BITS[granule]
    used = draw(st.lists(st.integers(0, entry_count - 1), min_size=1, max_size=4, unique=True))
    words = {}
    noise = ~0x0000_FFFF_FFFF_F403
    for table in range(TABLES):
        for index in used:
            elsewhere = draw(st.integers(0, 9)) == 0
            target = draw(st.integers(0, (1 << 48) - 1) if elsewhere else st.integers(1, TABLES + 1))
            target = target if elsewhere else target * size
            kind = draw(st.sampled_from([3, 3, 3, 3, 3, 3, 1, 1, 0, 2]))
            accessed = draw(st.sampled_from([0, 1 << 10, 1 << 10, 1 << 10]))
            extra = draw(st.integers(0, (1 << 64) - 1)) & noise | accessed
            words[(table + 1) * size + 8 * index] = (target & 0x0000_FFFF_FFFF_F000) | extra | kind
    base = draw(st.integers(1, TABLES)) * size | draw(st.sampled_from([0, 0, 0, 0x48, 1 << 46]))
    probes = []
    for _ in range(draw(st.integers(1, 6))):
        address = draw(st.integers(0, size - 1))
        for level in range(4):
            chosen = draw(st.sampled_from(used))
            address |= chosen << (GRANULE_BITS[granule] + level * (GRANULE_BITS[granule] - 3))
        probes.append(address & ((1 << (64 - size_offset)) - 1))
    return granule, size_offset, upper, words, base, probes


@settings(max_examples=250, deadline=None)
@given(random_maps(), st.booleans())
def test_the_walker_agrees_with_the_naive_one(case, wxn):
    granule, size_offset, upper, words, base, probes = case
    registers = el1_registers(granule, size_offset, size_offset, base, base, SCTLR_EL1=1 | wxn << 19)
    limit = (TABLES + 4) << GRANULE_BITS[granule]
    machine = WordMachine(words, registers, present=lambda address: address < limit)
    regime = el1_regime(machine, 0)
    control = regime.upper if upper else regime.lower
    for probe in probes:
        address = probe + control.first_address

        def word(where):
            return words.get(where, 0) if where < limit else None

        expected = naive.walk(word, granule, 64 - size_offset, base, probe, 44)
        for found in (
            translate(machine, regime, address),
            translate(CachedMachine(machine), regime, address),
        ):
            if expected[0] == "ok":
                assert found.output == expected[1]
                allowed = naive.permissions(expected[2], expected[3], wxn)
                assert (str(found.attributes.el0), str(found.attributes.el1)) == allowed
            else:
                kind = "external abort" if expected[0] == "abort" else expected[0]
                assert found.output is None
                assert (found.fault.kind, found.fault.level) == (kind, expected[1])


@settings(max_examples=80, deadline=None)
@given(random_maps())
def test_a_map_holds_what_single_walks_find(case):
    granule, size_offset, upper, words, base, probes = case
    registers = el1_registers(granule, size_offset, size_offset, base, base)
    machine = CachedMachine(WordMachine(words, registers))
    regime = el1_regime(machine, 0)
    control = regime.upper if upper else regime.lower
    if control.root_address >> control.output_bits:
        return
    found = list(leaves(machine, control, maximum_tables=300))
    assert [entry.start for entry in found] == sorted(entry.start for entry in found)
    # The access flag is a matter of the single access: a map shows the page either way.
    always = replace(regime, lower=replace(regime.lower, hardware_access_flag=True))
    always = replace(always, upper=replace(regime.upper, hardware_access_flag=True))
    complete = not any(isinstance(entry, Malformed) and "stopped here" in entry.reason for entry in found)
    for entry in found[:200]:
        single = translate(machine, always, entry.start)
        if isinstance(entry, Leaf):
            assert (single.output, single.size) == (entry.physical, entry.size)
            assert leaf_attributes(regime, entry) == single.attributes
        elif "stopped here" not in entry.reason:
            assert single.fault is not None
    if complete:
        mapped = [entry for entry in found if isinstance(entry, Leaf)]
        for probe in probes:
            address = probe + control.first_address
            inside = any(leaf.start <= address < leaf.start + leaf.size for leaf in mapped)
            assert inside == (translate(machine, always, address).output is not None)
