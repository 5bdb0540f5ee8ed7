"""scripts/run and tinyos-repl with unusual streams, names, folders and variables."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repl.runner import START, Runner

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run"


def _raw(run: Runner, redirected: str, data: bytes = b"", **environment: str) -> tuple[int, bytes, bytes]:
    """Exit status, output and errors of a run whose streams a shell redirects, as bytes."""
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirected}', "bash", *START, "--kernel", str(run.kernel)],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ | {"TMPDIR": str(run.directory)} | environment,
    )
    assert not run.pids(), "a process was left behind"
    assert not list(run.directory.glob("tinyos-*")), "a directory was left behind"
    return done.returncode, done.stdout, done.stderr


_BYTES = b'echo \\377 \\303\\251\\377\\n\necho \xe9\\n\nset language c\noutput "\\xff"\n'


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"LC_ALL": "C.UTF-8"}, "\\xff é\\xff\n\\xe9\n".encode()),
        ({"LC_ALL": "C"}, "\\xff é\\xff\n\\xe9\n".encode()),
        ({"PYTHONIOENCODING": "ascii"}, b"\\xff \\xe9\\xff\n\\xe9\n"),
        ({"PYTHONIOENCODING": "latin-1"}, b"\\xff \xe9\\xff\n\xe9\n"),
    ],
)
def test_bytes_that_are_not_text_are_shown_escaped(
    run: Runner, environment: dict[str, str], text: bytes
) -> None:
    status, output, _ = _raw(run, "", _BYTES, **environment)
    assert status == 0
    assert output.startswith(text)
    assert output.endswith(b'"\\377"')


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_gdb_uses_utf_8_in_any_locale(run: Runner, locale: str) -> None:
    commands = "show host-charset\ntinyos é\n".encode()
    status, output, errors = _raw(run, "", commands, LC_ALL=locale)
    assert (status, output) == (1, b'The host character set is "UTF-8".\n')
    assert 'no command "é" (known: back, backtrace, '.encode() in errors


def test_json_escapes_bytes_that_are_not_text(run: Runner) -> None:
    status, output, _ = _raw(run, "--json", b"nonsense \xe9\necho \xe9\n")
    assert status == 1
    assert [json.loads(line) for line in output.splitlines()] == [
        {"command": "nonsense \\xe9", "error": 'Undefined command: "nonsense".  Try "help".', "output": ""},
        {"output": "\\xe9"},
    ]


@pytest.mark.parametrize("data", ["output 42\n".encode("utf-8-sig"), b"output 42\n"])
def test_utf_8_byte_order_mark_is_ignored(run: Runner, data: bytes) -> None:
    assert _raw(run, "", data) == (0, b"42", b"")


def test_commands_in_utf_16_are_refused(run: Runner) -> None:
    status, output, errors = _raw(run, "", "output 42".encode("utf-16"))
    assert (status, output) == (1, b"")
    assert errors.endswith(b": the line has a NUL byte: give commands in UTF-8, not in UTF-16\n")


@pytest.mark.parametrize(
    ("redirected", "status", "said"),
    [
        ("-c 'output 1' >/dev/full", 1, "cannot write to standard output: No space left on device"),
        ("-c 'output 1' >&-", 1, "cannot write to standard output: it is closed"),
        ("--help >/dev/full", 1, "cannot write to standard output: No space left on device"),
        ("<&-", 1, "cannot read standard input: it is closed"),
        ("-c 'output 1' <&-", 0, ""),
        ("-c 'output 1' 2>&-", 0, ""),
        ("-c nonsense 2>/dev/full", 1, ""),
        ("-c 'help all' -c 'help all' | head -1; exit ${PIPESTATUS[0]}", 128 + signal.SIGPIPE, ""),
    ],
)
def test_failing_stream_is_one_line(run: Runner, redirected: str, status: int, said: str) -> None:
    found, _, errors = _raw(run, redirected)
    assert (found, errors.decode()) == (status, f"tinyos: error: {said}\n" if said else "")


@pytest.mark.parametrize("name", [b"no\nsuch.elf", b"\xff.elf"])
def test_missing_kernel_of_any_name_is_one_line(run: Runner, name: bytes) -> None:
    shown = name.decode(errors="backslashreplace").replace("\n", "\\n")
    assert f"no kernel at {shown}: build it" in run.refusal("--kernel", os.fsdecode(name), "-c", "output 1")


def test_kernel_name_with_a_newline_works(run: Runner, tmp_path: Path) -> None:
    kernel = tmp_path / 'a\nké".elf'
    shutil.copy(run.kernel, kernel)
    done = run("--kernel", kernel, "-c", "maps --json", "-c", "check --strict")
    assert (done.returncode, done.stderr) == (0, "")


def test_kernel_name_not_in_utf_8_is_refused(run: Runner, tmp_path: Path) -> None:
    kernel = tmp_path / os.fsdecode(b"k\xe9.elf")
    shutil.copy(run.kernel, kernel)
    said = run.refusal("--kernel", kernel, "-c", "maps")
    assert "k\\xe9.elf: GDB takes only paths in UTF-8: rename the file, or copy it" in said


def test_flat_image_is_booted_with_the_symbols_of_the_elf(run: Runner, kernel_image: Path) -> None:
    done = run("--image", kernel_image, "--batch", "info address DYNAMIC_MEMORY_MANAGER")
    assert done.returncode == 0, done.stderr


STRANGE = "a, b=c'd $x;#%s | é"


def test_sockets_work_in_a_folder_of_any_name(run: Runner) -> None:
    run.directory = run.directory / STRANGE
    run.directory.mkdir()
    done = run("--batch", "stats --json", "output 6*7", "console uptime")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r'\{"schema": "tinyos\.stats/1".*\}\n42[0-9]+ ms\n', done.stdout)
    done = run("--gdb", text="info threads\n")
    assert "CPU#3" in done.stdout
    assert f"--console {run.directory}/tinyos-" in done.stderr


@pytest.mark.parametrize("way", [["--batch", "tinyos check", "output 6*7"], ["--gdb"]])
def test_variables_of_host_python_do_not_reach_gdb(run: Runner, tmp_path: Path, way: list[str]) -> None:
    """A user's own `json` would shadow Python's in both."""
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    start = [sys.executable, "-E", "-m", "gdbplugin.repl.main", "--kernel", str(run.kernel), *way]
    hostile = {"PYTHONHOME": str(tmp_path), "PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "error"}
    environment = os.environ | hostile | {"TMPDIR": str(run.directory)}
    done = subprocess.run(
        start,
        input="tinyos check\noutput 6*7\n",
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "wrong json" not in done.stdout + done.stderr
    assert "42" in done.stdout


def test_missing_temporary_folder_is_reported(run: Runner) -> None:
    done = run("--batch", "output 6*7", TMPDIR="/nowhere", XDG_RUNTIME_DIR=str(run.directory))
    assert (done.returncode, done.stdout) == (0, "42")
    assert done.stderr == (
        f"tinyos: no sockets can be made in /nowhere: No such file or directory; using {run.directory}\n"
    )


@pytest.mark.parametrize("command", ["continue", "finish", "stepi 100000000"])
def test_command_after_a_timeout_is_carried_out(run: Runner, command: str) -> None:
    # With the tasks held the shell waits in a function that does not return.
    commands = ("console hold", "thread 1", command, "stats --json", command, "output 6*7")
    done = run("--timeout", "1", "--batch", *commands)
    assert done.returncode == 1
    # The second `stepi` may end at once, by the late trap of the first one.
    assert f"tinyos: error: {command}: waited 1 s for " in done.stderr
    assert "error: stats" not in done.stderr
    assert '{"schema": "tinyos.stats/1"' in done.stdout
    assert done.stdout.endswith("42")
