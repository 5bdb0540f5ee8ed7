"""A sound kernel compared with one whose memory holds anything at all: rows, or one sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.commands import diff
from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.moment import read_moment
from gdbplugin.kernel.target import Target
from gdbplugin.layout.types import LayoutError, locate_held
from gdbplugin.machine import CachedMachine, MachineError
from gdbplugin.moments import read_difference
from tests.commands.forms import json_text
from tests.kernel.synthetic import MANAGER, PLACES, STATIC_PHYSICAL
from tests.schemas.validation import validate
from tests.unbreakable.subjects import STYLES, assert_one_sentence, assert_plain
from tests.unbreakable.test_corruption import PROPERTY, blobs, changed, descriptors, manager_places, world

__all__ = ["world"]


def moment(machine, layout):
    """What is there now; None where one sentence says why it cannot be read."""
    kernel = Kernel(CachedMachine(machine), layout, Diagnostics())
    try:
        return read_moment(kernel, "a moment")
    except (MachineError, LayoutError) as error:
        assert_one_sentence(str(error))
        return None


def assert_shown(before, after):
    """The difference, in both directions, as text and as JSON."""
    for one, other in ((before, after), (after, before)):
        target = Target(None, None, Diagnostics(), lambda: pytest.fail("a moment is read already"))
        found = read_difference(target, one, other)
        assert found.diagnostics is target.diagnostics
        for style in STYLES:
            assert diff.show(found, style).endswith("\n")
        content = json.loads(json_text(diff.COMMAND.form, found))
        assert_plain(content)
        validate(content)


@PROPERTY
@given(changes=st.lists(st.tuples(manager_places, blobs), min_size=1, max_size=12))
def test_the_managers_bytes(world, changes):
    machine, layout, _ = world
    before = moment(machine, layout)
    with changed(machine, [(STATIC_PHYSICAL + place, content) for place, content in changes]):
        after = moment(machine, layout)
    if after is not None:
        assert_shown(before, after)


@PROPERTY
@given(data=st.data())
def test_events_that_never_were(world, data):
    """The ring alone is overwritten, with kinds that are there and with numbers of any size."""
    machine, layout, _ = world
    before = moment(machine, layout)
    ring, _ = locate_held(layout.static(MANAGER).type, "events")
    size, place = ring.type.size, STATIC_PHYSICAL + PLACES[MANAGER] + ring.offset
    content = data.draw(st.binary(min_size=size, max_size=size))
    recorded = data.draw(st.integers(2, 6)).to_bytes(8, "little")
    with changed(machine, [(place, content), (place, recorded)]):
        after = moment(machine, layout)
    if after is not None:
        assert_shown(before, after)


@PROPERTY
@given(data=st.data())
def test_the_tables(world, data):
    machine, layout, tables = world
    before = moment(machine, layout)
    entries = st.tuples(st.sampled_from(tables), st.integers(0, 511), st.integers(1, 8), descriptors(tables))
    drawn = data.draw(st.lists(entries, min_size=1, max_size=10))
    with changed(
        machine,
        [(table + 8 * index, value.to_bytes(8, "little") * count) for table, index, count, value in drawn],
    ):
        after = moment(machine, layout)
    if after is not None:
        assert_shown(before, after)
