"""Programs whose standard streams fail, or have bytes that are not text."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbplugin.session import streams

_TOP = Path(__file__).resolve().parents[2]
_PRINTS = "print('one'); print('two', flush=True); print('three')"
_FAILS = "raise SessionError('no\\nkernel', 'evidence')"


def _run(
    body: str, redirected: str = "", *, data: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """A program whose function is `body`, its streams redirected as a shell does it."""
    program = (
        "import os, signal, sys\n"
        "from gdbplugin.session import SessionError, streams\n"
        f"def program():\n    {body}\n    return 7\n"
        "sys.exit(streams.run('name', program))\n"
    )
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {redirected}', sys.executable, program],
        input=data,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_TOP), "LC_ALL": "C.UTF-8", **environment},
        timeout=60,
        check=False,
    )


def test_the_programs_result_is_the_exit_status() -> None:
    done = _run(_PRINTS)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"one\ntwo\nthree\n", b"")


@pytest.mark.parametrize("body", [_PRINTS, "print('one')", "print('usage'); sys.exit(0)"])
@pytest.mark.parametrize(
    ("redirected", "reason"), [(">/dev/full", "No space left on device"), (">&-", "it is closed")]
)
def test_output_that_cannot_be_written_is_one_line(body: str, redirected: str, reason: str) -> None:
    done = _run(body, redirected)
    assert done.returncode == 1
    assert done.stderr.decode() == f"name: error: cannot write to standard output: {reason}\n"


def test_closed_output_is_not_an_error_if_unused() -> None:
    assert _run("pass", ">&-").returncode == 7


def test_a_reader_that_has_ended_is_not_reported() -> None:
    done = _run("print('line\\n' * 100_000)", '| head -1; exit "${PIPESTATUS[0]}"')
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGPIPE, b"line\n", b"")


def test_input_that_cannot_be_read_is_one_line() -> None:
    done = _run("sys.stdin.read()", "<&-")
    assert done.returncode == 1
    assert done.stderr == b"name: error: cannot read standard input: it is closed\n"


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", "2< /dev/null"])
def test_a_failing_standard_error_changes_nothing(redirected: str) -> None:
    done = _run(f"print('oh', file=sys.stderr); {_PRINTS}", redirected)
    assert (done.returncode, done.stdout) == (7, b"one\ntwo\nthree\n")
    assert _run(_FAILS, redirected).returncode == 1


@pytest.mark.parametrize("redirected", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_new_file_never_becomes_a_standard_stream(redirected: str) -> None:
    body = "file = open('/dev/null'); os._exit(40 + (file.fileno() > 2))"
    assert _run(body, redirected).returncode == 41


def test_an_error_is_one_line_after_the_output() -> None:
    done = _run(f"print('out'); {_FAILS}", "2>&1")
    assert (done.returncode, done.stdout) == (1, b"out\nname: error: no\\nkernel\nevidence\n")


def test_the_raw_output_file_is_not_python_code() -> None:
    # If a signal handler raised in a Python `write`, the buffer would write the same data again.
    done = _run("import io; assert type(sys.stdout.buffer.raw) is io.FileIO")
    assert (done.returncode, done.stderr) == (7, b"")


def test_ctrl_c_is_only_an_exit_status() -> None:
    done = _run("os.kill(os.getpid(), signal.SIGINT)")
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, b"")


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, "— é \\xff\n".encode()),
        ({"PYTHONIOENCODING": "ascii"}, b"\\u2014 \\xe9 \\xff\n"),
        ({"PYTHONIOENCODING": "latin-1"}, b"\\u2014 \xe9 \\xff\n"),
        ({"PYTHONIOENCODING": "ascii:replace"}, b"? ? ?\n"),
        ({"LC_ALL": "C"}, "— é \\xff\n".encode()),
    ],
)
def test_what_the_encoding_lacks_is_escaped(environment: dict[str, str], shown: bytes) -> None:
    done = _run("print('\\u2014 \\xe9 \\udcff')", **environment)
    assert (done.returncode, done.stdout) == (7, shown)


@pytest.mark.parametrize("environment", [{}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_input_that_is_not_text_is_kept(environment: dict[str, str]) -> None:
    body = "sys.stdout.buffer.write(sys.stdin.read().encode(errors='surrogateescape'))"
    data = "é—\n".encode() + bytes(range(128, 256))
    assert _run(body, data=data, **environment).stdout == data


def test_nonblocking_input_is_waited_for() -> None:
    body = "os.set_blocking(0, False); print(len(list(sys.stdin)))"
    done = _run(body, "< <(echo one; sleep 0.2; echo two)")
    assert (done.returncode, done.stdout) == (7, b"2\n")


def test_nonblocking_output_is_waited_for() -> None:
    body = "os.set_blocking(1, False); print('x' * 1_000_000)"
    assert _run(body, "| (sleep 0.2; wc -c)").stdout.strip() == b"1000001"


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_one_line_is_one_printable_line(text: str) -> None:
    assert streams.one_line(text).isprintable()
    streams.escaped(text).encode()


def test_bytes_are_escaped_by_their_values() -> None:
    name = os.fsdecode(b"a\xff\n\xc3\xa9")
    assert streams.one_line(name) == "a\\xff\\né"
    assert streams.escaped(name) == "a\\xff\né"
