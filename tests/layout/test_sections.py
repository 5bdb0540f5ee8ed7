"""Sections are read with any compression; one that cannot be decompressed is named."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from gdbplugin.layout import cache, elf
from gdbplugin.layout.elf import ElfError, open_plain, read_sections
from gdbplugin.layout.types import LayoutError
from tests.elf_files import COMPRESSIONS, SHF_COMPRESSED, Section, changed, oddly_compressed, zstd_compressed
from tests.layout.assembled import elf_of

DATA = bytes(range(256)) * 40


@pytest.fixture
def file_of(tmp_path):
    """Writes a file of some sections."""

    def write(*given: Section) -> Path:
        path = tmp_path / "file.elf"
        path.write_bytes(elf_of(given))
        return path

    return write


@pytest.mark.parametrize("method", COMPRESSIONS)
@pytest.mark.parametrize("name", [".debug_info", ".debugger_marks"])
def test_a_section_is_decompressed(file_of, method, name):
    given = COMPRESSIONS[method](Section(name, DATA))
    assert len(given.data) < len(DATA)
    found = read_sections(file_of(Section(".text", b"code"), given, Section(".debug_str", b"one\0")))
    assert found.text(name) == DATA
    assert found.text(".debug_str") == b"one\0"


@pytest.mark.parametrize("method", COMPRESSIONS)
def test_a_plain_file_is_as_before_compression(file_of, method):
    plain = [Section(".text", b"code"), Section(".debug_info", DATA), Section(".debug_addr", b"few bytes")]
    path = file_of(*map(COMPRESSIONS[method], plain))
    with open_plain(path) as stream:
        found = {one.name: one.data() for one in ELFFile(stream).iter_sections()}
    assert {one.name: one.data for one in plain}.items() <= found.items()


def test_strings_that_begin_like_a_header_are_not_one(file_of):
    text = b"ZLIB_VERSION\0" + bytes(20)
    assert read_sections(file_of(Section(".debug_str", text))).text(".debug_str") == text


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("method", COMPRESSIONS)
def test_a_compressed_program_has_the_same_layout(shapes_of, tmp_path, version, method):
    program = shapes_of(f"-Cdwarf-version={version}")
    expected = cache.load(program, ("shapes",), tmp_path / "cache").statics
    assert "shapes::EVERYTHING" in expected
    path = tmp_path / "compressed"
    path.write_bytes(changed(program.read_bytes(), COMPRESSIONS[method]))
    # Another cache, so that the file is really read.
    assert cache.load(path, ("shapes",), tmp_path / "other").statics == expected


def test_both_versions_of_dwarf_describe_the_same_types(shapes_of, tmp_path):
    four, five = (
        cache.load(shapes_of(f"-Cdwarf-version={version}"), ("shapes",), tmp_path / str(version)).statics
        for version in (4, 5)
    )
    assert four.keys() == five.keys()
    for name, static in four.items():
        assert static.type == five[name].type


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("kind", ["packed", "unpacked"])
def test_the_compilers_split_debug_information_is_named(shapes_of, tmp_path, version, kind):
    program = shapes_of(f"-Cdwarf-version={version}", f"-Csplit-debuginfo={kind}")
    with pytest.raises(LayoutError, match=r"is split: part of it is in .*shapes\..*\.dwo, which"):
        cache.load(program, ("shapes",), tmp_path / "cache")


def _failure(path: Path) -> str:
    with pytest.raises(ElfError) as caught:
        read_sections(path).text(".debug_info")
    with pytest.raises(LayoutError) as at_load:
        cache.load(path, ("tinyos",), path.parent / "cache")
    assert str(at_load.value) == str(caught.value)
    assert f"section .debug_info of {path}" in str(caught.value)
    return str(caught.value)


def test_zstd_that_python_lacks_is_named(file_of, monkeypatch):
    def lacks(name):
        raise ImportError(name)

    path = file_of(zstd_compressed(Section(".debug_info", DATA)))
    monkeypatch.setattr(elf.importlib, "import_module", lacks)
    said = _failure(path)
    assert (
        "compressed with zstd, which this Python cannot decompress: install the package backports.zstd"
        in said
    )
    assert "objcopy --decompress-debug-sections" in said


def test_an_unknown_compression_is_named(file_of):
    said = _failure(file_of(oddly_compressed(Section(".debug_info", DATA))))
    assert "has unknown compression 9: decompress it" in said


@pytest.mark.parametrize("method", ["zlib", "zstd"])
def test_damaged_data_is_named(file_of, method):
    whole = COMPRESSIONS[method](Section(".debug_info", DATA))
    damaged = bytearray(whole.data)
    damaged[30:34] = bytes(4)
    assert "decompress" in _failure(file_of(replace(whole, data=bytes(damaged))))
    assert " instead of 10,240" in _failure(file_of(replace(whole, data=whole.data[: len(whole.data) // 2])))


def test_more_bytes_than_are_read_are_refused(file_of):
    header = struct.pack("<IIQQ", 1, 0, 1 << 40, 1)
    given = Section(".debug_info", header + zlib.compress(DATA), flags=SHF_COMPRESSED)
    assert "the limit is 1,073,741,824" in _failure(file_of(given))


def test_a_section_beyond_the_end_of_the_file_is_named(file_of):
    path = file_of(Section(".debug_info", DATA))
    content = bytearray(path.read_bytes())
    place = content.rindex(struct.pack("<QQ", 64, len(DATA)))
    struct.pack_into("<QQ", content, place, 64, 1 << 62)
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=r"truncated: its section \.debug_info should end at byte"):
        cache.load(path, ("tinyos",), path.parent / "cache")
