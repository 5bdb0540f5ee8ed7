"""A terminal on a console's socket; the test plays the kernel."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_PROGRAM = [sys.executable, "-m", "gdbplugin.repl.main", "--console"]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that the terminal connects to."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(30)
        made.bind(str(tmp_path / "console"))
        made.listen()
        yield made


def _join(listener: socket.socket, redirected: str, typed: bytes = b"") -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        ["bash", "-c", f'"$@" {redirected}', "bash", *_PROGRAM, listener.getsockname()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin is not None
    child.stdin.write(typed)
    child.stdin.flush()
    return child


def test_bytes_pass_unchanged_both_ways(listener: socket.socket) -> None:
    with _join(listener, "", b"\xff\xc3") as child:
        console, _ = listener.accept()
        with console:
            assert console.recv(100) == b"\xff\xc3"
            console.sendall(b"\xfe\x00")
        output, errors = child.communicate(timeout=30)
    assert (child.returncode, output) == (0, b"\xfe\x00")
    assert errors.count(b"\n") == 1


def test_input_may_come_from_a_file(listener: socket.socket, tmp_path: Path) -> None:
    (tmp_path / "typed").write_bytes(b"*s\r")
    with _join(listener, f"<'{tmp_path}/typed'") as child:
        console, _ = listener.accept()
        with console:
            assert console.recv(100) == b"*s\r"
            assert console.recv(100) == b""
        _, errors = child.communicate(timeout=30)
    assert (child.returncode, errors.count(b"\n")) == (0, 1)


@pytest.mark.parametrize(
    ("redirected", "status", "said"),
    [
        (">/dev/full", 1, b"tinyos: error: cannot write to standard output: No space left on device"),
        (">&-", 1, b"tinyos: error: cannot write to standard output: it is closed"),
        ("<&-", 1, b"tinyos: error: cannot read standard input: it is closed"),
        ("2>&-", 0, b""),
    ],
)
def test_a_failing_stream_is_one_line(
    listener: socket.socket, redirected: str, status: int, said: bytes
) -> None:
    with _join(listener, redirected) as child:
        console, _ = listener.accept()
        with console:
            with contextlib.suppress(BrokenPipeError):  # It may have ended by now.
                console.sendall(b"tinyos> ")
            if status == 0:
                assert child.stdout is not None
                assert child.stdout.read(8) == b"tinyos> "
                console.shutdown(socket.SHUT_WR)
            _, errors = child.communicate(timeout=30)
    assert child.returncode == status
    assert errors.splitlines()[1:] == ([said] if said else [])


def test_a_wrong_address_is_one_line(tmp_path: Path) -> None:
    for name in ("nowhere", "x" * 200, "a\nb"):
        done = subprocess.run([*_PROGRAM, tmp_path / name], capture_output=True, check=False)
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
        assert done.stderr.startswith(b"tinyos: error: cannot reach a console at ")
        assert b"None" not in done.stderr
