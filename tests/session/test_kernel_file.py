"""Which files are accepted as TinyOS's kernel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gdbplugin.session.errors import KernelUnusableError
from gdbplugin.session.kernel_file import MANAGER_SYMBOL, KernelFile
from tests.session import elfs


def test_the_kernel_is_accepted(kernel_elf: Path) -> None:
    kernel = KernelFile.open(kernel_elf)
    assert kernel.path == kernel_elf
    build_id = kernel.image.build_id
    assert build_id
    assert kernel.image.fingerprint()[1] == build_id, "the build-id is not loaded with the kernel"


def _refusal(path: Path) -> str:
    with pytest.raises(KernelUnusableError) as caught:
        KernelFile.open(path)
    message = caught.value.message
    assert "\n" not in message
    assert str(path) in message
    assert "scripts/build" in message
    return message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no kernel at" in _refusal(tmp_path / "kernel.elf")


def test_a_directory_is_not_a_kernel(tmp_path: Path) -> None:
    assert "Is a directory" in _refusal(tmp_path)


def test_another_kind_of_file_is_no_elf(tmp_path: Path) -> None:
    path = tmp_path / "kernel.elf"
    path.write_bytes(b"not an ELF at all")
    assert "is not a 64-bit little-endian ELF file" in _refusal(path)


def test_a_file_cut_short_is_refused(tmp_path: Path, kernel_elf: Path) -> None:
    path = tmp_path / "kernel.elf"
    path.write_bytes(kernel_elf.read_bytes()[:4000])
    _refusal(path)


def test_a_program_for_the_host_is_no_kernel(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(Path(sys.executable).resolve().read_bytes())
    assert "not an AArch64 ELF" in _refusal(path)


def test_a_stripped_kernel_is_called_stripped(tmp_path: Path, kernel_elf: Path) -> None:
    assert "is stripped" in _refusal(elfs.stripped(kernel_elf, tmp_path / "stripped.elf"))


def test_another_kernel_is_not_tinyos(tmp_path: Path, kernel_elf: Path) -> None:
    path = tmp_path / "other.elf"
    path.write_bytes(kernel_elf.read_bytes().replace(MANAGER_SYMBOL, b"X" * len(MANAGER_SYMBOL)))
    assert "is not TinyOS" in _refusal(path)
