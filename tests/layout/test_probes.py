"""The kernel's marks, as its ELF file has them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from gdbplugin.kernel.events import kind_numbers
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.layout import cache
from gdbplugin.layout.elf import read_image
from gdbplugin.layout.marks import SWITCH, read_marks
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import BytesMachine


def test_every_kind_of_event_has_its_places(kernel_elf: Path) -> None:
    marks = read_marks(kernel_elf)
    kinds = kind_numbers(Kernel(BytesMachine({}), cache.load(kernel_elf)))
    assert {mark.kind for mark in marks} == {*kinds.values(), SWITCH}
    assert len({mark.address for mark in marks}) == len(marks)


def test_marks_are_at_instructions_and_name_registers(kernel_elf: Path) -> None:
    text = read_image(kernel_elf).segments[0]
    for mark in read_marks(kernel_elf):
        assert text.virtual <= mark.address < text.virtual + text.memory_size
        assert mark.address % 4 == 0
        for register in (mark.first, mark.second):
            assert re.fullmatch(r"x([12]?[0-9]|30)", register)


def test_a_file_without_marks_says_what_to_do() -> None:
    with pytest.raises(LayoutError, match=r"has no marks for debuggers .* build a newer kernel"):
        read_marks(Path(sys.executable).resolve())
    with pytest.raises(LayoutError, match="cannot read the marks of"):
        read_marks(Path(__file__))
