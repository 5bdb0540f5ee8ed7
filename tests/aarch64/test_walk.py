"""The walker, by hand-made tables and against the naive walker over random ones."""

import pytest

from gdbplugin.aarch64.access import Access, access_fault
from gdbplugin.aarch64.maps import Bounds, MappedRange, leaf_runs, leaves, mapped_ranges
from gdbplugin.aarch64.regime import el1_regime
from gdbplugin.aarch64.tables import Leaf, LeafRun, Malformed, pieces_of
from gdbplugin.aarch64.walk import UntranslatedAddressError, VirtualMemory, translate
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
    bounds = Bounds(tables=50)
    found = list(leaves(machine, el1_regime(machine, 0).lower, bounds))
    # It is no fault of the tables that they lead back to themselves.
    assert {type(entry) for entry in found} == {Leaf}
    assert (bounds.stopped_at, bounds.limit) == (found[-1].start + 4096, "50 tables")
    assert len(machine.reads) == 50


def test_bounds_hold_for_all_walks_they_are_given_to():
    machine = small_map({2 * index: 0x9000 | PAGE for index in range(20)})
    control = el1_regime(machine, 0).lower
    bounds = Bounds(tables=6, entries=1000)
    assert len(list(leaf_runs(machine, control, bounds))) == 20
    assert bounds.stopped_at is None
    assert list(leaf_runs(machine, control, bounds)) == []
    assert bounds.stopped_at == 0
    bounds = Bounds(entries=40)
    assert len(list(leaf_runs(machine, control, bounds))) == 20
    assert list(leaf_runs(machine, control, bounds)) == []
    assert (bounds.stopped_at, bounds.limit) == (0, "40 entries")
    assert len(machine.reads) == 4 + 2 + 4


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


def test_an_unreadable_table_in_a_map_is_reported_and_skipped():
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
    assert memory.physical_ranges(0xFF8, 0x1010) == [(0x10FF8, 0x1008), (0x15000, 8)]
    data = memory.read(0xFF8, 0x1010)
    assert (data[0], data[8], data[0x1008]) == (1, 2, 3)
    with pytest.raises(UntranslatedAddressError, match="0x3000 is not mapped"):
        memory.read(0x2000, 0x2000)


def test_adjacent_pages_are_one_run_and_one_range():
    pages = {index: 0x10_0000 + 0x1000 * index | PAGE for index in range(6)}
    pages[6] = 0x10_6000 | PAGE | 1 << 54
    machine = small_map(pages)
    machine.words[THIRD + 8] = 0x20_0000 | BLOCK
    regime = el1_regime(machine, 0)
    assert [(found.start, len(found.outputs)) for found in leaf_runs(machine, regime.lower)] == [
        (0, 6),
        (0x6000, 1),
        (0x20_0000, 1),
    ]
    ranges = list(mapped_ranges(regime, leaf_runs(machine, regime.lower)))
    assert [entry.piece_count for entry in ranges] == [1, 1, 1]
    found = [piece for entry in ranges for piece in entry.pieces()]
    assert [(piece.start, piece.end, piece.physical) for piece in found] == [
        (0, 0x6000, 0x10_0000),
        (0x6000, 0x7000, 0x10_6000),
        (0x20_0000, 0x40_0000, 0x20_0000),
    ]
    assert found[0].sizes == {4096: 6}


def test_a_part_of_a_map_reads_only_the_tables_it_needs():
    machine = small_map({index: 0x10_0000 + 0x1000 * index | PAGE for index in range(512)})
    machine.words[THIRD + 8] = 0x5000 | TABLE
    control = el1_regime(machine, 0).lower
    (found,) = leaf_runs(machine, control, within=(0x3800, 0x6000))
    assert (found.start, len(found.outputs), found.physical) == (0x3000, 3, 0x10_3000)
    assert [table for table, _ in machine.reads] == [ROOT, SECOND, THIRD, LAST]
    assert list(leaf_runs(machine, control, within=(1 << 40, 1 << 41))) == []
    machine.reads.clear()
    assert list(leaf_runs(machine, control, within=(1 << 60, 1 << 61))) == []
    assert machine.reads == []


def test_a_run_ends_where_addresses_do():
    machine = small_map({0: (1 << 44) - 0x1000 | PAGE, 1: 1 << 44 | PAGE})
    found = list(leaf_runs(machine, el1_regime(machine, 0).lower))
    assert [type(entry) for entry in found] == [LeafRun, Malformed]


def test_a_run_does_not_carry_into_another_field():
    """Bits 49:48 are in their place with TCR_EL1.DS, bit 50 is GP."""
    machine = small_map({0: (1 << 50) - 0x1000 | PAGE, 1: 1 << 50 | PAGE}, ID_AA64MMFR0_EL1=1 << 28 | 6)
    machine.registers["TCR_EL1"] |= 1 << 59 | 6 << 32
    found = pieces_of(leaf_runs(machine, el1_regime(machine, 0).lower))
    assert [(piece.start, piece.physical) for piece in found] == [(0, (1 << 50) - 0x1000), (0x1000, 0)]


def test_ranges_join_pages_and_blocks():
    pages = {index: 0x4000_0000 + 0x1000 * index | PAGE for index in range(512)}
    machine = small_map(pages)
    machine.words[THIRD + 8] = 0x4020_0000 | BLOCK
    regime = el1_regime(machine, 0)
    (found,) = mapped_ranges(regime, leaf_runs(machine, regime.lower))
    assert isinstance(found, MappedRange)
    (piece,) = found.pieces()
    assert (found.start, found.end) == (piece.start, piece.end)
    assert (piece.start, piece.end, piece.sizes) == (0, 0x40_0000, {4096: 512, 0x20_0000: 1})


def test_contiguous_pages_span_sixteen():
    found = look(small_map({0: 0x9_0000 | PAGE | 1 << 52}), 0)
    assert (found.size, found.contiguous_bytes) == (4096, 65536)
    assert look(small_map({0: 0x9_0000 | PAGE}), 0).contiguous_bytes is None


def test_a_block_about_to_be_replaced():
    machine = small_map()
    machine.words[THIRD] = 0x20_0000 | BLOCK | 1 << 16
    assert (look(machine, 0).output, look(machine, 0).no_translation) == (0x20_0000, True)
    assert not look(small_map({0: 0x1_0000 | PAGE}), 0).no_translation


def test_a_clean_page_is_writable_if_hardware_tracks_dirty_state():
    machine = small_map({0: 0x9000 | PAGE | 1 << 51 | 1 << 7})
    found = look(machine, 0).attributes
    assert (str(found.el1), found.dirty) == ("r-x", False)
    machine.registers["TCR_EL1"] |= 3 << 39
    assert str(look(machine, 0).attributes.el1) == "rwx"
    machine.registers["ID_AA64MMFR1_EL1"] = 1
    assert str(look(machine, 0).attributes.el1) == "r-x"


def test_a_big_endian_system_has_big_endian_tables():
    machine = small_map({5: 0x8765_4000 | PAGE})
    swapped = {
        where: int.from_bytes(word.to_bytes(8, "big"), "little") for where, word in machine.words.items()
    }
    machine.words = swapped
    machine.registers["SCTLR_EL1"] |= 1 << 25
    assert look(machine, 0x5678).output == 0x8765_4678
    assert [leaf.physical for leaf in leaves(machine, el1_regime(machine, 0).lower)] == [0x8765_4000]


def test_what_a_map_cannot_begin_with_is_said():
    machine = WordMachine({}, el1_registers(ttbr0=1 << 46))
    (found,) = leaves(machine, el1_regime(machine, 0).lower)
    assert "beyond 44 bits" in found.reason
    assert machine.reads == []


EL1, EL0 = 1, 0


def fault_of(machine, address, access, level, pan=False):
    regime = el1_regime(machine, 0)
    fault = access_fault(regime, translate(machine, regime, address), access, level, pan=pan)
    return fault and fault.kind


def test_accesses_that_permissions_forbid():
    machine = small_map({0: 0x9000 | PAGE | 1 << 54, 1: 0x9000 | PAGE | 3 << 6, 2: 0x9003})
    assert fault_of(machine, 0, Access.WRITE, EL1) is None
    assert fault_of(machine, 0, Access.READ, EL0) == "permission"
    assert fault_of(machine, 0, Access.EXECUTE, EL0) == "permission"
    assert fault_of(machine, 0x1000, Access.READ, EL0) is None
    assert fault_of(machine, 0x1000, Access.WRITE, EL1) == "permission"
    assert fault_of(machine, 0x1000, Access.READ, EL1, pan=True) == "permission"
    assert fault_of(machine, 0, Access.READ, EL1, pan=True) is None
    assert fault_of(machine, 0x2000, Access.READ, EL1) == "access flag"
    assert fault_of(machine, 0x3000, Access.READ, EL1) == "translation"


def test_a_range_that_el0_may_not_use():
    machine = small_map({0: 0x9000 | PAGE | 1 << 6})
    machine.registers["TCR_EL1"] |= 1 << 55
    assert fault_of(machine, 0, Access.READ, EL0) is None
    machine.registers["ID_AA64MMFR2_EL1"] = 1 << 60
    assert fault_of(machine, 0, Access.READ, EL0) == "translation"
    assert fault_of(machine, 0, Access.READ, EL1) is None


def test_with_the_mmu_off_nothing_is_forbidden():
    machine = small_map()
    machine.registers["SCTLR_EL1"] = 0
    assert fault_of(machine, 0x1234, Access.WRITE, EL0) is None


class Announced(WordMachine):
    """A machine that notes what is announced to it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.announced = []

    def prefetch(self, ranges):
        self.announced.append(list(ranges))


def test_the_tables_of_a_level_are_announced_together_and_once():
    root, level1, level2, level3 = 0x1000, 0x2000, 0x10000, 0x100000
    words = {root: level1 | TABLE}
    for outer in range(40):
        words[level1 + 8 * outer] = level2 + 0x1000 * outer | TABLE
        for inner in range(3):
            words[level2 + 0x1000 * outer + 8 * inner] = level3 + 0x1000 * (3 * outer + inner) | TABLE
    machine = Announced(words, el1_registers(ttbr0=root))
    visited = []
    assert list(leaf_runs(machine, el1_regime(machine, 0).lower, visited=visited)) == []
    assert len(visited) == 1 + 1 + 40 + 120
    announced = [address for ranges in machine.announced for address, _ in ranges]
    assert sorted(announced) == sorted(visited)
    assert all(size == 4096 for ranges in machine.announced for _, size in ranges)
    assert max(map(len, machine.announced)) == 32
    # The root, what follows it, 40 by 32, and the three of each of those.
    assert len(machine.announced) == 1 + 1 + 2 + 40
