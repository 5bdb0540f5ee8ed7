"""The kernel's probes, as its ELF file has them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from gdbplugin.kernel.events import kind_numbers
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.layout import cache
from gdbplugin.layout.elf import read_image
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import BytesMachine
from gdbplugin.session.kernel_file import SWITCH, read_probes


def test_every_kind_of_event_has_its_places(kernel_elf: Path) -> None:
    probes = read_probes(kernel_elf)
    kinds = kind_numbers(Kernel(BytesMachine({}), cache.load(kernel_elf)))
    assert {probe.kind for probe in probes} == {*kinds.values(), SWITCH}
    assert len({probe.address for probe in probes}) == len(probes)


def test_probes_are_at_instructions_and_name_registers(kernel_elf: Path) -> None:
    text = read_image(kernel_elf).segments[0]
    for probe in read_probes(kernel_elf):
        assert text.virtual <= probe.address < text.virtual + text.memory_size
        assert probe.address % 4 == 0
        for register in (probe.first, probe.second):
            assert re.fullmatch(r"x([12]?[0-9]|30)", register)


def test_a_file_without_probes_says_what_to_do() -> None:
    with pytest.raises(LayoutError, match=r"has no probes for debuggers .* build a newer kernel"):
        read_probes(Path(sys.executable).resolve())
    with pytest.raises(LayoutError, match="cannot read the probes of"):
        read_probes(Path(__file__))
