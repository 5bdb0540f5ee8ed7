"""Private directories: only what a session made is removed, and a folder that can be used is found."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gdbplugin.session import SessionError
from gdbplugin.session.directory import private_directory, sessions

MARK = "tinyos-gdb: {} is the directory of a session and is removed with it\n"
ABANDON = """
import os
from gdbplugin.session.directory import private_directory
with private_directory() as path:
    (path / "console.log").write_text("boot")
    print(path, flush=True)
    os._exit(0)
"""


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, fallback: Path) -> Iterator[Path]:
    """This test's own TMPDIR, short enough for a socket; `fallback` is the only other folder."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        monkeypatch.setenv("TMPDIR", path)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setattr("gdbplugin.session.directory._FALLBACK", str(fallback))
        yield Path(path)


@pytest.fixture
def fallback() -> Iterator[Path]:
    """Takes the place of /tmp, where others have their directories."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


def abandoned() -> Path:
    """The directory of a program that ended without removing it."""
    done = subprocess.run([sys.executable, "-c", ABANDON], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def clean_up() -> None:
    """Make and remove a session's directory, which also removes abandoned ones."""
    with private_directory():
        pass


def test_a_directory_is_private_and_removed_at_the_end(temporary: Path) -> None:
    with private_directory() as path:
        assert path.parent == temporary
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert sessions() == [path]
        (path / "qemu.log").write_text("said")
    assert not list(temporary.iterdir())


def test_an_abandoned_directory_is_removed_by_the_next(temporary: Path) -> None:
    path = abandoned()
    assert path.parent == temporary
    assert (path / "console.log").exists()
    assert sessions() == []
    clean_up()
    assert not list(temporary.iterdir())


def test_a_directory_in_use_is_left_alone(temporary: Path) -> None:
    with private_directory() as path:
        clean_up()
        assert list(temporary.iterdir()) == [path]


def test_a_users_own_files_stay(temporary: Path) -> None:
    with private_directory() as path:
        (path / "notes.txt").write_text("mine")
        (path / "ram").mkdir()
    assert sorted(entry.name for entry in path.iterdir()) == ["notes.txt", "ram"]
    left = abandoned()
    (left / "thesis").write_text("mine")
    clean_up()
    assert [entry.name for entry in left.iterdir()] == ["thesis"]
    assert temporary == left.parent


def a_homework(path: Path) -> None:
    (path / "src").mkdir(parents=True)
    (path / "src/main.rs").write_text("fn main() {}")
    (path / "lock").write_text("")
    os.utime(path / "lock", (0, 0))


def with_a_folder(path: Path) -> None:
    (path / "lock").mkdir(parents=True)


def with_a_fifo(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "lock")


def with_a_link_to_a_marker(path: Path) -> None:
    path.mkdir(mode=0o700)
    theirs = path.parent / "elsewhere"
    theirs.write_text(MARK.format(path.name))
    (path / "lock").symlink_to(theirs)


def linked_from_elsewhere(path: Path) -> None:
    """A link with a session's name to another folder, which looks like a session's in every way."""
    real = path.parent / "real"
    abandoned().rename(real)
    (real / "lock").write_text(MARK.format(path.name))
    path.symlink_to(real)


def copied(path: Path) -> None:
    real = abandoned()
    shutil.copytree(real, path)
    shutil.rmtree(real)


def readable_by_all(path: Path) -> None:
    abandoned().rename(path)
    path.chmod(0o755)


def not_readable(path: Path) -> None:
    path.mkdir(mode=0)


def a_file(path: Path) -> None:
    path.write_text("mine")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    "make",
    [
        *(a_homework, with_a_folder, with_a_fifo, with_a_link_to_a_marker, linked_from_elsewhere),
        *(copied, readable_by_all, not_readable, a_file, a_dangling_link),
    ],
)
def test_a_directory_without_our_marker_is_left_alone(temporary: Path, make: Callable[[Path], None]) -> None:
    make(temporary / "tinyos-homework")
    before = tree(temporary)
    clean_up()
    assert sessions() == []
    assert tree(temporary) == before


def tree(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.lstat().st_mode) for path in folder.rglob("*")}


def test_a_missing_folder_falls_back_to_tmp(
    temporary: Path, fallback: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TMPDIR", str(temporary / "nowhere"))
    with caplog.at_level(logging.WARNING), private_directory() as path:
        assert path.parent == fallback
    assert caplog.messages == [
        f"no sockets can be made in {temporary / 'nowhere'}: No such file or directory; using {fallback}"
    ]


def test_a_path_too_long_for_a_socket_falls_back(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    long, runtime = temporary / ("n" * 100), temporary / "run"
    long.mkdir()
    runtime.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with caplog.at_level(logging.WARNING), private_directory() as path:
        assert path.parent == runtime
        assert sessions() == [path]
    assert caplog.messages == [f"no sockets can be made in {long}: AF_UNIX path too long; using {runtime}"]
    assert not list(long.iterdir())


@pytest.mark.parametrize("name", ["two\nlines", "latin-\udce9"], ids=["line end", "not UTF-8"])
def test_a_path_that_gdb_does_not_take_falls_back(
    temporary: Path, fallback: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (temporary / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary / name))
    with private_directory() as path:
        assert path.parent == fallback
    assert not list((temporary / name).iterdir())


def test_no_folder_for_sockets_is_one_line(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(temporary / "nowhere"))
    monkeypatch.setattr("gdbplugin.session.directory._FALLBACK", "/proc")
    with pytest.raises(SessionError) as caught, private_directory():
        pass
    assert "nowhere: No such file or directory; /proc: " in caught.value.message
    assert caught.value.message.endswith("set TMPDIR to a writable folder with a short path")
