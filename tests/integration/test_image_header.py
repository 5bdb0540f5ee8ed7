"""The arm64 header of kernel8.img, by which boot loaders place the image (Linux, arch/arm64/booting.rst)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import pytest

from gdbplugin.layout.elf import ElfImage, read_image

_HEADER = struct.Struct("<IIQQQQQQ4sI")
_BRANCH = 0x1400_0000  # B (DDI 0487, C6.2)
_PAGES_OF_4_KIB = 1 << 1
_BIG_ENDIAN, _ANYWHERE = 1 << 0, 1 << 3
_ALIGNMENT = 2 << 20


class Header(NamedTuple):
    """The fields by the names that Linux's documentation gives them."""

    code0: int
    code1: int
    text_offset: int
    image_size: int
    flags: int
    res2: int
    res3: int
    res4: int
    magic: bytes
    res5: int


@pytest.fixture(scope="module")
def header(kernel_image: Path) -> Header:
    """The header of the image."""
    assert _HEADER.size == 64
    return Header(*_HEADER.unpack(kernel_image.read_bytes()[:64]))


@pytest.fixture(scope="module")
def image(kernel_elf: Path) -> ElfImage:
    """What the ELF has the loader put where."""
    return read_image(kernel_elf)


def test_it_is_an_arm64_image(header: Header) -> None:
    assert header.magic == b"ARM\x64"
    assert header.image_size
    assert (header.res2, header.res3, header.res4, header.res5) == (0, 0, 0, 0)


def test_it_begins_with_a_branch_over_the_header(header: Header, image: ElfImage) -> None:
    assert header.code0 & ~0x03FF_FFFF == _BRANCH
    assert header.code0 & 0x03FF_FFFF == 64 // 4
    # The ELF is entered there too, so that both ways lead through the same code.
    assert image.entry == min(segment.physical for segment in image.segments)


def test_a_loader_puts_it_where_it_is_linked(header: Header, image: ElfImage) -> None:
    """RAM begins at 0, which the flags ask for: the image runs nowhere else."""
    assert not header.flags & _ANYWHERE
    assert header.text_offset == min(segment.physical for segment in image.segments)
    assert header.text_offset < _ALIGNMENT


def test_its_size_has_what_the_image_file_leaves_out(
    header: Header, image: ElfImage, kernel_image: Path
) -> None:
    end = max(segment.physical + segment.memory_size for segment in image.segments)
    assert header.text_offset + header.image_size == end
    assert header.image_size > kernel_image.stat().st_size


def test_its_flags_are_the_kernels(header: Header) -> None:
    assert header.flags == _PAGES_OF_4_KIB
    assert not header.flags & _BIG_ENDIAN
