"""Functions and lines of a program: the tables, and files that are damaged."""

import random
import time

from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.layout.code import CodeMap, CodePlace, CodeTables
from gdbplugin.layout.code_reader import read_code


def test_an_address_belongs_to_the_function_that_starts_last():
    tables = CodeTables()
    outer, inner = tables.number("outer"), tables.number("inner")
    tables.functions += [[0x100, 0x200, 0x100, outer], [0x140, 0x150, 0x140, inner]]
    tables.sort()
    code = CodeMap(tables)
    assert [code.function(address).name for address in (0x100, 0x140, 0x14F, 0x150)] == [
        "outer",
        "inner",
        "inner",
        "outer",
    ]
    assert code.function(0xFF) is code.function(0x200) is None
    assert code.places(0x104) == (CodePlace("outer", 4, None, None),)


def test_a_sequence_may_start_where_another_ends():
    tables = CodeTables()
    name, file = tables.number("function"), tables.number("a.rs")
    tables.functions.append([0x100, 0x140, 0x100, name])
    # The second sequence comes first in the file.
    tables.addresses += [0x120, 0x140, 0x100, 0x120]
    tables.files += [file] * 4
    tables.lines += [7, 0, 5, 0]
    tables.sort()
    lines = [CodeMap(tables).places(address)[0].line for address in (0x100, 0x11C, 0x120, 0x13C)]
    assert lines == [5, 5, 7, 7]


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 50)), max_size=30), st.integers(0, 1100))
def test_no_address_has_a_function_that_it_is_not_in(ranges, address):
    tables = CodeTables()
    for start, size in ranges:
        tables.functions.append([start, start + size, start, tables.number(f"f{start}")])
    tables.sort()
    found = CodeMap(tables).function(address)
    assert found is None or found.start <= address < found.end


def test_a_damaged_file_gives_part_of_a_map_and_a_reason(shapes, tmp_path):
    numbers = random.Random(20_261_129)
    whole = shapes.read_bytes()
    began, damaged = time.monotonic(), 0
    path = tmp_path / "damaged"
    while time.monotonic() - began < 4 and damaged < 60:
        content = bytearray(whole)
        for _ in range(numbers.choice((1, 20, 400))):
            content[numbers.randrange(64, len(content))] = numbers.randrange(256)
        path.write_bytes(content if numbers.random() < 0.8 else content[: numbers.randrange(len(content))])
        code = read_code(path)
        assert all("\n" not in problem for problem in code.problems)
        damaged += 1
    assert damaged
