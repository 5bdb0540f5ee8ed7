"""Functions and lines of the kernel's instructions, compared with what GDB reads from the same DWARF."""

import json
import random
from pathlib import Path

import pytest

from gdbplugin.layout import cache
from tests.debugger.conftest import gdb

SCRIPT = Path(__file__).with_name("inside_code.py")


@pytest.fixture(scope="module")
def compared(kernel_elf):
    """Of random instructions: GDB's line, file and functions, then the places of the code map."""
    code = cache.load_code(kernel_elf)
    assert code.problems == ()
    numbers = random.Random(20_261_129)
    functions = [row for row in code.tables.functions if row[0] >> 40]
    chosen = (numbers.choice(functions) for _ in range(1500))
    addresses = [numbers.randrange(start, end, 4) for start, end, *_ in chosen]
    outcome = gdb(f"python addresses = {addresses}", f"source {SCRIPT}", elf=kernel_elf)
    assert outcome.errors == ""
    found = json.loads(outcome.output.splitlines()[-1])
    return [(*row, code.places(address)) for row, address in zip(found, addresses, strict=True)]


def bare(name):
    """A function's name without modules and type parameters."""
    return name.partition("<")[0].rpartition("::")[2]


def test_each_instruction_has_gdbs_line_and_file(compared):
    known = [row for row in compared if row[0]]
    assert [row for row in known if row[0] != row[3][0].line] == []
    assert [row for row in known if Path(row[1]).name != Path(row[3][0].file).name] == []
    assert [row for row in compared if not row[0] and row[3] and row[3][0].line] == []
    assert len(known) > 1000


def test_each_instruction_has_gdbs_functions(compared):
    known = [row for row in compared if row[2]]
    assert [
        row for row in known if [bare(name) for name in row[2]] != [bare(place.function) for place in row[3]]
    ] == []
    assert sum(len(row[2]) > 1 for row in known) > 300


def test_a_code_map_is_the_same_from_the_cache(kernel_elf, tmp_path):
    first = cache.load_code(kernel_elf, tmp_path)
    (kept,) = tmp_path.iterdir()
    again = cache.load_code(kernel_elf, tmp_path)
    assert again.tables.to_json() == first.tables.to_json()
    address = first.tables.functions[-1][0]
    assert again.places(address) == first.places(address) != ()
    kept.write_text(kept.read_text()[:-100])
    assert cache.load_code(kernel_elf, tmp_path).tables.to_json() == first.tables.to_json()
