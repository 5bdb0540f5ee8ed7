"""The reader of the shell's answers, on answers as they stand in the kernel's own tests."""

from __future__ import annotations

import pytest

from tests.integration.answers import figures, table, value

_LAZY = """\
reserved_pages: 514 (2056 KiB)
zero_frame: 0x8000000
   range task   pages       size pending    zero allocated   accesses
0x200000000000    3     512      2 MiB     498      10         4         24
0x200000200000    4       2      8 KiB       2       0         0          0
rows not shown: 3
           run task   pages       size state
0x200000000000    3      10     40 KiB pending
"""
_PRESSURE = """\
level     enter_below  leave_at  events
Low                 -         -       1
Medium          16384     18022       2
strategy               runs  last_won   total_won    skips  backoff unit
Cache Optimization        3         0         120        1        2 frames
Defragmentation           1       100         100        0        0 frames of the longest free run
[dynamic stacks]
"""


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("0x8000000", 0x800_0000),
        ("12 KiB", 12288),
        ("1.5 MiB", 1572864),
        ("514 (2056 KiB)", 514),
        ("Low", "Low"),
        ("[##--]", "[##--]"),
    ],
)
def test_values_are_numbers_where_they_are(text: str, number: int | str) -> None:
    assert value(text) == number


def test_a_size_that_does_not_fit_its_count_is_caught() -> None:
    with pytest.raises(AssertionError, match="is wrong"):
        value("514 (2060 KiB)")


def test_figures_are_found_between_tables() -> None:
    assert figures(_LAZY) == {"reserved_pages": 514, "zero_frame": 0x800_0000, "rows not shown": 3}


def test_tables_are_read_by_their_headers() -> None:
    ranges = table(_LAZY, "range")
    assert [row["range"] for row in ranges] == [0x2000_0000_0000, 0x2000_0020_0000]
    assert ranges[0]["size"] == 2 * 1024 * 1024
    assert ranges[1]["accesses"] == 0
    (run,) = table(_LAZY, "run")
    assert (run["size"], run["state"]) == (40960, "pending")


def test_names_of_two_words_are_one_value() -> None:
    assert [row["enter_below"] for row in table(_PRESSURE, "level")] == ["-", 16384]
    strategies = table(_PRESSURE, "strategy")
    assert [row["strategy"] for row in strategies] == ["Cache Optimization", "Defragmentation"]
    assert [row["total_won"] for row in strategies] == [120, 100]
    assert strategies[1]["unit"] == "frames of the longest free run"


def test_a_missing_table_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no table of stack"):
        table(_LAZY, "stack")
