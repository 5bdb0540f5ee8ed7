"""Finding programs: what serves of stand-ins on a PATH of their own, and how versions compare."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from gdbplugin import programs
from gdbplugin.programs import UnfitError, at_least, numbers_of
from tests.setup_sandbox import TOP, library

rust = library("rust")

numbers = st.lists(st.integers(0, 99), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@given(numbers, numbers)
def test_versions_compare_as_packaging_compares_them(have: str, minimum: str) -> None:
    assert at_least(have, minimum) == (Version(have) >= Version(minimum))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1:10.0.2+ds-2+deb13u1~bpo12+1", (10, 0, 2)),
        ("1.96.0+dfsg1-1~deb12u2", (1, 96, 0)),
        ("1.90.0-nightly", (1, 90, 0)),
        ("18.1-3", (18, 1)),
        ("(none)", ()),
        ("", ()),
    ],
)
def test_the_numbers_of_a_version(version: str, expected: tuple[int, ...]) -> None:
    assert numbers_of(version) == expected


def test_a_version_without_numbers_is_not_enough() -> None:
    assert not at_least("", "0")


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts an executable script in a folder; PATH is `first`, `second` and one that is missing."""
    monkeypatch.setenv("PATH", f"{tmp_path}/first:{tmp_path}/second:{tmp_path}/nowhere")

    def make(name: str, script: str = "", folder: str = "first") -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def test_a_later_program_of_the_same_name_may_serve(put: Callable[..., Path]) -> None:
    put("qemu-system-aarch64", "echo virt")
    good = put("qemu-system-aarch64", "echo 'raspi4b  Raspberry Pi 4B'", "second")
    assert programs.find_qemu() == str(good)


def test_every_program_that_does_not_serve_is_named(put: Callable[..., Path]) -> None:
    first = put("qemu-system-aarch64", '[ "$1" = -M ] && echo virt || echo QEMU emulator version 8.2.2')
    second = put("qemu-system-aarch64", "echo 'library missing' >&2; exit 127", "second")
    with pytest.raises(UnfitError) as caught:
        programs.find_qemu()
    assert str(caught.value) == (
        f"found {first}, which is 8.2.2 and has no machine raspi4b; "
        f"found {second}, but it does not run: library missing"
    )


def test_links_to_one_program_are_tried_once(put: Callable[..., Path], tmp_path: Path) -> None:
    program = put("cc", "exit 1")
    (tmp_path / "second").symlink_to(program.parent)
    (tmp_path / "first/cc-12").symlink_to(program)
    assert list(programs.on_path("cc", "cc-12")) == [str(program)]


def test_a_file_that_is_not_a_program_is_said(put: Callable[..., Path]) -> None:
    program = put("qemu-system-aarch64")
    program.write_bytes(b"\x7fELF nothing")
    with pytest.raises(UnfitError, match="but it does not run: Exec format error"):
        programs.find_qemu()


def test_a_program_that_never_answers_is_said(
    put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_TRIAL_SECONDS", 0.1)
    path = put("cc", "exec /bin/sleep 600")
    with pytest.raises(UnfitError, match=r"did not answer within 0\.1 s"):
        programs.run([str(path)], seconds=programs._TRIAL_SECONDS)


def test_the_newest_numbered_linker_comes_first(put: Callable[..., Path]) -> None:
    for name in ("ld.lld", "ld.lld-9", "ld.lld-21", "ld.lld-19", "ld.lldx", "ld.lld-x"):
        put(name)
    names = [Path(path).name for path in programs.on_path_numbered("ld.lld")]
    assert names == ["ld.lld-21", "ld.lld-19", "ld.lld-9", "ld.lld"]


def test_the_plain_cargo_may_come_first(put: Callable[..., Path]) -> None:
    for name in ("cargo", "cargo-1.85", "cargo-1.89", "cargo-clippy"):
        put(name)
    names = [Path(path).name for path in programs.on_path_numbered("cargo", plain_first=True)]
    assert names == ["cargo", "cargo-1.89", "cargo-1.85"]


def test_a_numbered_cargo_leads_to_its_toolchain(put: Callable[..., Path], tmp_path: Path) -> None:
    """As Ubuntu's: /usr/bin/cargo-1.89 is a link to /usr/lib/rust-1.89/bin/cargo."""
    rustc = f"""case $* in
        '--print sysroot') echo {tmp_path}/rust-1.89 ;;
        *) printf 'release: 1.89.0\\nhost: riscv64gc-unknown-linux-gnu\\n' ;;
    esac"""
    put("rustc", rustc, "rust-1.89/bin")
    cargo = put("cargo", "", "rust-1.89/bin")
    (tmp_path / "first").mkdir()
    (tmp_path / "first/cargo-1.89").symlink_to(cargo)
    (candidate,) = programs.on_path_numbered("cargo")
    found = rust.toolchain(candidate, tmp_path)
    assert (found.cargo, found.host) == (str(cargo), "riscv64gc-unknown-linux-gnu")


def test_the_minimum_of_rust_is_the_kernels_own(tmp_path: Path) -> None:
    assert rust.rust_minimum(tmp_path) == "1.85"
    (tmp_path / "Cargo.toml").write_text('[package]\nrust-version = "1.92"\n')
    assert rust.rust_minimum(tmp_path) == "1.92"


def test_every_place_names_the_same_oldest_python() -> None:
    """The shell that looks for one to run the set-up with cannot read it from Python."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={programs.PYTHON_MINIMUM}"
    shell = (TOP / "scripts/lib/python.sh").read_text()
    assert re.findall(r"^PYTHON_MINOR_MINIMUM=(\d+)$", shell, re.MULTILINE) == [
        programs.PYTHON_MINIMUM.removeprefix("3.")
    ]


def test_shell_and_python_give_the_same_advice_on_python() -> None:
    shell = (TOP / "scripts/lib/python.sh").read_text()
    for system, command in programs.PYTHON.sources.items():
        assert f"    {system:<10}{command}\n" in shell
