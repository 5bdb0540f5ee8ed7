"""Dumps of others, without GDB: kdump files, copies of RAM, compressed ones, and damage to each."""

import contextlib
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.dump import compressed, foreign
from gdbplugin.dump.core_file import CoreFile, DumpError, write_core
from gdbplugin.dump.kdump import KdumpFile
from gdbplugin.dump.machine import DumpMachine
from gdbplugin.layout.elf import zstd_module
from gdbplugin.machine import PhysicalReadError, SelectionError
from tests.commands.forms import json_of, text_of
from tests.dump.kdumps import BLOCK, flattened, kdump
from tests.dump.test_core_file import PAGE, SIZE, contents
from tests.schemas.validation import validate

COUNT = 300
PAGES = st.dictionaries(st.integers(0, COUNT - 1), st.binary(max_size=BLOCK), max_size=40)


def whole(pages):
    """The memory that a dump of pages stands for."""
    memory = bytearray(COUNT * BLOCK)
    for number, data in pages.items():
        memory[number * BLOCK : number * BLOCK + len(data)] = data
    return bytes(memory)


def opened(data, name="dump"):
    """What a file with these bytes is taken for."""
    with tempfile.NamedTemporaryFile(prefix=name) as file:
        file.write(data)
        file.flush()
        return foreign.source_of(Path(file.name))[0]


def memory_of(source):
    """All of a dump's memory, by its parts."""
    found = bytearray(sum(source.ranges[-1]))
    for address, data in source.parts():
        found[address : address + len(data)] = data
    return bytes(found)


@settings(max_examples=60)
@given(PAGES, st.integers(0, COUNT * BLOCK - 1), st.integers(1, 3 * BLOCK), st.booleans(), st.booleans())
def test_a_kdump_file_is_read_as_it_was_written(pages, address, length, flat, plain):
    data = kdump(pages, COUNT, compress=None) if plain else kdump(pages, COUNT)
    source = opened(flattened(data) if flat else data)
    expected = whole(pages)
    length = min(length, len(expected) - address)
    assert isinstance(source, KdumpFile)
    assert source.read(address, length) == expected[address : address + length]
    assert memory_of(source) == expected


def test_a_kdump_file_of_larger_pages_is_read():
    pages = {0: b"first", 7: b"\1" * 16384}
    source = opened(kdump(pages, 16, block=16384))
    assert source.read(7 * 16384, 16384) == b"\1" * 16384
    assert source.ranges == ((0, 16 * 16384),)


def test_kdump_pages_compressed_with_zstd_are_read():
    data = kdump({3: b"third"}, COUNT, compress=zstd_module().compress, flag=0x20)
    assert opened(data).read(3 * BLOCK, 5) == b"third"


@pytest.mark.parametrize(("flag", "name"), [(2, "LZO"), (4, "snappy")])
def test_other_compressions_are_named(flag, name):
    source = opened(kdump({3: b"third"}, COUNT, flag=flag))
    with pytest.raises(DumpError, match=f"with {name}, which is not read here: write it with zlib"):
        memory_of(source)


def test_memory_beyond_the_end_is_not_read():
    for source in (opened(kdump({}, COUNT)), opened(bytes(COUNT * BLOCK))):
        with pytest.raises(PhysicalReadError, match="the dump has no such memory"):
            source.read(COUNT * BLOCK - 8, 16)


def test_anything_else_is_a_copy_of_ram():
    source = opened(b"\1" * PAGE + bytes(3 * PAGE))
    assert source.kind == "copy of RAM"
    assert memory_of(source) == b"\1" * PAGE + bytes(3 * PAGE)


def test_an_empty_file_is_none():
    with pytest.raises(DumpError, match="is not a dump: neither an ELF core nor a kdump"):
        opened(b"")


def test_a_compressed_dump_is_what_it_was(tmp_path):
    plain, packed = tmp_path / "dump", tmp_path / "dump.zst"
    memory = [(0x3000, b"\7" * PAGE), (SIZE - PAGE, b"\1" * PAGE)]
    with plain.open("wb") as file:
        write_core(file, contents(), memory)
    with packed.open("wb") as file:
        writer = compressed.ZstdWriter(file)
        write_core(writer, contents(), memory)
        writer.finish()
    again = compressed.decompressed(packed.open("rb"), packed)
    again.seek(0)
    assert again.read() == plain.read_bytes()
    assert packed.stat().st_size < 4096
    described, place = foreign.open_dump(packed, {}, None)
    assert (described.kind, described.cores, described.memory_size) == ("dump of tinyos-gdb", 2, SIZE)
    assert CoreFile(packed, place).read(0x3000, 4) == b"\7" * 4


def test_holes_stay_holes_when_a_dump_is_decompressed(tmp_path):
    packed = tmp_path / "ram.zst"
    with zstd_module().open(packed, "wb") as file:
        for _ in range(256):
            file.write(bytes(1 << 20))
    found = compressed.decompressed(packed.open("rb"), packed)
    assert os.fstat(found.fileno()).st_size == 256 << 20
    assert os.fstat(found.fileno()).st_blocks * 512 < 1 << 20


def test_given_registers_come_before_those_of_the_dump(tmp_path):
    path = tmp_path / "dump"
    with path.open("wb") as file:
        write_core(file, contents(), [])
    described, place = foreign.open_dump(path, {"TTBR0_EL1": 5, "TCR_EL1": 6}, None)
    assert described.given_registers == ("TTBR0_EL1", "TCR_EL1")
    machine = DumpMachine(Path(f"/proc/self/fd/{place.fileno()}"))
    assert [machine.register("TTBR0_EL1", core) for core in machine.cores] == [5, 5]
    assert machine.register("X0", 0) == 7


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("TTBR9_EL1=1", '"TTBR9_EL1" is not a register of a dump (some that are: SCTLR_EL1, '),
        ("TTBR1_EL1", '"TTBR1_EL1" is not NAME=VALUE with a number of at most 64 bits'),
        ("TTBR1_EL1=x", '"TTBR1_EL1=x" is not NAME=VALUE'),
        ("TTBR1_EL1=0x10000000000000000", "is not NAME=VALUE"),
        ("=1", '"" is not a register'),
    ],
)
def test_a_wrong_register_is_one_line(setting, said):
    with pytest.raises(SelectionError) as caught:
        foreign.given_registers([setting])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_registers_are_given_in_any_case():
    assert foreign.given_registers(["ttbr1_el1=0x10", "sp=7"]) == {"TTBR1_EL1": 16, "SP": 7}


def _damaged(random_, data):
    """Data cut, or with some bytes changed."""
    data = bytearray(data)
    if random_.random() < 0.3:
        return bytes(data[: random_.randrange(len(data))])
    for _ in range(random_.randrange(1, 8)):
        # Most damage where the headers and tables are.
        end = len(data) if random_.random() < 0.3 else min(len(data), 2 * BLOCK)
        data[random_.randrange(end)] = random_.choice((0, 1, 0x7F, 0xFF, random_.randrange(256)))
    return bytes(data)


def test_damaged_files_give_one_line_or_a_part(tmp_path):
    random_ = random.Random(1)
    plain = kdump({number: random_.randbytes(40) for number in range(0, COUNT, 7)}, COUNT, b"note" * 30)
    path = tmp_path / "dump"
    for original in (plain, flattened(plain), zstd_module().compress(plain)):
        for _ in range(700):
            path.write_bytes(_damaged(random_, original))
            with contextlib.suppress(DumpError, SelectionError):
                described, place = foreign.open_dump(path, {}, None)
                assert described.memory_size <= 1 << 40
                if place is not None:
                    place.close()


def test_the_end_of_the_console_is_shown_and_controls_no_terminal(tmp_path):
    path = tmp_path / "dump"
    information = {"cores": [{}], "console": "one\n" * 9 + "two\x1b[2J\ntinyos> "}
    with path.open("wb") as file:
        write_core(file, contents(information=information), [])
    described, _ = foreign.open_dump(path, {}, None)
    assert described.console == information["console"]
    text = text_of("open", described)
    assert text.splitlines()[-3:] == ["  one", "  two.[2J", "  tinyos>"]
    assert text.count("  one") == 3
    validate(json_of("open", described))
