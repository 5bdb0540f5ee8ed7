"""The walker and `maps` over images made from plans: every regime, granule, width and byte order."""

from __future__ import annotations

import random

import pytest

from gdbplugin.aarch64.maps import leaves
from gdbplugin.aarch64.regime import current_regime
from gdbplugin.kernel.maps import read_maps
from tests.aarch64 import naive
from tests.aarch64.images import MEMORY, REGIMES, SHAREABILITY, Setting, probes, random_image
from tests.aarch64.test_naive import answer
from tests.kernel.stopped import stopped_machine

FORMATS = {
    "4 KiB": (12, False, 48),
    "16 KiB": (14, False, 48),
    "64 KiB": (16, False, 48),
    "4 KiB, LPA2": (12, True, 52),
    "16 KiB, LPA2": (14, True, 52),
    "64 KiB, LPA": (16, False, 52),
}
"""The granule's width, TCR_ELx.DS, and the processor's physical addresses."""


def widths(granule, ds, _):
    """Every width of input addresses; FEAT_TTST has the narrow ones, FEAT_LVA the widest of 64 KiB."""
    return range(17 if granule == 16 else 16, (52 if ds or granule == 16 else 48) + 1)


def images(regime, form):
    """An image for every input width and, in turn, every output width; of two ranges, both have one."""
    granule, ds, processor_bits = FORMATS[form]
    others = [one for one in FORMATS.values() if one[1] == ds and one[2] == processor_bits]
    for number, width in enumerate(widths(granule, ds, processor_bits)):
        chosen = random.Random(number)
        setting = Setting(
            regime,
            physical=(number * 5 + 3) % 7 if width % 4 else 6,
            ds=ds,
            big_endian=bool(number & 1) ^ (chosen.random() < 0.3),
            wxn=chosen.random() < 0.3,
            hpd=chosen.random() < 0.2,
            tbi=chosen.random() < 0.5,
            mair=tuple(chosen.sample(tuple(MEMORY), 8)),
            processor_bits=processor_bits,
        )
        other = chosen.choice(others)
        shapes = [(granule, width), (other[0], chosen.choice(widths(*other)))]
        if setting.two and chosen.random() < 0.5:
            shapes.reverse()
        yield setting, random_image(setting, tuple(shapes[: 1 + setting.two]), number)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("regime", REGIMES)
def test_a_walk_finds_what_was_planned(regime, form):
    kinds = set()
    for setting, image in images(regime, form):
        machine = image.machine()
        found = current_regime(machine, 0)
        assert found.name == regime
        assert [one.granule_bits for one in found.controls] == [one.granule for one in image.ranges]
        assert [one.input_bits for one in found.controls] == [one.input_bits for one in image.ranges]
        for address in probes(image):
            expected = image.expected(address)
            assert answer(machine, address) == expected, f"{address:#x} of {setting}"
            kinds.add((expected.kind, expected.level))
    assert {"ok", "translation", "access flag"} == {kind for kind, _ in kinds}
    assert {level for kind, level in kinds if kind == "ok"} >= {2, 3}


@pytest.mark.parametrize("form", FORMATS)
def test_the_naive_walker_finds_what_was_planned(form):
    for setting, image in images("EL1&0", form):
        machine = image.machine()
        registers = {name: machine.register(name, 0) for name in (*image.registers(), "ID_AA64MMFR1_EL1")}

        def word(address, machine=machine):
            return machine.read_physical(address, 8)

        for address in probes(image)[:40]:
            expected = naive.translate(registers, word, 1, address)
            assert expected == image.expected(address), f"{address:#x} of {setting}"


def planned(image):
    """What `maps` must show: the leaves in order, joined where nothing but the address differs."""
    joined = []
    for one in image.ranges:
        for leaf in sorted(one.leaves):
            share = 3 if image.setting.ds and one.granule != 16 else leaf.page.share
            what = (
                *one.rights(leaf),
                MEMORY[image.setting.mair[leaf.page.index]],
                SHAREABILITY[share],
                not leaf.page.not_global,
                bool(leaf.page.accessed),
            )
            joined.append((leaf.start, leaf.end, leaf.output, what))
    return join(joined)


def join(pieces):
    found = []
    for start, end, output, what in pieces:
        first, last, lowest, same = found[-1] if found else (0, 0, 0, None)
        if (last, lowest + start - first, same) == (start, output, what):
            found[-1] = (first, end, lowest, what)
        else:
            found.append((start, end, output, what))
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("regime", REGIMES)
def test_a_map_has_what_was_planned_and_nothing_else(regime, form):
    for setting, image in images(regime, form):
        machine = image.machine()
        controls = current_regime(machine, 0).controls
        for control, one in zip(controls, image.ranges, strict=True):
            walked = [(leaf.start, leaf.size, leaf.physical, leaf.level) for leaf in leaves(machine, control)]
            assert walked == [leaf[:4] for leaf in sorted(one.leaves)], setting
        found = read_maps(stopped_machine(machine))
        assert found.malformed_count == 0
        assert found.tables <= sum(len(one.tables) for one in image.ranges)
        shown = [
            (
                mapping.start,
                mapping.end,
                mapping.physical,
                (
                    str(mapping.attributes.el0),
                    str(mapping.attributes.el1),
                    str(mapping.attributes.el1_with_pan),
                    mapping.memory_type,
                    mapping.attributes.shareability,
                    mapping.attributes.is_global,
                    mapping.attributes.access_flag,
                ),
            )
            for mapping in found
        ]
        assert join(shown) == planned(image), setting
