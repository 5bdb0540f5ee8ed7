"""What changed in any kernel's mappings, against a comparison page by page. Pure."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.kernel.diff_maps import MapMoment, map_changes, read_map_moment
from gdbplugin.kernel.target import CommandRun
from gdbplugin.moments import read_during
from tests.aarch64.machines import BLOCK, PAGE, TABLE, WordMachine, el1_registers
from tests.commands.forms import json_of, text_of
from tests.kernel.stopped import stopped_machine
from tests.schemas.validation import validate

READ_ONLY, ACCESS_FLAG = 1 << 7, 1 << 10
PAGE_BYTES, PAGES = 4096, 16
PAGE_VALUES = st.one_of(
    st.just(0),
    st.builds(
        lambda frame, bits: frame << 12 | PAGE | bits,
        st.integers(0x100, 0x103),
        st.sampled_from([0, READ_ONLY, ACCESS_FLAG]),
    ),
)
TABLES = st.lists(PAGE_VALUES, min_size=PAGES, max_size=PAGES)


def machine(pages=()):
    words = {0x1000: 0x2000 | TABLE, 0x2000: 0x3000 | TABLE, 0x3000: 0x4000 | TABLE}
    words |= {0x4000 + 8 * index: value for index, value in enumerate(pages)}
    return WordMachine(words, el1_registers(ttbr0=0x1000, ttbr1=0x9000, CPSR=0x3C5))


def moment(pages):
    return read_map_moment(stopped_machine(machine(pages)))


def meaning(value):
    """What a descriptor does, but for its access flag."""
    return (value | ACCESS_FLAG) if value & 1 else None


@settings(deadline=None)
@given(TABLES, TABLES)
def test_the_pages_that_differ_are_those_listed(before, after):
    before, after = ([value ^ ACCESS_FLAG if value else 0 for value in pages] for pages in (before, after))
    changes = list(map_changes(moment(before), moment(after)))
    listed = [page for one in changes for page in range(one.start // PAGE_BYTES, one.end // PAGE_BYTES)]
    wanted = [page for page in range(PAGES) if meaning(before[page]) != meaning(after[page])]
    assert listed == wanted
    for one in changes:
        for pages, said in ((before, one.before), (after, one.after)):
            value = pages[one.start // PAGE_BYTES]
            assert (said is None) == (value == 0)
            if said is not None:
                assert said.startswith(f"{value & 0xFFFF_FFFF_F000:#x}, EL0 --x, EL1 r")
                assert ("EL1 r-x" in said) == bool(value & READ_ONLY)


def test_a_block_in_place_of_its_pages_is_no_change():
    made = machine()
    made.words |= {0x4000 + 8 * index: 0x20_0000 + 0x1000 * index | PAGE for index in range(512)}
    before = read_map_moment(stopped_machine(made))
    made.words[0x3000] = 0x20_0000 | BLOCK
    assert list(map_changes(before, read_map_moment(stopped_machine(made)))) == []
    made.words[0x3000] = 0x40_0000 | BLOCK
    (change,) = map_changes(before, read_map_moment(stopped_machine(made)))
    assert (change.start, change.end) == (0, 0x20_0000)


def test_only_address_spaces_of_both_moments_are_compared():
    empty = MapMoment({1: []}, None)
    assert list(map_changes(empty, MapMoment({2: []}, None))) == []


def during(made, action, command="next", error=None):
    target = stopped_machine(made)

    def run_command(given):
        assert given == command
        action()
        return CommandRun("its output\n", error)

    target.run_command = run_command
    return read_during(target, command)


def test_a_command_on_another_kernel_shows_its_mappings():
    made = machine([0x10_0000 | PAGE])

    def action():
        made.words |= {0x4000: 0, 0x4008: 0x10_1000 | PAGE}

    found = during(made, action, error="it failed")
    assert [(one.start, one.before is None, one.after is None) for one in found.mappings] == [
        (0, False, True),
        (0x1000, True, False),
    ]
    content = json_of("during", found)
    validate(content)
    assert (content["error"], content["output"], content["difference"]) == ("it failed", "its output\n", None)
    text = text_of("during", found)
    assert text.startswith(
        "its output\n\n`next` failed: it failed\n\nMappings that changed during `next` (2)"
    )
    assert "not mapped" in text


def test_nothing_changed_is_said_and_another_table_is_a_note():
    made = machine()
    assert "Nothing changed." in text_of("during", during(made, lambda: None))
    text = text_of("during", during(made, lambda: made.registers.update(TTBR0_EL1=0x5000)))
    assert "a core had the table 0x1000 only before the command" in text
    assert "a core had the table 0x5000 only after the command" in text
