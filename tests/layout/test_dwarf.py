"""Layouts from DWARF, and values decoded by them, of a program with every kind of type."""

import json
import struct

import pytest

from gdbplugin.layout import cache
from gdbplugin.layout.decode import Columns, Invalid, presence, value
from gdbplugin.layout.elf import ElfError, read_image
from gdbplugin.layout.types import (
    Array,
    Enumeration,
    Field,
    LayoutError,
    Opaque,
    Option,
    Scalar,
    Struct,
    locate,
    locate_path,
    unwrap,
)


@pytest.fixture(scope="module")
def layout(shapes, tmp_path_factory):
    return cache.load(shapes, ("shapes",), tmp_path_factory.mktemp("cache"))


def loaded(program, address, size):
    """The bytes that the file loads at a virtual address."""
    for segment in read_image(program).segments:
        offset = address - segment.virtual
        if 0 <= offset < segment.file_size:
            data = program.read_bytes()[segment.offset + offset :]
            return data[:size]
    raise AssertionError(f"{address:#x} is not loaded from the file")


@pytest.fixture(scope="module")
def everything(layout, shapes):
    static = layout.static("shapes::EVERYTHING")
    return value(static.type, loaded(shapes, static.address, static.type.size))["value"]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("byte", 200),
        ("niche_none", None),
        ("niche_some", 9),
        ("policy_none", None),
        ("policy_some", "High"),
        ("tagged_none", None),
        ("tagged_some", 77),
        ("policies", ["Low", "High", "Low"]),
        ("uninit", 4),
        ("tuple", {"__0": 1, "__1": 2}),
        ("point", None),
        ("line", None),
        ("rectangle", None),
        ("nested_none", None),
        ("nested_some", None),
        ("signed", "Minus"),
        ("flag", True),
        ("letter", ord("x")),
        ("float", 1.5),
        ("negative", -7),
        ("matrix", [[1, 2], [3, 4], [5, 6]]),
        ("good", None),
        ("bad", None),
        ("huge", 1 << 100),
        ("atomic", 42),
        ("name", b"abcd"),
    ],
)
def test_each_shape_is_decoded(everything, field, expected):
    assert everything[field] == expected


def test_wrappers_are_seen_through_by_shape(layout):
    static = layout.static("shapes::EVERYTHING")
    direct = locate_path(static.type, "value.tuple.__1")
    through = locate_path(static.type, "tuple.__1")
    assert (through.offset, through.type.name) == (direct.offset, "u32")
    locked = layout.static("shapes::deep::LOCKED")
    assert locate(locked.type, "absent") is None
    inner = unwrap(locate(locked.type, "data").type)
    assert isinstance(inner, Array)
    assert inner.count == 4


def test_a_static_is_found_by_its_last_name_if_only_one_has_it(layout):
    assert layout.static("elsewhere::EVERYTHING") == layout.static("shapes::EVERYTHING")
    assert layout.static("shapes::ABSENT") is None


def test_impossible_values_are_invalid():
    policy = Enumeration("Policy", 1, False, ((0, "Low"), (3, "High")))
    assert value(policy, b"\x07") == Invalid(7, "one of Low, High")
    assert value(Scalar("bool", 1, "boolean"), b"\x02") == Invalid(2, "0 or 1")


def test_an_option_without_either_number_is_invalid(layout):
    option = locate_path(layout.static("shapes::EVERYTHING").type, "tagged_some").type
    assert isinstance(option, Option)
    assert (option.none, option.some) == (0, 1)
    ones = b"\xff" * option.size
    expected = Invalid((1 << 8 * option.discriminant.type.size) - 1, "one of None, Some")
    assert value(option, ones) == presence(option, ones) == expected


def test_a_niche_stands_for_none(layout):
    option = locate_path(layout.static("shapes::EVERYTHING").type, "policy_some").type
    assert option.some is None
    assert presence(option, bytes([option.none])) is False
    assert presence(option, b"\3") is True
    assert value(option, b"\7") == Invalid(7, "one of Low, High")


@pytest.mark.parametrize(
    ("field", "name"), [("point", "shapes::Shape"), ("good", "core::result::Result<u8, shapes::Policy>")]
)
def test_another_enum_with_payloads_is_opaque(layout, field, name):
    type_ = locate_path(layout.static("shapes::EVERYTHING").type, field).type
    assert type_ == Opaque(name, type_.size)
    assert type_.size > 0
    inside = locate_path(layout.static("shapes::EVERYTHING").type, "nested_some").type
    assert isinstance(inside, Option)
    assert inside.value.type.name == "shapes::Shape"


@pytest.mark.parametrize("kernel", ["kernel_elf", "dwarf5_elf", "design_elf", "variant_elf"])
def test_no_kernel_has_an_enum_that_is_not_decoded(request, kernel, tmp_path):
    found = cache.load(request.getfixturevalue(kernel), None, tmp_path)
    assert found.statics
    assert found.problems == ()
    assert [name for static in found.statics.values() for name in opaque_in(static.type)] == []


def opaque_in(type_):
    """The names of the types in a type that are not decoded."""
    if isinstance(type_, Opaque):
        return [type_.name]
    if isinstance(type_, Array):
        return opaque_in(type_.element)
    if isinstance(type_, Option):
        return opaque_in(type_.value.type)
    fields = type_.fields if isinstance(type_, Struct) else ()
    return [name for field in fields for name in opaque_in(field.type)]


def test_too_little_data_is_an_error():
    with pytest.raises(struct.error):
        value(Scalar("u64", 8, "unsigned"), b"1234")
    with pytest.raises(struct.error):
        value(Scalar("u128", 16, "unsigned"), b"1234")


def test_the_cache_gives_back_what_was_parsed(shapes, layout, tmp_path):
    first = cache.load(shapes, ("shapes",), tmp_path)
    (kept,) = tmp_path.iterdir()
    assert read_image(shapes).build_id.hex() in kept.name
    second = cache.load(shapes, ("shapes",), tmp_path)
    assert first.statics == second.statics == layout.statics


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '{"types": [["scalar"]], "statics": []}', "\0"])
def test_a_broken_cache_entry_is_parsed_anew(shapes, layout, tmp_path, content):
    cache.load(shapes, ("shapes",), tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_text(content)
    assert cache.load(shapes, ("shapes",), tmp_path).statics == layout.statics
    assert json.loads(kept.read_text())["statics"]


def test_a_user_without_a_home_has_no_cache(shapes, layout, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # As it does without a home.
    assert cache.cache_directory() is None
    assert cache.load(shapes, ("shapes",)).statics == layout.statics


def test_a_cache_that_cannot_be_written_is_ignored(shapes, layout, tmp_path):
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    assert cache.load(shapes, ("shapes",), obstacle / "below").statics == layout.statics


def test_files_that_cannot_be_used_are_one_sentence(shapes, tmp_path):
    with pytest.raises(LayoutError, match="cannot read"):
        cache.load(tmp_path / "absent")
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(LayoutError, match="not a 64-bit little-endian ELF"):
        cache.load(script)
    truncated = tmp_path / "truncated"
    truncated.write_bytes(shapes.read_bytes()[:80])
    with pytest.raises(ElfError, match="truncated"):
        read_image(truncated)
    half = tmp_path / "half"
    half.write_bytes(shapes.read_bytes()[:200_000])
    with pytest.raises(LayoutError):
        cache.load(half, ("shapes",), tmp_path)


def test_a_stripped_file_is_an_error(stripped, tmp_path):
    with pytest.raises(LayoutError, match="no debug information"):
        cache.load(stripped, ("shapes",), tmp_path)


def test_columns_decode_as_values_do():
    row = Struct(
        "Row",
        16,
        (
            Field("a", 0, Scalar("u32", 4, "unsigned")),
            Field("flag", 4, Scalar("bool", 1, "boolean")),
            Field("kind", 5, Enumeration("Kind", 1, False, ((1, "One"),))),
            Field("b", 8, Scalar("i64", 8, "signed")),
        ),
    )
    data = struct.pack("<IBB2xq", 7, 1, 1, -3) + struct.pack("<IBB2xq", 8, 2, 9, 4) + b"rest"
    columns = Columns(row, ("b", "absent", "kind", "a", "flag"))
    assert columns.missing == ("absent",)
    assert columns.present == ("a", "flag", "kind", "b")
    assert columns.rows(data) == [(7, 1, 1, -3), (8, 2, 9, 4)]
    for name in columns.present:
        assert columns.column(name, data) == [row[columns.position(name)] for row in columns.rows(data)]
    assert columns.position("kind") == 2
    assert columns.position("absent") is None
    assert columns.convert["kind"](1) == "One"
    assert columns.convert["kind"](9) == Invalid(9, "one of One")
    assert columns.convert["flag"](2) == Invalid(2, "0 or 1")
    assert columns.convert["a"] is None


def test_a_column_of_unaligned_fields_is_decoded_too():
    row = Struct(
        "Row", 7, (Field("a", 0, Scalar("u8", 1, "unsigned")), Field("b", 1, Scalar("i32", 4, "signed")))
    )
    data = struct.pack("<Bi2x", 1, -2) + struct.pack("<Bi2x", 3, 4) + b"rest"
    columns = Columns(row, ("a", "b"))
    assert [columns.column(name, data) for name in ("a", "b")] == [[1, 3], [-2, 4]]
