"""Which GDB is found, among stand-ins; signals are deferred; one wait reads several streams."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gdbplugin.session import TinyOS, ToolMissingError, WaitTimeoutError
from gdbplugin.session.process import PLUGIN, Pump, deferred_signals, find_gdb

SERVES = "echo serves 13.1 3.11"
NO_AARCH64 = """
echo 'gdb.error: Undefined item: "aarch64".' >&2
echo 'Error while executing Python code.' >&2
exit 1
"""
NO_PYTHON = "echo 'Scripting in the \"Python\" language is not supported in this copy of GDB.' >&2; exit 1"
OLD_PYTHON = "echo serves 13.1 3.10"
OLD_GDB = "echo serves Fedora Linux 12.1 3.11"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a stand-in on the PATH, which has nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TINYOS_GDB", raising=False)

    def make(name: str, script: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def test_gdb_multiarch_is_preferred_to_gdb(program: Callable[[str, str], Path]) -> None:
    program("gdb", SERVES)
    multiarch = program("gdb-multiarch", SERVES)
    assert find_gdb() == str(multiarch)


@pytest.mark.parametrize("name", ["gdb", "aarch64-none-elf-gdb", "aarch64-linux-gnu-gdb", "aarch64-elf-gdb"])
def test_another_gdb_that_can_be_used_is_found(program: Callable[[str, str], Path], name: str) -> None:
    program("gdb-multiarch", NO_PYTHON)
    other = program(name, SERVES)
    assert find_gdb() == str(other)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (NO_AARCH64, 'but it lacks AArch64 or Python: gdb.error: Undefined item: "aarch64".'),
        (
            NO_PYTHON,
            "but it lacks AArch64 or Python: "
            'Scripting in the "Python" language is not supported in this copy of GDB.',
        ),
        (OLD_PYTHON, "but with Python 3.10 inside"),
        (OLD_GDB, "which is 12.1"),
        ("exit 3", "but it lacks AArch64 or Python: it exited with status 3"),
    ],
)
def test_a_gdb_that_cannot_be_used_is_named_with_the_reason(
    program: Callable[[str, str], Path], script: str, said: str
) -> None:
    path = program("gdb", script)
    with pytest.raises(ToolMissingError) as caught:
        find_gdb()
    assert caught.value.message.startswith(
        f"GDB is missing: found {path}, {said}; install it with: apt install "
    )
    assert "\n" not in caught.value.message


def test_the_gdb_of_the_variable_is_not_checked(
    program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    program("gdb-multiarch", SERVES)
    mine = program("mine", "exit 1")
    monkeypatch.setenv("TINYOS_GDB", "mine")
    assert find_gdb() == str(mine)
    monkeypatch.setenv("TINYOS_GDB", "not-there")
    with pytest.raises(ToolMissingError, match="there is no program not-there"):
        find_gdb()


_MAIN = "from gdbplugin.session.process import become_gdb"


def _tinyos_gdb(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # Like the installed program.
        [sys.executable, "-c", f"import sys; {_MAIN}; sys.exit(become_gdb())", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PLUGIN.parents[1])},
    )


def test_tinyos_gdb_passes_its_arguments(program: Callable[[str, str], Path]) -> None:
    program("gdb-multiarch", f'case "$*" in "-nx -batch"*) {SERVES} ;; *) printf "<%s>" "$@"; exit 7 ;; esac')
    done = _tinyos_gdb("--batch", "-ex", "help tinyos")
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == f"<-x><{PLUGIN}><--batch><-ex><help tinyos>"


def test_tinyos_gdb_checks_the_gdb_of_the_variable(
    program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program("mine", NO_AARCH64)
    monkeypatch.setenv("TINYOS_GDB", "mine")
    done = _tinyos_gdb()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"tinyos-gdb: error: found {path}, but it lacks AArch64 or Python: "
        'gdb.error: Undefined item: "aarch64".; install another with: apt install gdb-multiarch'
    )
    assert done.stderr.count("\n") == 1


def test_a_program_that_is_not_gdb_is_named(kernel_elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYOS_GDB", "true")
    with TinyOS.boot(kernel_elf) as session:
        with pytest.raises(ToolMissingError, match=r"^this GDB cannot be used: found \S*true, but [^\n]*$"):
            session.gdb("output 1")
        monkeypatch.delenv("TINYOS_GDB")
        assert session.gdb("output 1") == "1"


def test_a_signal_is_handled_after_the_body() -> None:
    before = signal.getsignal(signal.SIGINT)
    done: list[str] = []

    def interrupted() -> None:
        with deferred_signals(), deferred_signals():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("to its end")
        done.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["to its end"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_taken_by_another_thread_waits_too() -> None:
    done: list[str] = []

    def interrupted() -> None:
        with deferred_signals():
            thread = threading.Thread(target=signal.raise_signal, args=(signal.SIGINT,))
            thread.start()
            thread.join()
            done.append("to its end")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["to its end"]


def test_in_another_thread_handlers_stay_as_they_are() -> None:
    seen: list[object] = []

    def look() -> None:
        with deferred_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_what_the_condition_reads_itself_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checking the second part of a condition may read what makes the first part true."""
    reader, writer = os.pipe()
    pump, came = Pump(), []
    pump.add(reader, came.append)

    def is_over() -> bool:
        first = bool(came)
        if not first:
            os.write(writer, b"a stop")
        pump.drain()
        return first

    read = pump._read_ready

    def read_without_waiting(timeout: float) -> bool:
        assert timeout == 0, "it waits although everything has come"
        return read(timeout)

    try:
        with monkeypatch.context() as patched:
            patched.setattr(pump, "_read_ready", read_without_waiting)
            pump.wait(is_over, 5, "the stop")
        assert came == [b"a stop"]
        with pytest.raises(WaitTimeoutError, match=r"waited 0\.01 s for more"):
            pump.wait(lambda: len(came) > 1, 0.01, "more")
    finally:
        pump.close()
        os.close(reader)
        os.close(writer)
