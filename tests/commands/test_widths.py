"""Every view at every width: it ends in text, and fits from the view's least width on."""

from __future__ import annotations

import re
from functools import cache

import pytest

from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.fault import read_fault
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.kernel_test import (
    compare_context,
    compare_stress,
    read_context_state,
    read_stress_state,
)
from gdbplugin.kernel.maps import read_maps
from gdbplugin.kernel.target import Target
from gdbplugin.render import Style, table
from tests.aarch64.machines import el1_registers
from tests.commands.forms import FORMS
from tests.kernel.stopped import bare
from tests.kernel.synthetic import LAZY_BASE, World
from tests.kernel.test_runs import interface
from tests.unbreakable.subjects import SUBJECTS, statics

WIDTHS = range(1, 201)
ENCODINGS = ("utf-8", "ascii")
COLOUR = re.compile("\033\\[[0-9;]*m")
# The columns of a table that are always there need so many characters; lines of words need 40.
LEAST = {
    "context": 70,
    "lazy": 59,
    "lazy filtered": 59,
    "maps": 74,
    "maps asid": 74,
    "maps alias": 54,
    "pressure": 55,
    "registers": 47,
    "report": 70,
    "stacks": 64,
    "stress": 42,
    "translate kernel": 45,
    "translate lazy": 45,
    "where kernel": 54,
    "where lazy": 54,
    "where physical": 54,
}


def world() -> World:
    """A kernel of which there is something to say in every view."""
    found = World()
    found.sequence = 3
    found.manager["stack_manager"]["stacks"][0]["policy"] = 99
    found.registers = {
        "ESR_EL1": 0x9200_0007,
        "FAR_EL1": LAZY_BASE,
        "ELR_EL1": 0x80_0000,
        "SPSR_EL1": 0,
        "VBAR_EL1": 0xFFFF_8000_0020_0000,
    }
    return found


@cache
def shown() -> dict[str, tuple[object, object]]:
    """Each view with its object, by the view's name."""
    found = {}
    made = world()
    machine, layout = made.build(), statics(made)
    for subject in SUBJECTS:
        if subject.name == "translate el2":
            continue  # This machine has no registers of EL2's.
        diagnostics = Diagnostics()
        kernel = Kernel(machine, layout, diagnostics)
        target = Target(machine, 0, diagnostics, lambda kernel=kernel: kernel)
        found[subject.name] = subject.show, subject.read(target)
    kernel = Kernel(machine, layout, Diagnostics())
    for name, before, compare in (
        ("stress", read_stress_state, compare_stress),
        ("context --test", read_context_state, compare_context),
    ):
        found[name] = FORMS[name].show, compare(kernel, before(kernel), interface(3))
    off = bare({**el1_registers(), "SCTLR_EL1": 0, "CPSR": 0x3C5})
    found["maps, MMU off"] = FORMS["maps"].show, read_maps(off)
    found["fault, nothing known"] = FORMS["fault"].show, read_fault(off)
    return found


def lines_of(name: str, width: int, encoding: str, *, colour: bool = False) -> list[str]:
    show, read = shown()[name]
    text = show(read, Style(encoding, colour, width))
    assert text.endswith("\n")
    assert encoding == "utf-8" or text.isascii()
    return COLOUR.sub("", text).splitlines()


@pytest.mark.parametrize("name", list(shown()))
def test_a_view_fits_from_its_least_width_on(name):
    for encoding in ENCODINGS:
        for width in WIDTHS:
            lines = lines_of(name, width, encoding)
            assert max(map(len, lines)) <= max(width, LEAST.get(name, 40)), width


@pytest.mark.parametrize("name", list(shown()))
def test_colour_changes_no_line_and_no_word_is_lost(name):
    for width in WIDTHS:
        plain = lines_of(name, width, "ascii")
        assert lines_of(name, width, "ascii", colour=True) == plain
        assert width > 40 or plain == lines_of(name, 40, "ascii")


def test_a_long_last_cell_becomes_several_lines():
    rows = [("1", "a word and another word and more words", "x"), ("2", "short", "y")]
    found = table(("id", "said"), [row[:2] for row in rows], room=24, dispensable=())
    assert found.splitlines()[2:] == ["1   a word and another", "    word and more words", "2   short"]


@pytest.mark.parametrize(("width", "room"), [(1, 10), (40, 10), (61, 21), (100, 60), (200, 60)])
def test_what_is_left_is_never_below_the_least(width, room):
    assert Style(width=width).left(40, 10, 60) == room
