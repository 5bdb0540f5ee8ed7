"""The newest GDB and QEMU beside the system's own: what is fetched and kept, what is said without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.setup_sandbox import TOP, library

newest = library("newest")

# In place of apt-get: it notes what it is asked, names two packages, and "downloads" them.
APT_GET = """#!/bin/sh
echo "$@" >>"$FOLDER/asked"
case "$*" in
    *broken*) echo "E: Unable to locate package broken" >&2; exit 100;;
    *--print-uris*)
        echo "Reading package lists..."
        echo "'http://archive/pool/gdb_18.1-3_amd64.deb' gdb_18.1-3_amd64.deb 10 SHA256:0"
        echo "'http://archive/pool/libc6_2.42_amd64.deb' libc6_2.42_amd64.deb 10 SHA256:0";;
    *--download-only*) touch "$FOLDER/packages/gdb_18.1-3_amd64.deb" "$FOLDER/packages/libc6_2.42_amd64.deb";;
esac
"""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for an archive whose apt-get is the one above."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apt-get").write_text(APT_GET)
    (programs / "apt-get").chmod(0o755)
    folder = tmp_path / "newest"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("FOLDER", str(folder))
    return folder


def test_old_packages_are_removed_and_the_others_stay(archive: Path) -> None:
    packages = archive / "packages"
    packages.mkdir()
    for name in ("gdb_17.1-1_amd64.deb", "libc6_2.42_amd64.deb"):
        (packages / name).write_text("earlier")
    found = newest.Archive(archive).fetch(["gdb"])
    assert [path.name for path in found] == ["gdb_18.1-3_amd64.deb", "libc6_2.42_amd64.deb"]
    assert found[1].read_text() == "earlier"
    assert (archive / "asked").read_text().split()[1] == "update"


def test_apt_sees_only_our_archive_and_nothing_installed(archive: Path) -> None:
    newest.Archive(archive).fetch(["gdb"])
    settings = dict(
        line.rstrip(";").split(" ", 1) for line in (archive / "apt/apt.conf").read_text().splitlines()
    )
    assert settings["Dir::Etc::sourceparts"] == '"-"'
    assert Path(settings["Dir::State::status"].strip('"')).read_text() == ""
    (source,) = (archive / "apt/sources.list").read_text().splitlines()
    assert source.split()[1].startswith("[signed-by=")


def test_what_apt_complains_of_is_the_reason(archive: Path) -> None:
    with pytest.raises(newest.CannotFetchError, match=r"broken: E: Unable to locate package broken"):
        newest.Archive(archive).fetch(["broken"])


def test_without_an_apt_get_that_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(newest.CannotFetchError, match="apt-get: No such file"):
        newest.Archive(tmp_path).fetch(["gdb"])


def test_a_program_is_started_by_the_loader_it_asks_for(tmp_path: Path) -> None:
    program = Path(sys.executable).resolve()
    loader = newest.interpreter(program)
    assert Path(loader).is_file()
    script = newest.start_script("{loader} {libraries} {program}", program, tmp_path)
    assert script.split()[0] == f"{tmp_path}/usr{loader}"
    assert script.split()[2] == str(program)


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF"])
def test_what_is_no_program_is_named(tmp_path: Path, content: bytes) -> None:
    program = tmp_path / "program"
    program.write_bytes(content)
    with pytest.raises(newest.CannotFetchError, match="program is not a program"):
        newest.interpreter(program)


def test_where_they_cannot_be_had_the_reason_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest, "KEYRING", tmp_path / "no-keyring.gpg")
    with pytest.raises(SystemExit) as ended:
        newest.main()
    assert str(ended.value).startswith("tinyos: the newest GDB and QEMU cannot be had: there is no ")
    assert "\n" not in str(ended.value)


def test_tests_that_cannot_run_are_skipped_with_the_reason() -> None:
    arguments = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-rs",
        "--skip-all=no archive",
        "tests/schemas",
        "tests/test_render.py",
    ]
    done = subprocess.run([sys.executable, *arguments], cwd=TOP, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    *_, reason, summary = done.stdout.splitlines()
    assert "no archive" in reason
    assert " skipped in " in summary
    assert "passed" not in summary
