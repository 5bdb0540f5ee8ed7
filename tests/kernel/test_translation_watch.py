"""Watching a translation, and the permissions of all pages, in memory made of words. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.aarch64.maps import leaf_attributes, leaves
from gdbplugin.aarch64.tables import Leaf
from gdbplugin.aarch64.walk import translate
from gdbplugin.kernel.maps import KnownSpace
from gdbplugin.kernel.permission_watch import MOST_TABLES, PermissionSubject, uncovered
from gdbplugin.kernel.selection import Selection, choose
from gdbplugin.kernel.table_places import WritablePlaces
from gdbplugin.kernel.translation_watch import TranslationSubject
from gdbplugin.kernel.watching import read_watches
from gdbplugin.machine import SelectionError
from tests.aarch64.machines import BLOCK, PAGE, TABLE, WordMachine, el1_registers
from tests.kernel.stopped import stopped_machine

READ_ONLY, USER, UXN, PXN = 1 << 7, 1 << 6, 1 << 54, 1 << 53
ACCESS_FLAG, DIRTY_MODIFIER, CONTIGUOUS = 1 << 10, 1 << 51, 1 << 52
NEVER = UXN | PXN
ROOT, UPPER = 0x1000, 0x9000
ADDRESS = 0x40_3000  # Entry 0 of levels 0 and 1, 2 of level 2, 3 of level 3.


def machine(**others):
    """One page at ADDRESS, through tables at 0x1000 to 0x4000; and the tables mapped in the upper range."""
    words = {0x1000: 0x2000 | TABLE, 0x2000: 0x3000 | TABLE, 0x3010: 0x4000 | TABLE}
    words[0x4018] = 0x7000 | PAGE | NEVER
    # A linear map of the first GiB at the start of the upper range.
    words |= {UPPER: 0xA000 | TABLE, 0xA000: BLOCK | NEVER}
    registers = el1_registers(ttbr0=ROOT, ttbr1=UPPER, CPSR=0x3C5, **others)
    return WordMachine(words, registers)


def subject(made, address=ADDRESS, **words):
    return TranslationSubject(choose(stopped_machine(made), Selection()), address, **words)


def places(watched):
    return [place.address for place in watched.places()]


def test_the_descriptors_of_the_walk_are_watched():
    watched = subject(machine())
    assert places(watched) == [0x1000, 0x2000, 0x3010, 0x4018]
    assert {place.length for place in watched.places()} == {8}


def test_a_changed_descriptor_is_decoded_before_and_after():
    made = machine()
    watched = subject(made)
    made.words[0x4018] = 0x8000 | PAGE | NEVER | READ_ONLY | USER
    (change,) = watched.look(made, None)
    (one,) = change.descriptors
    assert (one.level, one.table, one.index, one.address) == (3, 0x4000, 3, 0x4018)
    assert (one.before, one.after) == (0x7000 | PAGE | NEVER, 0x8000 | PAGE | NEVER | READ_ONLY | USER)
    assert "page of 4 KiB at 0x7000, EL0 ---, EL1 rw-" in one.before_meaning
    assert "page of 4 KiB at 0x8000, EL0 r--, EL1 r--" in one.after_meaning
    assert change.before.startswith("0x7000, EL0 ---, EL1 rw-")
    assert change.after.startswith("0x8000, EL0 r--, EL1 r--")
    assert watched.look(made, None) == []


def test_an_unmapped_address_shows_its_fault():
    made = machine()
    watched = subject(made)
    made.words[0x3010] = 0
    (change,) = watched.look(made, None)
    assert change.after == "translation fault at level 2"
    assert [(one.level, one.after) for one in change.descriptors] == [(2, 0), (3, None)]
    assert change.descriptors[1].after_meaning == "not read"
    assert places(watched) == [0x1000, 0x2000, 0x3010]
    made.words[0x3010] = 0x4000 | TABLE
    (change,) = watched.look(made, None)
    assert change.before == "translation fault at level 2"
    assert len(places(watched)) == 4


@pytest.mark.parametrize("bits", [ACCESS_FLAG, CONTIGUOUS, 1 << 55])
def test_flags_are_not_another_translation(bits):
    made = machine()
    watched = subject(made)
    made.words[0x4018] ^= bits
    assert watched.look(made, None) == []


def test_flags_count_if_they_are_asked_for():
    made = machine()
    watched = subject(made, flags=True)
    made.words[0x4018] ^= ACCESS_FLAG
    (change,) = watched.look(made, None)
    assert "access flag clear" in change.after
    assert change.after.startswith("0x7000")


def test_a_fault_at_another_level_is_no_change():
    made = machine()
    watched = subject(made, 0x8000_0000)
    assert places(watched) == [0x1000, 0x2010]
    made.words[0x2010] = 0x5000 | TABLE
    assert watched.look(made, None) == []
    assert places(watched) == [0x1000, 0x2010, 0x5000]


def test_a_replaced_table_is_followed():
    made = machine()
    watched = subject(made)
    made.words[0x5018] = made.words[0x4018]
    made.words[0x3010] = 0x5000 | TABLE
    assert watched.look(made, None) == []
    assert places(watched) == [0x1000, 0x2000, 0x3010, 0x5018]
    made.words[0x4018] = 0
    assert watched.look(made, None) == []
    made.words[0x5018] = 0
    assert len(watched.look(made, None)) == 1


def test_a_limit_of_a_table_above_is_a_change():
    made = machine()
    watched = subject(made)
    made.words[0x1000] |= 1 << 62  # APTable[1]: read-only.
    (change,) = watched.look(made, None)
    assert ("EL1 rw-" in change.before, "EL1 r--" in change.after) == (True, True)
    assert [one.level for one in change.descriptors] == [0]


@pytest.mark.parametrize(
    ("others", "address", "reason"),
    [
        ({"SCTLR_EL1": 0}, ADDRESS, "the MMU is off"),
        ({"HCR_EL2": 1, "VTCR_EL2": 0, "VTTBR_EL2": 0}, ADDRESS, "under a hypervisor"),
        ({}, 1 << 60, "no tables translate"),
    ],
)
def test_what_cannot_be_watched_is_said(others, address, reason):
    with pytest.raises(SelectionError, match=reason):
        subject(machine(**others), address)


VALUES = st.builds(
    lambda table, kind, bits: table | kind | bits,
    st.sampled_from([0x2000, 0x3000, 0x4000, 0x5000, 0x6000]),
    st.sampled_from([0, PAGE, PAGE, TABLE, BLOCK]),
    st.sampled_from([0, UXN, NEVER, READ_ONLY, USER, NEVER | USER, CONTIGUOUS, 1 << 59, 1 << 60, 1 << 62]),
)
WRITES = st.lists(
    st.tuples(st.sampled_from(range(0x1000, 0x7000, 0x1000)), st.sampled_from([0, 2, 3, 511]), VALUES),
    max_size=25,
)


def effect(made):
    """What an access sees, by the outcome of a walk alone, with every access flag set: tables ignore it."""
    words = {address: word | ACCESS_FLAG if word & 1 else word for address, word in made.words.items()}
    aged = WordMachine(words, made.registers)
    found = translate(aged, choose(stopped_machine(aged), Selection()).regime, ADDRESS)
    if found.attributes is None:
        return None
    return found.output, found.attributes.el0, found.attributes.el1, found.attributes.is_global


@settings(deadline=None)
@given(WRITES)
def test_every_write_that_has_an_effect_is_seen(writes):
    made = machine()
    watched = subject(made)
    for table, index, value in writes:
        before, watching = effect(made), {place.address for place in watched.places()}
        made.words[table + 8 * index] = value
        changes = watched.look(made, None) if table + 8 * index in watching else []
        assert bool(changes) == (effect(made) != before)


def spaces_of(made):
    view = choose(stopped_machine(made), Selection())
    return view, [KnownSpace(view.regime, control, None, None) for control in view.regime.controls]


def executable_pages(made):
    """Every page that is writable and executable, by walking everything anew; and the tables."""
    _, spaces = spaces_of(made)
    found, tables = set(), []
    for space in spaces:
        for leaf in leaves(made, space.control, visited=tables):
            if isinstance(leaf, Leaf):
                allowed = leaf_attributes(space.regime, leaf.start, leaf.descriptor, leaf.inherited)
                if any(one.write and one.execute for one in (allowed.el0, allowed.el1)):
                    found.add((leaf.start, leaf.start + leaf.size))
    return found, set(tables)


def covers(ranges, address):
    return any(start <= address < end for start, end in ranges)


@settings(deadline=None)
@given(WRITES)
def test_every_page_that_becomes_writable_and_executable_is_seen(writes):
    made = machine()
    view, spaces = spaces_of(made)
    watched = PermissionSubject(view, spaces, "w+x")
    for table, index, value in writes:
        before, tables = executable_pages(made)
        assert {place.address for place in watched.places()} == tables
        made.words[table + 8 * index] = value
        place = next((place for place in watched.places() if place.address == table), None)
        try:
            changes = [] if place is None else watched.look(made, place)
        except SelectionError:
            return  # Tables that lead back to themselves.
        after = executable_pages(made)[0]
        new = [start for start, end in sorted(after) if list(uncovered(start, end, sorted(before)))]
        assert bool(changes) == bool(new)
        for change in changes:
            assert covers(after, change.address)
            assert not covers(before, change.address)
            assert change.descriptors[0].address == table + 8 * index


def test_a_range_and_a_pattern_narrow_it():
    made = machine()
    view, spaces = spaces_of(made)
    watched = PermissionSubject(view, spaces, "el0:rw?", (ADDRESS, ADDRESS + 0x1000))
    assert {place.address for place in watched.places()} == {0x1000, 0x2000, 0x3000, 0x4000}
    made.words[0x4020] = 0x7000 | PAGE | NEVER | USER
    assert watched.look(made, watched.places()[-1]) == []
    made.words[0x4018] |= USER
    (change,) = [one for place in watched.places() for one in watched.look(made, place)]
    assert (change.address, change.size) == (ADDRESS, 0x1000)


def test_more_tables_than_can_be_watched_are_refused():
    made = machine()
    for index in range(MOST_TABLES):
        made.words[0x3000 + 8 * index] = 0x10_0000 + 0x1000 * index | TABLE
    view, spaces = spaces_of(made)
    with pytest.raises(SelectionError, match=f"more than {MOST_TABLES} tables.*--range START..END"):
        PermissionSubject(view, spaces, "w+x")
    assert PermissionSubject(view, spaces, "w+x", (ADDRESS, ADDRESS + 1)).places()


def test_tables_are_found_where_the_kernel_can_write_them():
    made = machine()
    made.words[0xA008] = BLOCK | NEVER | READ_ONLY  # The first GiB again, read-only.
    regime = choose(stopped_machine(made), Selection()).regime
    found = WritablePlaces(made, regime)
    assert found.of(0x4018, 8) == (0xFFFF_0000_0000_4018,)
    assert found.of(0x7000, 8) == (0xFFFF_0000_0000_7000,)
    assert found.of(0x4000_0000, 8) == ()
    made.words[UPPER] = 0
    assert WritablePlaces(made, regime).of(0x7010, 8) == (ADDRESS + 0x10,)
    assert WritablePlaces(made, regime).of(0x7FFC, 8) == ()


class Watching:
    """Takes watches and sets none."""

    def __init__(self):
        self.deleted = []

    def add(self, subject, places):
        assert all(places.of(place.address, place.length) for place in subject.places())
        return 1

    def delete(self, number):
        self.deleted.append(number)

    def listed(self):
        return ()


def asked(what=None, address=None, **words):
    target = stopped_machine(machine())
    target.translation_watches = Watching
    given = {"pattern": None, "within": None, "flags": False, "delete": None} | words
    return read_watches(target, what, address, **given)


def test_words_that_do_not_go_together_are_said():
    assert asked("translation", ADDRESS).new == 1
    assert asked("translation", pattern="w+x").new == 1
    for words, reason in (
        ({"what": "translation"}, "either an ADDRESS or --any"),
        ({"what": "translation", "address": 0, "pattern": "w+x"}, "either an ADDRESS or --any"),
        ({"what": "translation", "address": 0, "within": (0, 1)}, "--range goes with --any"),
        ({"what": "translation", "pattern": "w+x", "flags": True}, "--flags goes with an ADDRESS"),
        ({"what": "translation", "delete": 1}, "--delete goes with no other"),
        ({"pattern": "w+x"}, "say what is to be watched"),
        ({"what": "translation", "pattern": "wx"}, "not a pattern of permissions"),
    ):
        with pytest.raises(SelectionError, match=reason):
            asked(**words)


def test_ranges_less_ranges():
    assert list(uncovered(0, 10, [(2, 3), (5, 7)])) == [(0, 2), (3, 5), (7, 10)]
    assert list(uncovered(2, 3, [(0, 10)])) == []
    assert list(uncovered(2, 3, [])) == [(2, 3)]
