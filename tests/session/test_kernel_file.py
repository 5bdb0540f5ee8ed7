"""Which files are accepted as TinyOS's kernel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gdbplugin.kernel.kernel import MANAGER
from gdbplugin.session import TinyOS
from gdbplugin.session.errors import KernelUnusableError
from gdbplugin.session.kernel_file import MANAGER_SYMBOL, KernelFile
from tests.elf_files import COMPRESSIONS, changed, debug_link, debug_only, stripped
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


@pytest.fixture
def pair(tmp_path: Path, dwarf5_elf: Path) -> Path:
    """A stripped kernel, with its debug file beside it."""
    debug = debug_only(dwarf5_elf.read_bytes())
    (tmp_path / "kernel.debug").write_bytes(debug)
    path = tmp_path / "kernel.elf"
    path.write_bytes(stripped(dwarf5_elf.read_bytes(), [debug_link("kernel.debug", debug)]))
    return path


def test_a_kernel_with_a_separate_debug_file_is_accepted(
    pair: Path, dwarf5_elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel, whole = KernelFile.open(pair), KernelFile.open(dwarf5_elf)
    assert (kernel.path, kernel.debug) == (pair, pair.with_name("kernel.debug"))
    assert kernel.image.fingerprint() == whole.image.fingerprint()
    assert kernel.probes == whole.probes
    manager = kernel.layout.static(MANAGER)
    assert manager is not None
    assert manager == whole.layout.static(MANAGER)


def test_a_kernel_with_a_separate_debug_file_boots(pair: Path) -> None:
    with TinyOS.boot(pair) as machine:
        event = machine.run_until("stack-growth", timeout=20)
        assert event.kind == "StackGrowth"
        assert "0 findings" in machine.gdb("tinyos check")
        assert not machine.check().findings


def test_a_missing_debug_file_is_named(pair: Path) -> None:
    pair.with_name("kernel.debug").unlink()
    said = _refusal(pair)
    assert "its debug file kernel.debug is missing: put it at one of " in said
    assert f" {pair.parent}/kernel.debug, {pair.parent}/.debug/kernel.debug" in said


def test_another_programs_debug_file_is_refused(pair: Path) -> None:
    debug = pair.with_name("kernel.debug")
    debug.write_bytes(debug.read_bytes() + b"x")
    assert f"{debug} does not belong to {pair}" in _refusal(pair)


def test_a_debug_file_without_tinyos_is_told(tmp_path: Path, dwarf5_elf: Path) -> None:
    other = debug_only(dwarf5_elf.read_bytes()).replace(MANAGER_SYMBOL, b"X" * len(MANAGER_SYMBOL))
    (tmp_path / "kernel.debug").write_bytes(other)
    path = tmp_path / "kernel.elf"
    path.write_bytes(stripped(dwarf5_elf.read_bytes(), [debug_link("kernel.debug", other)]))
    assert "is not TinyOS" in _refusal(path)


@pytest.mark.parametrize("method", COMPRESSIONS)
def test_a_compressed_kernel_has_the_same_probes(tmp_path: Path, kernel_elf: Path, method: str) -> None:
    path = tmp_path / "kernel.elf"
    path.write_bytes(changed(kernel_elf.read_bytes(), COMPRESSIONS[method]))
    assert KernelFile.open(path).probes == KernelFile.open(kernel_elf).probes
