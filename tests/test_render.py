"""Numbers, gauges and gaps as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics
from gdbplugin.render import Style, indented, table, unit_of


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1100, "1,100 B"),
        (4096, "4 KiB"),
        (40960, "40 KiB"),
        (1 << 20, "1 MiB"),
        (3 << 19, "1.5 MiB"),
        ((1 << 20) + 4096, "1,028 KiB"),
        (128 << 20, "128 MiB"),
        (2 << 30, "2 GiB"),
        (None, "—"),
    ],
)
def test_sizes(number, text):
    assert Style().size(number) == text


@given(st.integers(0, 1 << 62))
def test_sizes_are_exact(number):
    shown, unit = Style().size(number).split()
    power = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB").index(unit)
    whole, _, tenths = shown.replace(",", "").partition(".")
    assert int(whole + (tenths or "0")) * 1024**power == number * 10


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "......"),
        (10, 10, "######"),
        (5, 10, "###..."),
        (1, 10_000, "#....."),
        (9_999, 10_000, "#####."),
        (20, 10, "######"),
        (None, 10, "-"),
        (1, 0, "-"),
        (1, None, "-"),
    ],
)
def test_gauges_are_empty_only_for_nothing_and_full_only_for_all(part, whole, text):
    assert Style("ascii").gauge(part, whole, 6) == text


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("src/main.rs", " at src/main.rs:7"),
        ("/home/me/kernel/src/main.rs", " at /home/me/kernel/src/main.rs:7"),
        (
            "/home/me/.cargo/registry/src/index.crates.io-1949/aarch64-cpu-10.0.0/src/a.rs",
            " at aarch64-cpu-10.0.0/src/a.rs:7",
        ),
        ("/rustc/29483883/library/core/src/ptr/mod.rs", " at library/core/src/ptr/mod.rs:7"),
        (None, ""),
    ],
)
def test_a_source_file_is_named_from_its_crate_on(file, text):
    assert Style().source(file, 7) == text


def test_the_encoding_decides_the_characters():
    assert Style("utf-8").gauge(1, 2, 4) == "██░░"
    assert Style("ANSI_X3.4-1968").gauge(1, 2, 4) == "##.."
    assert Style("no such encoding").missing == "-"
    assert Style("utf-8").missing == "—"


def test_numbers():
    style = Style()
    assert style.count(1234567) == "1,234,567"
    assert style.address(0x4000) == "0x4000"
    assert style.text("Low") == "Low"
    assert [style.count(None), style.address(None), style.text(None)] == ["—"] * 3


def test_tables_align_and_end_without_blanks():
    lines = table(("name", "size"), [("a", "10"), ("long", "5")], ("size",)).splitlines()
    assert lines[2:] == ["a       10", "long     5"]
    assert indented("a\n\nb") == "  a\n\n  b"


HEADERS, ROWS = ("id", "name", "seen"), [("1", "worker", "12 ms"), ("2", "a longer one", "7 ms")]


def test_a_column_that_is_not_there_is_not_left_out():
    found = table(("a", "bbb"), [("1", "222")], room=3, dispensable=("c", "bbb"))
    assert " ".join(found.split()) == "a - 1 (too narrow for: bbb)"


def test_a_table_leaves_out_what_there_is_no_room_for():
    whole = table(HEADERS, ROWS, ("seen",))
    assert whole == (
        "id  name           seen\n--  ------------  -----\n1   worker        12 ms\n2   a longer one   7 ms"
    )
    assert table(HEADERS, ROWS, ("seen",), room=23, dispensable=("seen", "id")) == whole
    assert table(HEADERS, ROWS, ("seen",), room=22, dispensable=("seen", "id")).splitlines() == [
        "id  name",
        "--  ------------",
        "1   worker",
        "2   a longer one",
        "(too narrow for: seen)",
    ]
    least = table(HEADERS, ROWS, room=5, dispensable=("seen", "id")).splitlines()
    assert least[0] == "name"
    assert " ".join(map(str.strip, least[4:])) == "(too narrow for: id, seen)"


def test_many_findings_are_counted_but_not_all_shown():
    diagnostics = Diagnostics(limit=50)
    for number in range(200):
        diagnostics.add_finding(f"page {number}", "mapped", "not mapped")
    diagnostics.add_finding("page 3", "mapped", "not mapped")
    lines = Style("ascii").diagnostics(Diagnosed(diagnostics=diagnostics)).splitlines()
    assert lines[0] == "Findings: 200"
    assert lines[-1] == "  and 180 more"
    assert len(diagnostics.findings) == 50


@pytest.mark.parametrize(
    ("field", "unit"),
    [
        ("base_address", "address"),
        ("instruction.address", "address"),
        ("stack_pointer", "address"),
        ("invalidations_by_address", ""),
        ("invalidations.by_address", ""),
        ("max_size", "bytes"),
        ("access_count", "count"),
        ("change.instructions", "place"),
        ("owner", ""),
        ("timestamp", ""),
    ],
)
def test_the_unit_of_a_field_is_in_its_name(field, unit):
    assert unit_of(field) == unit


def test_flexible_columns_become_several_lines_before_one_is_left_out():
    rows = [("1", "some words that are many", "2", "others"), ("22", "few", "3", "as many words as those")]
    headers = ("id", "said", "n", "heard")
    said = table(headers, rows, ("id", "n"), room=43, dispensable=("heard", "n"), flexible=("said", "heard"))
    assert said.splitlines() == [
        "id  said             n  heard",
        "--  ---------------  -  ----------------",
        " 1  some words that  2  others",
        "    are many",
        "22  few              3  as many words as",
        "                        those",
    ]
    assert "(too narrow for: heard)" in table(
        headers, rows, ("id", "n"), room=30, dispensable=("heard", "n"), flexible=("said", "heard")
    )


@given(st.lists(st.tuples(*[st.text("ab ", max_size=30)] * 3), min_size=1, max_size=4), st.integers(10, 100))
def test_flexible_columns_keep_every_word_and_fit_where_they_can(rows, room):
    said = table(("a", "b", "c"), rows, room=room, flexible=("a", "b", "c"))
    for row in rows:
        assert sum(len(cell.split()) for cell in row) <= len(said.split())
    words = sum(len(cell.split()) for row in rows for cell in row)
    assert len(said.split()) == words + 6
    least = [max(16, *(len(word) for row in rows for word in row[place].split(" "))) for place in range(3)]
    if sum(least) + 4 <= room:
        assert max(map(len, said.splitlines())) <= room
