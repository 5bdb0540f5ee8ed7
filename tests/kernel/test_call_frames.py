"""Call frame information read from the kernel's ELF, whole and damaged."""

import random

from gdbplugin.aarch64.unwind import PROGRAM_COUNTER
from gdbplugin.kernel.call_frames import read_call_frames
from gdbplugin.layout import cache
from gdbplugin.layout.elf import read_sections


def test_every_function_of_the_kernel_has_rows(kernel_elf):
    table = read_call_frames(kernel_elf)
    code = cache.load_code(kernel_elf)
    functions = [
        row for row in code.tables.functions if code.tables.names[row[3]].startswith(("kernel::", "tinyos::"))
    ]
    assert len(functions) > 50
    for start, end, *_ in functions:
        for address in (start, (start + end) // 2 & ~3, end - 4):
            assert table.row(address) is not None, hex(address)
    assert table.problems == []
    assert table.row(0) is table.row(1 << 63) is None


def test_an_entry_of_an_exception_is_a_signal_frame(kernel_elf):
    code = cache.load_code(kernel_elf)
    (vectors,) = (row for row in code.tables.functions if code.tables.names[row[3]] == "exception_vectors")
    found = read_call_frames(kernel_elf).row(vectors[0] + 0x400 + 0x40)
    assert found is not None
    assert found.is_signal_frame
    assert found.return_column == PROGRAM_COUNTER


def test_damage_is_a_problem_and_no_traceback(kernel_elf, tmp_path):
    numbers = random.Random(20_261_129)
    section = read_sections(kernel_elf).find(".debug_frame")
    assert section is not None
    whole = kernel_elf.read_bytes()
    addresses = [row[0] for row in cache.load_code(kernel_elf).tables.functions]
    path, damaged = tmp_path / "damaged.elf", 0
    for _ in range(12):
        content = bytearray(whole)
        for _ in range(numbers.choice((1, 30, 1000))):
            content[section.offset + numbers.randrange(section.size)] = numbers.randrange(256)
        path.write_bytes(content)
        table = read_call_frames(path)
        for address in addresses:
            table.row(address)
        damaged += bool(table.problems)
        assert all("\n" not in problem for problem in table.problems)
    assert damaged


def test_a_file_that_is_none_is_a_problem(tmp_path):
    path = tmp_path / "none.elf"
    path.write_bytes(b"x" * 100)
    table = read_call_frames(path)
    assert not table
    assert table.problems == [f"{path} is not a 64-bit little-endian ELF file"]
