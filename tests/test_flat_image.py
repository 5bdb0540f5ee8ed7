"""The flat image of an ELF: what stands where in it, and which ELFs it refuses."""

import importlib.util
import struct
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "lib" / "flat_image.py"
specification = importlib.util.spec_from_file_location("flat_image", SCRIPT)
assert specification is not None
assert specification.loader is not None
flat_image = importlib.util.module_from_spec(specification)
specification.loader.exec_module(flat_image)

KERNEL_BASE = 0xFFFF_0000_0000_0000
PT_LOAD, PT_NOTE = 1, 4


def elf(*segments: tuple[int, int, bytes, int]) -> bytes:
    """An AArch64 ELF of segments (type, physical address, file contents, size in memory)."""
    header_size, program_header_size = 64, 56
    offset = header_size + program_header_size * len(segments)
    headers, contents = b"", b""
    for kind, physical, data, memory_size in segments:
        headers += struct.pack(
            "<IIQQQQQQ",
            kind,
            7,
            offset + len(contents),
            (KERNEL_BASE + physical) % 2**64,
            physical,
            len(data),
            memory_size,
            1,
        )
        contents += data
    identification = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack(
        "<HHIQQQIHHHHHH",
        2,
        183,
        1,
        0x80000,
        header_size,
        0,
        0,
        64,
        program_header_size,
        len(segments),
        64,
        0,
        0,
    )
    return identification + header + headers + contents


def image_of(tmp_path: Path, contents: bytes) -> bytes:
    (tmp_path / "kernel.elf").write_bytes(contents)
    flat_image.write_image(tmp_path / "kernel.elf", tmp_path / "kernel8.img")
    return (tmp_path / "kernel8.img").read_bytes()


def test_segments_are_at_their_physical_addresses(tmp_path: Path) -> None:
    contents = elf((PT_LOAD, 0x80010, b"data", 4), (PT_LOAD, 0x80000, b"code", 4))
    assert image_of(tmp_path, contents) == b"code" + bytes(12) + b"data"


def test_bss_and_other_segments_are_left_out(tmp_path: Path) -> None:
    contents = elf(
        (PT_LOAD, 0x80000, b"code", 4096), (PT_NOTE, 0x80000, b"note", 4), (PT_LOAD, 0x90000, b"", 65536)
    )
    assert image_of(tmp_path, contents) == b"code"


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (elf((PT_NOTE, 0x80000, b"note", 4)), "no loadable segment"),
        (elf((PT_LOAD, 0x40000, b"code", 4)), "at physical 0x40000, not at 0x80000"),
        (elf((PT_LOAD, 0x80000, b"code", 4), (PT_LOAD, 0x80003, b"data", 4)), "overlap at physical 0x80003"),
        (elf((PT_LOAD, 0x80000, b"code", 4), (PT_LOAD, KERNEL_BASE, b"data", 4)), "beyond 64 MiB"),
        (b"no ELF at all", "Magic number does not match"),
    ],
)
def test_an_elf_without_a_flat_image_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], contents: bytes, reason: str
) -> None:
    (tmp_path / "kernel.elf").write_bytes(contents)
    assert flat_image.main([str(tmp_path / "kernel.elf"), str(tmp_path / "kernel8.img")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert reason in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "kernel8.img").exists()


def test_an_equal_image_keeps_its_file(tmp_path: Path) -> None:
    contents = elf((PT_LOAD, 0x80000, b"code", 4))
    image_of(tmp_path, contents)
    before = (tmp_path / "kernel8.img").stat()
    image_of(tmp_path, contents)
    assert (tmp_path / "kernel8.img").stat().st_ino == before.st_ino
    assert (tmp_path / "kernel8.img").stat().st_mtime_ns == before.st_mtime_ns


def test_a_missing_elf_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flat_image.main([str(tmp_path / "none.elf"), str(tmp_path / "kernel8.img")]) == 1
    assert "none.elf" in capsys.readouterr().err
