"""What the descriptors of a walk say, in words."""

import pytest

from gdbplugin.aarch64.control import TranslationControl
from gdbplugin.aarch64.descriptor import Kind
from gdbplugin.aarch64.walk import Level
from gdbplugin.kernel.translate import ExplainedLevel
from gdbplugin.render import Style


def explained(level, descriptor, kind, **control):
    shape = {"granule_bits": 12, "input_bits": 48, "output_bits": 48, "upper": False, **control}
    return ExplainedLevel(
        Level(level, 0x1000, 3, descriptor, kind), TranslationControl("TTBR0_EL1", 0x1000, None, **shape)
    )


@pytest.mark.parametrize("granule_bits", [12, 14, 16])
@pytest.mark.parametrize("level", range(-1, 4))
def test_a_leaf_says_its_size_as_views_write_sizes(granule_bits, level):
    found = explained(level, 0x8000_0000_0401, Kind.BLOCK, granule_bits=granule_bits)
    size = Style().size(1 << found.control.shift(level))
    assert found.meaning == f"block of {size} at {found.output:#x}"


@pytest.mark.parametrize(
    ("descriptor", "kind", "output", "meaning"),
    [
        (0, Kind.INVALID, None, "invalid"),
        (0x1000, Kind.INVALID, None, "invalid (bit 0 is clear)"),
        (0x401, Kind.RESERVED, None, "reserved at this level: a translation fault"),
        (0x5003, Kind.TABLE, 0x5000, "table at 0x5000"),
        (1 << 60 | 0x5003, Kind.TABLE, 0x5000, "table at 0x5000, UXNTable"),
        (0x7000 | 0x403, Kind.PAGE, 0x7000, "page of 4 KiB at 0x7000"),
    ],
)
def test_each_kind_of_descriptor_says_what_it_is(descriptor, kind, output, meaning):
    found = explained(3, descriptor, kind)
    assert (found.output, found.meaning) == (output, meaning)


def test_limits_that_are_switched_off_are_said_to_be_ignored():
    found = explained(1, 1 << 60 | 0x5003, Kind.TABLE, hierarchical_disabled=True)
    assert found.meaning == "table at 0x5000, UXNTable (ignored: HPD)"
