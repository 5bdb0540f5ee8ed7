"""Kernels that a test has damaged."""

from __future__ import annotations

import struct
from pathlib import Path

from gdbplugin.layout.elf import read_image

_SECTION_HEADER_OFFSET = 0x28  # e_shoff of an ELF64 header
_SECTION_HEADER_COUNT = 0x3C  # e_shnum, then e_shstrndx


def stripped(elf: Path, path: Path) -> Path:
    """A copy without sections: what runs is unchanged, but there are no symbols and no debug information."""
    content = bytearray(elf.read_bytes())
    struct.pack_into("<Q", content, _SECTION_HEADER_OFFSET, 0)
    struct.pack_into("<HH", content, _SECTION_HEADER_COUNT, 0, 0)
    path.write_bytes(content)
    return path


def of_another_build(elf: Path, path: Path) -> Path:
    """A copy with another build-id."""
    build_id = read_image(elf).build_id
    assert build_id
    path.write_bytes(elf.read_bytes().replace(build_id, bytes(byte ^ 0xFF for byte in build_id)))
    return path
