"""ELF cores written and read: memory, threads, damage; and what stock GDB sees."""

import contextlib
import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.dump.core_file import Contents, CoreFile, DumpError, Segment, Thread, data_of, write_core
from gdbplugin.dump.foreign import open_dump
from gdbplugin.dump.machine import DumpMachine
from gdbplugin.machine import PhysicalReadError

SIZE = 1 << 20
PAGE = 4096
REGISTERS = tuple(range(100, 134))


def contents(**changes):
    information = {"format": 1, "cores": [{"X0": 7, "TTBR0_EL1": 1 << 63}, {"X0": 8}]}
    threads = (Thread(1, REGISTERS), Thread(2, REGISTERS[::-1]))
    segments = (Segment(0xFFFF_0000_0000_0000, 0, SIZE), Segment(0x40_0000, 0x3000, 0x2000))
    values = {"threads": threads, "segments": segments, "information": information, "memory_size": SIZE}
    values["ranges"] = ((0, changes.get("memory_size", SIZE)),)
    return Contents(**{**values, **changes})


def written(path, memory, made=None):
    with path.open("wb") as file:
        write_core(file, made or contents(), memory)
    return CoreFile(path)


pages = st.dictionaries(
    st.integers(0, SIZE // PAGE - 1), st.binary(min_size=1, max_size=PAGE), max_size=20
).map(lambda found: {number: data.ljust(PAGE, b"\0") for number, data in found.items()})


@settings(max_examples=50)
@given(pages, st.integers(0, SIZE - 1), st.integers(1, 3 * PAGE))
def test_memory_is_read_as_it_was(tmp_path_factory, pages, address, length):
    path = tmp_path_factory.mktemp("core") / "core"
    core = written(path, ((number * PAGE, data) for number, data in pages.items()))
    whole = bytearray(SIZE)
    for number, data in pages.items():
        whole[number * PAGE : (number + 1) * PAGE] = data
    length = min(length, SIZE - address)
    assert core.read(address, length) == whole[address : address + length]
    assert core.information == contents().information
    assert core.threads == [Thread(*one) for one in contents().threads]
    core.close()


def test_zeros_take_no_space(tmp_path):
    path = tmp_path / "core"
    size = 2 << 30
    made = contents(memory_size=size, segments=())
    written(path, [(0, bytes(1 << 20)), (size - PAGE, b"\1" * PAGE)], made).close()
    assert path.stat().st_size > size
    assert path.stat().st_blocks * 512 < 100_000


def test_memory_beyond_the_end_is_an_error(tmp_path):
    core = written(tmp_path / "core", [])
    with pytest.raises(PhysicalReadError, match="the dump has no such memory"):
        core.read(SIZE - 4, 8)


def test_more_segments_than_16_bits_count(tmp_path):
    segments = tuple(Segment(0x1000_0000 + 2 * PAGE * n, PAGE * (n % 256), PAGE) for n in range(70_000))
    core = written(tmp_path / "core", [(0x5000, b"x" * PAGE)], contents(segments=segments))
    assert core.read(0x5000, 4) == b"xxxx"
    found = subprocess.run(
        ["readelf", "-lW", tmp_path / "core"], capture_output=True, text=True, check=False
    ).stdout
    assert found.count(" LOAD ") == 70_001


def test_readelf_understands_it(tmp_path):
    written(tmp_path / "core", []).close()
    found = subprocess.run(
        ["readelf", "-hlnW", tmp_path / "core"], capture_output=True, text=True, check=False
    )
    assert found.stderr == ""
    assert "CORE (Core file)" in found.stdout
    assert found.stdout.count("NT_PRSTATUS") == 2
    assert "TinyOS" in found.stdout


def test_registers_come_from_the_note(tmp_path):
    written(tmp_path / "core", []).close()
    machine = DumpMachine(tmp_path / "core")
    assert list(machine.cores) == [0, 1]
    assert [machine.register(name, 0) for name in ("X0", "TTBR0_EL1", "X9")] == [7, 1 << 63, None]
    assert machine.register("X0", 2) is None
    assert [machine.core_of(number) for number in (1, 2, 1000)] == [0, 1, 0]


def test_a_core_without_the_note_has_general_registers(tmp_path):
    written(tmp_path / "core", [], contents(information={})).close()
    with pytest.raises(DumpError, match=r"is not a dump of tinyos-gdb, .*: open it by `tinyos open "):
        DumpMachine(tmp_path / "core")
    described, file = open_dump(tmp_path / "core", {"TTBR1_EL1": 3}, None)
    machine = DumpMachine(Path(f"/proc/self/fd/{file.fileno()}"))
    assert (described.kind, described.cores, list(machine.cores)) == ("ELF core", 2, [0, 1])
    assert machine.register("X1", 0) == 101
    assert machine.register("PC", 1) == REGISTERS[::-1][32]
    assert machine.register("TTBR1_EL1", 1) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:40], "is not a 64-bit little-endian ELF file"),
        (lambda data: b"x" + data[1:], "is not a 64-bit little-endian ELF file"),
        (lambda data: data[:16] + b"\2\0" + data[18:], "is not a core of an AArch64 machine"),
        (lambda data: data[:18] + b"\x3e\0" + data[20:], "is not a core of an AArch64 machine"),
        (lambda data: data[:100], "its program headers are cut off"),
        (lambda data: data[:54] + struct.pack("<H", 8) + data[56:], "program headers of 8 bytes, not 56"),
    ],
)
def test_another_file_is_refused(tmp_path, change, said):
    path = tmp_path / "core"
    written(path, []).close()
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DumpError, match=said):
        CoreFile(path)


def test_no_damage_gives_a_traceback(tmp_path):
    numbers = random.Random(20_261_129)
    path = tmp_path / "core"
    written(path, [(0x3000, b"\5" * PAGE)]).close()
    whole = path.read_bytes()
    opened = 0
    for _ in range(1500):
        data = bytearray(whole[:0x6000])
        for _ in range(numbers.choice((1, 3, 30))):
            data[numbers.randrange(0x1000)] = numbers.randrange(256)
        path.write_bytes(data[: numbers.randrange(len(data))] if numbers.random() < 0.3 else data)
        try:
            machine = DumpMachine(path)
        except DumpError:
            continue
        opened += 1
        for core in [*machine.cores, 9]:
            for name in ("X0", "PC", "TTBR0_EL1"):
                assert machine.register(name, core) is None or machine.register(name, core) >= 0
        for address in (0, 0x3000, SIZE, 1 << 63):
            with contextlib.suppress(PhysicalReadError):
                assert len(machine.read_physical(address, 64)) == 64
        machine.file.close()
    assert opened > 200


def test_the_data_of_a_sparse_file_are_all_that_was_written(tmp_path):
    size = 40 << 20
    numbers = random.Random(20_261_129)
    with (tmp_path / "ram").open("w+b") as file:
        file.truncate(size)
        for _ in range(100):
            file.seek(numbers.randrange(0, size - 8192))
            file.write(numbers.randbytes(numbers.randrange(8192)))
        file.flush()
        whole = bytearray(size)
        for offset, data in data_of(file.fileno(), size):
            assert 0 < len(data) <= 1 << 20
            whole[offset : offset + len(data)] = data
        file.seek(0)
        assert whole == file.read()
