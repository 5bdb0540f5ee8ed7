"""Single forms and operations of DWARF; what is not understood is named, and everything else is read."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdbplugin.kernel.kernel import Kernel, NotTinyOSError, StaticUnknownError
from gdbplugin.layout import cache
from gdbplugin.layout.dwarf import read_statics
from gdbplugin.layout.types import LayoutError, Scalar, Static
from gdbplugin.machine import BytesMachine
from tests.elf_files import Section
from tests.layout.assembled import (
    ADDRESSES,
    TYPE,
    Entry,
    Unit,
    elf_with,
    located,
    namespace,
    string,
    uleb,
    variable,
)

U32 = Scalar("u32", 4, "unsigned")
ADDR, ADDRX, GNU_ADDR_INDEX, PLUS_UCONST, PLUS = b"\x03", b"\xa1", b"\xfb", b"\x23", b"\x22"


@pytest.fixture
def read(tmp_path):
    """Reads the statics of the crate `tinyos` in these bytes."""

    def read_bytes(content: bytes) -> tuple[dict[str, Static], tuple[str, ...]]:
        path = tmp_path / "kernel.elf"
        path.write_bytes(content)
        statics, problems = read_statics(path, ("tinyos",))
        return dict(statics), problems

    return read_bytes


def unit(*below: Entry, **more: object) -> Unit:
    return Unit([namespace("tinyos", *below)], **more)


@pytest.mark.parametrize(
    ("operations", "address"),
    [
        ([ADDR + struct.pack("<Q", 0xFFFF_8000_0012_3450)], 0xFFFF_8000_0012_3450),
        ([ADDRX + uleb(0)], ADDRESSES[0]),
        ([ADDRX + uleb(2)], ADDRESSES[2]),
        ([GNU_ADDR_INDEX + uleb(1)], ADDRESSES[1]),
        ([ADDRX + uleb(1), PLUS_UCONST + uleb(0x234)], ADDRESSES[1] + 0x234),
        ([ADDRX + uleb(1), b"\x0c" + struct.pack("<I", 0x10), PLUS], ADDRESSES[1] + 0x10),
        ([b"\x0e" + struct.pack("<Q", 0x9000)], 0x9000),
    ],
    ids=["addr", "addrx-0", "addrx-2", "GNU_addr_index", "plus_uconst", "const4u-plus", "const8u"],
)
def test_the_address_is_found(read, operations, address):
    statics, problems = read(elf_with(unit(variable("HERE", located(*operations)))))
    assert statics == {"tinyos::HERE": Static("tinyos::HERE", address, U32)}
    assert problems == ()


@pytest.mark.parametrize(
    "operations",
    [
        [b"\x0e" + bytes(8), b"\xe0"],  # GNU_push_tls_address
        [b"\x0e" + bytes(8), b"\x9b"],  # form_tls_address
        [b"\x11\x05", b"\x9f"],  # consts, stack_value
        [b"\x9e\x01\x07"],  # implicit_value
        [b"\x50"],  # reg0
        [],
    ],
    ids=["GNU_tls", "tls", "stack_value", "implicit_value", "register", "optimised-out"],
)
def test_a_variable_without_fixed_address_is_left_out(read, operations):
    statics, problems = read(elf_with(unit(variable("GONE", located(*operations)), variable("HERE"))))
    assert (list(statics), problems) == (["tinyos::HERE"], ())


@pytest.mark.parametrize(
    ("operation", "name"),
    [(b"\x99" + bytes(4), "DW_OP_call4"), (b"\x06", "DW_OP_deref"), (b"\xd0", "operation 0xd0")],
    ids=["call4", "deref", "unknown"],
)
def test_an_operation_not_understood_is_named(read, operation, name):
    odd = variable("ODD", located(ADDRX + uleb(0), operation))
    statics, (problem,) = read(elf_with(unit(variable("FIRST"), odd, variable("LAST"))))
    assert list(statics) == ["tinyos::FIRST", "tinyos::LAST"]
    assert name in problem
    assert "tinyos::ODD" in problem


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("addrx", uleb(1)),
        ("addrx1", b"\1"),
        ("addrx2", b"\1\0"),
        ("addrx3", b"\1\0\0"),
        ("addrx4", b"\1\0\0\0"),
    ],
)
def test_entries_after_an_address_form_are_read(read, form, data):
    function = Entry("function", [("name", "string", string("f")), ("low_pc", form, data)])
    statics, problems = read(elf_with(unit(function, variable("HERE"))))
    assert (list(statics), problems) == (["tinyos::HERE"], ())


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("strx", uleb(2)),
        ("strx1", b"\2"),
        ("strx2", b"\2\0"),
        ("strx3", b"\2\0\0"),
        ("strx4", b"\2\0\0\0"),
    ],
)
def test_a_name_of_each_form_is_read(read, form, data):
    where = located(ADDRX + uleb(1))
    entry = Entry("variable", [("name", form, data), ("type", "ref4", TYPE), where])
    statics, problems = read(elf_with(unit(entry, variable("NEXT"))))
    assert (list(statics), problems) == (["tinyos::two", "tinyos::NEXT"], ())
    assert statics["tinyos::two"].address == ADDRESSES[1]


@pytest.mark.parametrize(
    ("form", "data", "name"),
    [
        ("GNU_addr_index", uleb(1), "DW_FORM_GNU_addr_index"),
        ("LLVM_addrx_offset", uleb(1) + bytes(4), "0x2001"),
    ],
)
def test_a_form_not_understood_is_named(read, form, data, name):
    odd = unit(variable("LOST"), Entry("function", [("low_pc", form, data)]), variable("AFTER"))
    statics, (problem,) = read(elf_with(odd, unit(variable("HERE"))))
    assert list(statics) == ["tinyos::LOST", "tinyos::HERE"]
    assert name in problem
    assert "-Cdwarf-version=4" in problem


def test_a_unit_of_an_unknown_version_is_named(read):
    statics, (problem,) = read(
        elf_with(unit(variable("A")), unit(variable("B"), version=6), unit(variable("C")))
    )
    assert list(statics) == ["tinyos::A", "tinyos::C"]
    assert "version. Got '6'" in problem


def test_many_problems_are_one_line_without_control_codes(read):
    units = [unit(variable(f"A\x1b[2J\n{number}", located(b"\x06"))) for number in range(3)]
    with pytest.raises(LayoutError) as caught:
        read(elf_with(*units))
    said = str(caught.value)
    assert "DW_OP_deref (tinyos::A\\x1b[2J\\x0a0)" in said
    assert said.endswith("(and 2 more like this)")
    assert said.isprintable()


def test_a_unit_that_is_too_long_is_named(read):
    content = elf_with(unit(variable("A")), unit(variable("B")))
    second = content.rindex(struct.pack("<HBB", 5, 1, 8)) - 4
    statics, problems = read(content[:second] + struct.pack("<I", 5000) + content[second + 4 :])
    assert statics["tinyos::A"].address == 0x1000
    assert "it ends beyond its section" in problems[-1]


def test_a_missing_table_of_addresses_is_named(read):
    with pytest.raises(LayoutError, match="debug_addr section"):
        read(elf_with(unit(variable("HERE", located(ADDRX + uleb(0)))), without=[".debug_addr"]))


def test_a_missing_table_of_strings_is_named(read):
    entry = Entry("variable", [("name", "strx1", b"\1"), ("type", "ref4", TYPE)])
    with pytest.raises(LayoutError, match="a section that it refers to is missing"):
        read(elf_with(unit(entry), without=[".debug_str_offsets"]))


def test_entries_in_a_circle_end(read):
    name = ("name", "string", string("f"))
    circle = Entry("function", [name, ("sibling", "ref4", TYPE)], [variable("inner")])
    statics, (problem,) = read(elf_with(unit(variable("A"), circle)))
    assert list(statics) == ["tinyos::A"]
    assert "entries in a circle" in problem


@pytest.mark.parametrize("attribute", ["dwo_name", "GNU_dwo_name"])
def test_split_debug_information_is_named(read, attribute):
    skeletons = [Unit([], top=[(attribute, "string", string(f"{name}.dwo"))]) for name in ("kernel", "other")]
    with pytest.raises(LayoutError, match=r"is split: part of it is in kernel\.dwo and 1 more, .*=off"):
        read(elf_with(*skeletons))
    statics, (problem,) = read(elf_with(skeletons[0], unit(variable("HERE"))))
    assert list(statics) == ["tinyos::HERE"]
    assert "kernel.dwo, which the plugin does not read" in problem


@pytest.mark.parametrize(
    ("section", "data"),
    [
        (".gnu_debugaltlink", string("common.debug") + bytes(20)),
        (".debug_sup", b"\5\0\0" + string("common.debug")),
    ],
)
@pytest.mark.parametrize(
    "attribute",
    [
        ("name", "GNU_strp_alt", bytes(4)),
        ("name", "strp_sup", bytes(4)),
        ("type", "GNU_ref_alt", bytes(4)),
        ("type", "ref_sup4", bytes(4)),
    ],
    ids=lambda attribute: attribute[1],
)
def test_a_supplementary_file_is_named(read, section, data, attribute):
    known = {"name": ("name", "string", string("ODD")), "type": ("type", "ref4", TYPE)}
    attributes = {**known, attribute[0]: attribute}
    odd = Entry("variable", [*attributes.values(), located(ADDRX + uleb(0))])
    with pytest.raises(LayoutError, match=rf"supplementary file, common\.debug \({section}\), .* before dwz"):
        read(elf_with(unit(odd), add=[Section(section, data)]))


def test_a_file_without_the_crate_has_no_problem(read):
    assert read(elf_with(Unit([], top=[("name", "string", string("other.c"))]))) == ({}, ())


def test_a_missing_static_may_be_an_unreadable_one(tmp_path: Path):
    path = tmp_path / "kernel.elf"
    path.write_bytes(elf_with(unit(variable("HERE")), unit(variable("B"), version=6)))
    table = cache.load(path, ("tinyos",), tmp_path)
    with pytest.raises(StaticUnknownError, match=r"cannot find HIDDEN: .*Got '6'"):
        Kernel(BytesMachine({}), table).static("tinyos::HIDDEN")
    assert Kernel(BytesMachine({}), table).static("tinyos::HERE").address == 0x1000
    path.write_bytes(elf_with(unit(variable("HERE"))))
    with pytest.raises(NotTinyOSError, match="they have no HIDDEN"):
        Kernel(BytesMachine({}), cache.load(path, ("tinyos",), tmp_path)).static("tinyos::HIDDEN")


_WHOLE = elf_with(
    unit(
        namespace("inner", variable("A", located(ADDRX + uleb(1)))),
        Entry("function", [("low_pc", "addrx1", b"\1")], [variable("B")]),
        variable("C"),
    ),
    unit(variable("D")),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, len(_WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_a_corrupt_file_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]]):
    content = bytearray(_WHOLE)
    for place, byte in changes:
        content[place] = byte
    path = tmp_path / "corrupt.elf"
    path.write_bytes(content)
    with contextlib.suppress(LayoutError):
        found = cache.load(path, ("tinyos",), tmp_path / "cache")
        assert all(isinstance(static, Static) for static in found.statics.values())
