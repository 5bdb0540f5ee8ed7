"""TLB invalidations by their encoding, as the assembler makes them."""

import pytest

from gdbplugin.recording.instructions import Invalidation, operation_of

ADDRESS = 0x2000_0000_4000


@pytest.mark.parametrize(
    ("code", "operand", "said"),
    [
        (0xD508831F, 0, "TLBI VMALLE1IS"),
        (0xD508871F, 0, "TLBI VMALLE1"),
        (0xD5088720, 5 << 48 | ADDRESS >> 12, "TLBI VAE1 0x200000004000 ASID 5"),
        (0xD5088320, 5 << 48 | ADDRESS >> 12, "TLBI VAE1IS 0x200000004000 ASID 5"),
        (0xD5088362, ADDRESS >> 12, "TLBI VAAE1IS 0x200000004000"),
        (0xD50887A0, 7 << 48 | 0xFFF_8000_0008_0, "TLBI VALE1 0xffff800000080000 ASID 7"),
        (0xD5088745, 9 << 48, "TLBI ASIDE1 ASID 9"),
        (0xD50C8700, 0, "TLBI (0xd50c8700)"),
    ],
)
def test_an_invalidation_is_named_with_what_it_is_for(code, operand, said):
    assert operation_of(code, operand) == said


def test_what_an_invalidation_concerns():
    one = Invalidation(0xD5088720, 5 << 48 | ADDRESS >> 12)
    assert one.concerns(ADDRESS + 0x123, frozenset({5}))
    assert one.concerns(ADDRESS, None)
    assert not one.concerns(ADDRESS, frozenset({6}))
    assert not one.concerns(ADDRESS + 0x1000, frozenset({5}))
    assert Invalidation(0xD5088745, 5 << 48).concerns(ADDRESS, frozenset({5}))
    assert Invalidation(0xD508831F, 0).concerns(0xFFFF_8000_0000_0000, frozenset({5}))
