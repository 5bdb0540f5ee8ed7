"""scripts/systems: what it reads from logs and shows, and that it leaves no process and no mount."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.setup_sandbox import TOP, library

systems = library("systems")

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0
    or shutil.which("unshare") is None
    or subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False).returncode != 0,
    reason="a mount namespace takes root",
)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("== 1974 passed, 3 skipped in 310.20s (0:05:10) ==", (1974, 0, 3)),
        ("= 2 failed, 1970 passed, 1 skipped, 2 errors in 9.1s =\nsomething after it", (1970, 4, 1)),
        ("FAILED tests/a.py\n1 failed in 0.12s", (0, 1, 0)),
    ],
)
def test_the_counts_of_pytests_summary(output: str, expected: tuple[int, int, int]) -> None:
    counts = systems.counts_of(output)
    assert (counts["passed"], counts["failed"], counts["skipped"]) == expected


def test_output_without_a_summary_has_no_counts() -> None:
    assert systems.counts_of("tinyos: error: programs are missing") == {}


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("GNU gdb (Debian 16.3-1) 16.3\nCopyright", "16.3"),
        ("QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)", "10.0.13"),
        ("Python 3.14.8", "3.14.8"),
        ("cargo 1.96.0 (30a34c682 2026-05-25) (built from a source tarball)", "1.96.0"),
        ("", "—"),
    ],
)
def test_the_version_that_a_program_says(said: str, version: str) -> None:
    assert systems.version_in(said) == version


def test_the_table_names_what_failed() -> None:
    versions = {"GDB": "16.3", "QEMU": "10.0.13", "Python": "3.13.5", "Rust": "1.96.0"}
    whole = systems.Result(
        "debian13",
        versions,
        {"run": 144.6, "test": 400.2},
        {"passed": 7, "failed": 1, "skipped": 0},
        ["test"],
    )
    head, line, row, short = systems.table(
        [whole, systems.Result("unstable", failed=["bootstrap"])]
    ).splitlines()
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        *("debian13", "16.3", "10.0.13", "3.13.5", "1.96.0", "145 s", "400 s FAILED", "7", "1", "0"),
    ]
    assert [cell.strip() for cell in short.strip("|").split("|")] == ["unstable", *["—"] * 9]
    assert len({len(head), len(line), len(row), len(short)}) == 1


def test_variables_of_package_clients_are_handed_on() -> None:
    package_clients = {"PIP_INDEX_URL": "a", "CARGO_HTTP_PROXY": "b", "https_proxy": "c", "HTTP_PROXY": "d"}
    others = {"RUSTFLAGS": "e", "PYTHONHOME": "f", "CARGO_TARGET_DIR": "g", "TINYOS_GDB": "h", "HOME": "i"}
    assert systems.handed_on(package_clients | others) == package_clients


def test_mounts_below_a_folder_are_known() -> None:
    mountinfo = (
        "22 1 8:1 / / rw - ext4 /dev/vda rw\n"
        "30 22 0:5 / /a/b/proc rw - proc proc rw\n"
        "31 22 0:5 / /a/bb rw - tmpfs tmpfs rw\n"
        "32 22 0:5 / /a/b\\\\040c/dev rw - tmpfs tmpfs rw\n"
    ).replace("\\\\", "\\")
    assert systems.mounts_below(Path("/a/b"), mountinfo) == ["/a/b/proc"]
    assert systems.mounts_below(Path("/a/b c"), mountinfo) == ["/a/b c/dev"]
    assert systems.mounts_below(Path("/a/b/proc"), mountinfo) == ["/a/b/proc"]


@needs_namespaces
def test_a_folder_with_a_mount_is_not_removed(tmp_path: Path) -> None:
    """A mount of the test's own, in a namespace that ends with it."""
    program = f"""if True:
        import sys
        sys.path.insert(0, {str(TOP / "scripts/lib")!r})
        from pathlib import Path
        from systems import System
        System("debian13", Path({str(tmp_path)!r}), "").remove()
    """
    root = tmp_path / "debian13.root"
    (root / "dev").mkdir(parents=True)
    mounting = f'mount -t tmpfs tmpfs "{root}/dev" && touch "{root}/dev/kept" && "$@"; status=$?; '
    checking = f'[ -f "{root}/dev/kept" ] || exit 99; exit $status'
    script = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounting + checking, "sh"]
    done = subprocess.run(
        [*script, sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        1,
        f"tinyos: error: {root} is not removed, for something is mounted there: umount {root}/dev\n",
    )
    assert root.exists()


@needs_namespaces
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process_mount_or_folder(tmp_path: Path, number: signal.Signals) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    folder = tmp_path / "build"
    # In place of a bootstrap: a mount, a process that minds no signal, and another that has left its group.
    stand_in = programs / "debootstrap"
    stand_in.write_text(
        '#!/bin/bash\ntrap "" INT TERM HUP\nmkdir -p "$3/proc" && mount -t tmpfs tmpfs "$3/proc" && '
        'touch "$3/proc/x"\nsetsid sleep 654.321 &\necho ready >"$READY"\nsleep 654.321\n'
    )
    stand_in.chmod(0o755)
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    program = f"""if True:
        import sys
        sys.path.insert(0, {str(TOP / "scripts/lib")!r})
        import pathlib, systems
        systems.TOP = pathlib.Path({str(tmp_path)!r})
        sys.exit(systems.main(["debian13"]))
    """
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "READY": str(ready)}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert ready.read_text() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.splitlines()[-1] == "tinyos: interrupted"
    assert not (folder / "systems/debian13.root").exists()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(str(tmp_path).encode() in command or b"654.321" in command for command in commands)


def test_an_unknown_system_is_refused() -> None:
    done = subprocess.run([TOP / "scripts/systems", "debian11"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no system 'debian11' (known: debian12, debian13, unstable)" in done.stderr
