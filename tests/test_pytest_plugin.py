"""The pytest plugin as a project with the package installed sees it: pytest runs inside pytest."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from gdbplugin.session import TinyOS

# One worker boots all machines.
pytestmark = pytest.mark.xdist_group("pytest-plugin")

_ONE_FAILS = """
import pytest

def test_passes(shared_tinyos):
    assert "total_dynamic_stacks" in shared_tinyos.shell("*s")

@pytest.mark.xfail
def test_is_expected_to_fail(shared_tinyos):
    assert shared_tinyos is None

def test_fails(shared_tinyos):
    with shared_tinyos.stopped():
        newest = shared_tinyos.json("events 1")["events"][0]["sequence"]
        print(f"newest event {newest}")
        shared_tinyos.console.send("*t\\r")  # Once it runs on, there will be hundreds more.
        assert newest < 0
"""


@pytest.fixture
def project(pytester: pytest.Pytester, kernel_elf: Path) -> pytest.Pytester:
    """A project with only its tests, and the kernel of this run."""
    pytester.makeini(f"[pytest]\naddopts = --tinyos-kernel={kernel_elf} -p no:cacheprovider\n")
    return pytester


def _section(output: str, title: str) -> str:
    """The lines under a heading in pytest's report of failures, which must have it once."""
    lines = output.splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.strip("- ") == title)
    body = lines[start + 1 :]
    end = next(number for number, line in enumerate(body) if line.startswith(("-----", "=====", "_____")))
    return "\n".join(body[:end])


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_failure_shows_report_events_backtraces_and_console(project: pytest.Pytester, workers: str) -> None:
    project.makepyfile(_ONE_FAILS)
    result = project.runpytest_inprocess("-n", workers, "-rA", "--xfail-tb")
    result.assert_outcomes(passed=1, xfailed=1, failed=1)
    output = result.stdout.str()
    report = _section(output, "TinyOS report (shared_tinyos)")
    assert report.startswith("TinyOS dynamic memory")
    assert "Pressure: " in report
    events = _section(output, "TinyOS events (shared_tinyos)")
    assert events.startswith("Events (newest 20;")
    # From the moment of the failure: the machine has run on since then.
    newest = _section(output, "Captured stdout call").removeprefix("newest event ")
    assert re.findall(r"^ +([\d,]+) ", events, re.MULTILINE)[-1].replace(",", "") == newest
    backtraces = _section(output, "TinyOS backtraces (shared_tinyos)")
    assert re.search(r"^Task 1 \(worker\), .*\n(?:.*\n)*?  #\d+ +0x400\w+ program_worker", backtraces, re.M)
    assert "Core 3\n" in backtraces
    console = _section(output, "TinyOS console (shared_tinyos)")
    assert "tinyos> *s\n" in console


@pytest.mark.parametrize("chosen", ["", "none"])
def test_a_failure_leaves_a_dump_of_its_moment(
    project: pytest.Pytester, kernel_elf: Path, chosen: str
) -> None:
    project.makepyfile(_ONE_FAILS)
    folder = project.path / "dumps"
    result = project.runpytest_inprocess(f"--tinyos-dumps={chosen or folder}", "-rA")
    result.assert_outcomes(passed=1, xfailed=1, failed=1)
    output = result.stdout.str()
    if chosen == "none":
        assert "TinyOS dump" not in output
        return
    (dump,) = folder.iterdir()
    assert str(dump) in _section(output, "TinyOS dump (shared_tinyos)")
    newest = int(_section(output, "Captured stdout call").removeprefix("newest event "))
    with TinyOS.open_dump(dump, kernel_elf) as session:
        assert session.events(1).events[-1].sequence == newest


def test_dumps_go_into_the_directory_of_the_test(project: pytest.Pytester) -> None:
    project.makepyfile("""
        def test_with_files(shared_tinyos, tmp_path):
            print(f"files in {tmp_path}")
            assert not shared_tinyos
        def test_without(boot_tinyos):
            assert boot_tinyos() is boot_tinyos()
    """)
    result = project.runpytest_inprocess("--basetemp", str(project.path / "files"))
    result.assert_outcomes(failed=2)
    (own,) = re.findall("^files in (.*)", result.stdout.str(), re.M)
    places = [Path(place) for place in re.findall(r"^(/.*\.dump)$", result.stdout.str(), re.M)]
    assert [str(place.relative_to(project.path / "files")) for place in places] == [
        "test_with_files0/shared_tinyos.dump",
        "test_without0/boot_tinyos.dump",
        "test_without0/boot_tinyos2.dump",
    ]
    assert places[0].parent == Path(own)
    assert all(place.is_file() for place in places)


@pytest.mark.parametrize("dumps", [None, "none", "folder"])
def test_a_failure_leaves_a_report_beside_its_dump(project: pytest.Pytester, dumps: str | None) -> None:
    project.makepyfile(_ONE_FAILS)
    chosen = {None: [], "none": ["--tinyos-dumps=none"], "folder": [f"--tinyos-dumps={project.path / 'd'}"]}
    files = ["--basetemp", str(project.path / "files")]
    result = project.runpytest_inprocess("--tinyos-report", *chosen[dumps], *files, "-rA")
    result.assert_outcomes(passed=1, xfailed=1, failed=1)
    output = result.stdout.str()
    page = Path(_section(output, "TinyOS report file (shared_tinyos)"))
    assert ("TinyOS dump" in output) is (dumps != "none")
    if dumps != "none":
        assert str(page.with_suffix(".dump")) in _section(output, "TinyOS dump (shared_tinyos)")
    newest = _section(output, "Captured stdout call").removeprefix("newest event ")
    assert f'<td class="n">{newest}</td>' in page.read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_is_said(project: pytest.Pytester) -> None:
    project.makepyfile("""
        def test_it(tinyos):
            (tinyos.qemu.directory / "failure.html").mkdir()
            assert not tinyos
    """)
    result = project.runpytest_inprocess("--tinyos-report")
    result.assert_outcomes(failed=1)
    said = _section(result.stdout.str(), "TinyOS report file (tinyos)")
    assert said.startswith("not written: cannot write ")
    assert "TinyOS dump (tinyos)" in result.stdout.str()


def test_a_machine_that_died_does_not_hide_the_failure(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import os, signal
        def test_it(tinyos):
            os.kill(tinyos.qemu.pid, signal.SIGKILL)
            tinyos.shell("*s")
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *EndedError: QEMU was killed by SIGKILL*"])
    assert _section(result.stdout.str(), "TinyOS state (tinyos)").startswith("not available: ")
    assert "tinyos>" in _section(result.stdout.str(), "TinyOS console (tinyos)")


def test_after_a_failure_the_machine_is_as_before(project: pytest.Pytester) -> None:
    project.makepyfile("""
        def test_fails(shared_tinyos):
            assert not shared_tinyos.running
        def test_comes_later(shared_tinyos):
            assert shared_tinyos.running and not shared_tinyos.has_debugger
            shared_tinyos.shell("*s")
            shared_tinyos.debugger.interrupt()
        def test_fails_too(shared_tinyos):
            assert shared_tinyos.running
        def test_comes_last(shared_tinyos):
            assert not shared_tinyos.running and shared_tinyos.has_debugger
    """)
    project.runpytest_inprocess().assert_outcomes(passed=2, failed=2)


def test_a_test_that_times_out_shows_its_machine(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        @pytest.mark.timeout(3, func_only=True)
        def test_it(tinyos):
            tinyos.gdb("python import time; time.sleep(600)", timeout=600)
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *Timeout (>3.0s) from pytest-timeout."])
    assert _section(result.stdout.str(), "TinyOS report (tinyos)").startswith("TinyOS dynamic memory")


def test_every_machine_of_a_test_is_shown(project: pytest.Pytester) -> None:
    project.makepyfile("""
        def test_it(boot_tinyos):
            first, second = boot_tinyos(paused=True), boot_tinyos(paused=True)
            assert first.qemu.pid == second.qemu.pid
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    # They have not run yet, so this is all that they show.
    assert sum(line.strip("- ") == "TinyOS state (boot_tinyos)" for line in result.outlines) == 2
    assert sum("the kernel has not set up its memory yet" in line for line in result.outlines) == 2


def test_a_missing_qemu_is_one_line(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYOS_QEMU", "no-such-qemu")
    project.makepyfile("def test_it(tinyos): pass")
    result = project.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    lines = result.outlines
    start = next(number for number, line in enumerate(lines) if line.startswith("____"))
    end = next(number for number, line in enumerate(lines) if "short test summary" in line)
    (said,) = lines[start + 1 : end]
    assert said.startswith("QEMU is missing: there is no program no-such-qemu; install it with: apt install")


@pytest.mark.parametrize("option", ["--tinyos-qemu", "--tinyos-gdb"])
def test_a_missing_program_ends_the_run_at_once(project: pytest.Pytester, option: str) -> None:
    result = project.runpytest_inprocess(f"{option}=no-such-program")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines[0] == f"ERROR: {option}=no-such-program is not a program"


def test_a_missing_kernel_is_one_line(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(tinyos): pass")
    result = project.runpytest_inprocess("--tinyos-kernel=nowhere.elf")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["no kernel at *nowhere.elf: give one with --tinyos-kernel ELF"])


@pytest.mark.parametrize("folder", ["{project}", "."], ids=["absolute", "relative"])
def test_the_programs_named_are_used_for_this_run_only(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    real = os.environ.get("TINYOS_GDB") or shutil.which("gdb-multiarch")
    monkeypatch.setenv("TINYOS_GDB", "before")
    calls = project.path / "calls"
    chosen = project.path / "chosen-gdb"
    chosen.write_text(f'#!/bin/sh\necho "$@" >>"{calls}"\nexec {real} "$@"\n')
    chosen.chmod(0o755)
    project.makepyfile("""
        def test_it(boot_tinyos, monkeypatch):
            monkeypatch.chdir("/")
            assert boot_tinyos(paused=True).gdb("echo hello") == "hello"
    """)
    named = f"{folder.format(project=project.path)}/chosen-gdb"
    project.runpytest_inprocess(f"--tinyos-gdb={named}").assert_outcomes(passed=1)
    assert "--interpreter=mi3" in calls.read_text()
    assert os.environ["TINYOS_GDB"] == "before"
