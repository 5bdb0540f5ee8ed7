"""The commands shown with outputs, run on the real kernel: they work, and print what is shown."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from scripts.lib.docs import outputs
from scripts.lib.docs.blocks import DOCS, TOP, Step, pages

SESSIONS = [(page, name) for page in pages() for name in outputs.sessions(page)]

_ATTEMPTS = 10

pytestmark = pytest.mark.xdist_group("docs")


@pytest.fixture(scope="module")
def tutorial_elf() -> Path:
    """The kernel with the tutorial's bug. It is built once: cargo sees what has changed."""
    script = """. scripts/lib/common.sh && load_environment && . scripts/lib/patched_kernel.sh \
        && patched_kernel docs/tutorial.patch"""
    done = subprocess.run(["bash", "-c", script], cwd=TOP, capture_output=True, text=True, timeout=580)
    if done.returncode:
        pytest.fail(done.stderr[-2000:], pytrace=False)
    return Path(done.stdout.strip())


def steps_of(page: Path, name: str) -> list[Step]:
    return [step for block in outputs.sessions(page)[name] for step in block.steps]


def beginning(lines: list[str]) -> list[str]:
    """The first words of an output, without their numbers."""
    return re.sub(r"0x[0-9a-f]+|\d[\d,.]*", "N", lines[0]).split()[:2] if lines else []


@pytest.mark.parametrize(("page", "name"), SESSIONS, ids=lambda value: getattr(value, "stem", value))
def test_a_session_prints_what_is_shown(
    page: Path, name: str, kernel_elf: Path, request: pytest.FixtureRequest
) -> None:
    kernel = request.getfixturevalue("tutorial_elf") if outputs.patch_of(name) else kernel_elf
    steps = steps_of(page, name)
    for attempt in range(_ATTEMPTS):
        try:
            printed = outputs.run(steps, kernel, outputs.options_of(name))
        except outputs.CommandFailedError:
            # With the tutorial's bug the kernel may hang or fail: its tasks write to each other's memory.
            if kernel == kernel_elf or attempt == _ATTEMPTS - 1:
                raise
            continue
        if not _is_to_be_repeated(printed, has_bug=kernel != kernel_elf):
            break
    for step, lines in zip(steps, printed, strict=True):
        assert beginning(lines) == beginning(step.output), f"{step.command}: run scripts/docs --outputs"
    if name == "tutorial":
        _require_the_bug(dict(zip([step.command for step in steps], printed, strict=True)))


def _is_to_be_repeated(printed: list[list[str]], *, has_bug: bool) -> bool:
    """Whether, as the page says can happen, the bug did not show, newer events have replaced its own, or it
    has taken the page from task 5 before; or whether the kernel failed during the stress test."""
    said = [line for lines in printed for line in lines]
    if has_bug and not any(line.startswith("stress test: ") for line in said):
        return True
    passed = "stress test: passed" in said or "stress_frames_lost: 0" in said
    other_owner = any(re.match(r" +owner +task (?!5 )", line) for line in said)
    return passed or other_owner or any(line.startswith("Events (none") for line in said)


def _require_the_bug(last: dict[str, list[str]]) -> None:
    """What the tutorial says of its outputs is true of these; of a command given twice, the later one."""
    assert last["console *t"][0] == "stress test: FAILED"
    (lost,) = [line for line in last["console *t"] if line.startswith("stress_frames_lost: ")]
    assert int(lost.split()[1]) > 0
    found = "\n".join(last["check"])
    stale = re.search(
        r"lazy page 0x200000004000: expected mapped to 0xa000000; found mapped to (0x\w+)", found
    )
    assert stale is not None, found
    assert "found Free of task 0" in found
    assert f"maps to    {stale[1]}, rw- at EL0; the frame on record is 0xa000000" in "\n".join(
        last["lazy 0x200000004000"]
    )
    assert last["translate 0x200000004000 --asid 5"][-1] == f"→ physical {stale[1]}"
    assert sum("linear map" in line for line in last["maps --find-physical 0xa000000"]) == 1
    listed = "\n".join(last["list strategies.rs:101,119"])
    assert "write_descriptor(entry, descriptor);" in listed


def test_the_tutorials_stress_test_has_hogs_that_failed() -> None:
    """As it is shown. In another run there may be none."""
    (stress,) = [step for step in steps_of(DOCS / "tutorial.md", "tutorial") if step.command == "console *t"]
    assert any("(hog) ended: exited with code 1" in line for line in stress.output)


def test_the_tutorials_first_check_finds_lost_frames() -> None:
    """As it is shown: the counter is wrong by as many frames as nobody has."""
    steps = [step for step in steps_of(DOCS / "tutorial.md", "tutorial") if step.command == "check"]
    numbers = [
        [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\d|\d", line.partition(":")[2])]
        for line in steps[0].output
        if line.startswith("  fr")
    ]
    (free, free_kept), (owned, counted) = numbers
    assert free_kept - free == owned - counted > 0


def test_without_the_bug_nothing_is_found() -> None:
    """As it is shown; the first test here holds the program to it."""
    (check,) = [step for step in steps_of(DOCS / "tutorial.md", "fixed") if step.command == "check"]
    assert check.output[-1] == "0 findings"
