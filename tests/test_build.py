"""The build, and what the scripts say: nothing is built twice, and what fails says so each time."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.setup_sandbox import (
    CARGO,
    TOP,
    Sandbox,
    touch_later,
)
from tests.test_flat_image import PT_LOAD, elf, flat_image

# Building


@pytest.fixture
def built(ready: Sandbox) -> Sandbox:
    (ready.top / "prepared.elf").write_bytes(elf((PT_LOAD, 0x80000, b"kernel", 6)))
    result = ready.run("build")
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    return ready


def cargo_calls(sandbox: Sandbox, recorder: bool = False) -> list[str]:
    """The calls of cargo that build the kernel, or the recorder."""
    calls = sandbox.calls_of("cargo")
    sandbox.forget()
    return [call for call in calls if ("/build/recorder" in call) == recorder]


def test_the_build_leaves_an_elf_and_a_flat_image(built: Sandbox) -> None:
    assert (built.top / "build/kernel.elf").read_bytes() == (built.top / "prepared.elf").read_bytes()
    assert (built.top / "build/kernel8.img").read_bytes() == b"kernel"
    assert cargo_calls(built) == [
        "cargo build --target aarch64-unknown-none-softfloat -Zbuild-std=core,compiler_builtins"
        " -Zbuild-std-features=compiler-builtins-mem --quiet --locked --release --bin kernel"
    ]


def test_an_unchanged_kernel_is_not_built_again(built: Sandbox) -> None:
    cargo_calls(built)
    assert built.run("build").stderr == ""
    assert cargo_calls(built) == []


def test_the_recorder_is_built_where_a_source_of_it_changed(built: Sandbox) -> None:
    assert (built.top / "build/recorder.so").read_text() == "recorder\n"
    assert len(cargo_calls(built, recorder=True)) == 1
    assert built.run("build").returncode == 0
    assert cargo_calls(built, recorder=True) == []
    touch_later(built.top / "qemu/recorder/Cargo.toml")
    assert built.run("build").returncode == 0
    assert len(cargo_calls(built, recorder=True)) == 1


@pytest.mark.parametrize("change", ["kernel/src/main.rs", "kernel/Cargo.toml", "build/environment"])
def test_a_changed_source_is_built_again(built: Sandbox, change: str) -> None:
    cargo_calls(built)
    touch_later(built.top / change)
    elf_before = (built.top / "build/kernel.elf").stat()
    assert built.run("build").returncode == 0
    assert len(cargo_calls(built)) == 1
    elf_after = (built.top / "build/kernel.elf").stat()
    assert (elf_after.st_ino, elf_after.st_mtime_ns) == (elf_before.st_ino, elf_before.st_mtime_ns)


def test_a_failing_build_says_so_and_leaves_the_last_kernel(built: Sandbox) -> None:
    source = built.top / "kernel/src/main.rs"
    source.write_text("left\n")
    touch_later(source)
    for _ in range(2):
        result = built.run("build")
        assert result.returncode == 1
        assert "error: wrong source" in result.stderr
        assert "the kernel does not build" in result.stderr
    assert (built.top / "build/kernel8.img").read_bytes() == b"kernel"


@pytest.mark.parametrize("lost", ["kernel8.img", "boot/kernel8.img", "boot/config.txt"])
def test_a_lost_file_is_made_again(built: Sandbox, lost: str) -> None:
    before = (built.top / "build" / lost).read_bytes()
    (built.top / "build" / lost).unlink()
    assert built.run("build").returncode == 0
    assert (built.top / "build" / lost).read_bytes() == before


def test_the_build_leaves_what_a_boot_partition_needs(built: Sandbox) -> None:
    boot = built.top / "build/boot"
    assert sorted(path.name for path in boot.iterdir()) == ["config.txt", "kernel8.img"]
    assert (boot / "kernel8.img").read_bytes() == b"kernel"
    # The firmware reads at most 98 characters of a line; a comment has a line to itself.
    lines = (boot / "config.txt").read_text().splitlines()
    assert max(map(len, lines)) <= 98
    settings = dict(line.split("=") for line in lines if not line.startswith("#"))
    assert settings == {
        "arm_64bit": "1",
        "kernel": "kernel8.img",
        "kernel_address": f"{flat_image.LOAD_ADDRESS:#x}",
        "enable_uart": "1",
        "dtoverlay": "disable-bt",
        "enable_jtag_gpio": "1",
    }


HOSTILE = {
    "RUSTFLAGS": "-D warnings",
    "CARGO_ENCODED_RUSTFLAGS": "-Dwarnings",
    "CARGO_BUILD_TARGET": "wasm32-unknown-unknown",
    "CARGO_TARGET_DIR": "/nowhere",
    "CARGO_PROFILE_RELEASE_DEBUG": "0",
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
    "PIP_USER": "1",
    "CDPATH": "/",
}


def test_variables_for_other_programs_change_nothing(built: Sandbox) -> None:
    """They are kept from what is started; where packages come from is the user's to say."""
    built.program("cargo", f"env >../seen\n{CARGO}", built.sysroot / "bin")
    touch_later(built.top / "kernel/src/main.rs")
    result = built.run("build", PIP_INDEX_URL="https://example.invalid", TMPDIR="/nowhere", **HOSTILE)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    seen = dict(line.partition("=")[::2] for line in (built.top / "seen").read_text().splitlines())
    assert not HOSTILE.keys() & seen.keys()
    assert seen["PIP_INDEX_URL"] == "https://example.invalid"


# The commands


@pytest.mark.parametrize("script", ["setup", "build", "test", "docs", "systems"])
def test_help_names_what_the_command_does(script: str) -> None:
    result = subprocess.run([TOP / "scripts" / script, "--help"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: scripts/{script}")


@pytest.mark.parametrize("script", ["setup", "build", "docs"])
def test_an_unknown_argument_is_refused(script: str) -> None:
    result = subprocess.run([TOP / "scripts" / script, "--now"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert result.stdout == ""


def test_continuous_integration_only_calls_scripts() -> None:
    words = [
        line.split() for line in (TOP / ".ci/run").read_text().splitlines() if line.startswith("scripts/")
    ]
    assert [line[0] for line in words] == ["scripts/test", "scripts/test", "scripts/docs"]
    assert words[0][1:] == ["||", "status=1"]
    folders = [f"tests/{name}" for name in ("debugger", "session", "integration", "recording")]
    assert words[1][1:] == ["--newest", *folders, "||", "status=1"]
    assert words[2][1:] == ["||", "status=1"]


@pytest.mark.parametrize("failing", ["", "first", "second", "docs"])
def test_continuous_integration_fails_where_a_run_failed(tmp_path: Path, failing: str) -> None:
    for folder in (".ci", "scripts"):
        (tmp_path / folder).mkdir()
    shutil.copy(TOP / ".ci/run", tmp_path / ".ci/run")
    run = "$(basename $0) $1"
    for name in ("test", "docs"):
        script = tmp_path / "scripts" / name
        script.write_text(
            f"""#!/bin/sh
echo "$@" >>runs
case "{run}" in
    "docs ") [ "{failing}" != docs ];;
    "test --newest") [ "{failing}" != second ];;
    *) [ "{failing}" != first ];;
esac
"""
        )
        script.chmod(0o755)
    done = subprocess.run([tmp_path / ".ci/run"], timeout=60)
    assert done.returncode == (1 if failing else 0)
    assert len((tmp_path / "runs").read_text().splitlines()) == 3


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_a_message_that_nobody_can_see_ends_no_script(tmp_path: Path, redirected: str) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/usr/bin/env bash\nset -e\n. '{TOP}/scripts/lib/common.sh'\nsay hello\necho done\n")
    script.chmod(0o755)
    done = subprocess.run(["bash", "-c", f"'{script}' {redirected}"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"done\n")


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_a_set_up_that_nobody_can_see_is_done(sandbox: Sandbox, redirected: str) -> None:
    sandbox.all_programs()
    script = f"'{sandbox.top}/scripts/setup' {redirected}"
    done = subprocess.run(["bash", "-c", script], env=sandbox.environment(), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")
    assert sandbox.setup() == ""


def test_a_checkout_in_a_folder_that_is_not_utf_8(sandbox: Sandbox) -> None:
    sandbox.all_programs()
    sandbox.top = sandbox.top.rename(sandbox.folder / "latin-\udce9")
    sandbox.setup()
    assert sandbox.setup() == ""
