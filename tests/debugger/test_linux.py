"""`tinyos lint` on Debian's Linux, as it is and with its text writable: it says what the map shows.

The kernel is looked for in `build/linux`, and nothing fetches it: on Debian 12,

    apt-get download debian-installer-12-netboot-arm64
    dpkg-deb -x debian-installer-12-netboot-arm64_*.deb build/linux
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest

from gdbplugin.session import process
from gdbplugin.session.qemu import find_qemu
from tests.debugger.conftest import gdb

FOLDER = Path(__file__).resolve().parents[2] / "build" / "linux"
KERNEL = next(FOLDER.glob("**/text/**/linux"), None)
SECONDS = 240
UP = b"Run /init"

pytestmark = pytest.mark.skipif(KERNEL is None, reason="no Linux in build/linux: see the module's docstring")


@contextlib.contextmanager
def booted(folder: Path, *words: str):
    """The address of the debug stub of a Linux that has come to its first program."""
    assert KERNEL is not None
    arguments = [find_qemu(), "-nodefaults", "-display", "none", "-machine", "virt", "-cpu", "max"]
    arguments += ["-smp", "2", "-m", "512", "-kernel", str(KERNEL)]
    arguments += ["-initrd", str(KERNEL.with_name("initrd.gz"))]
    # Without page table isolation every core has the whole of the kernel's map.
    arguments += ["-append", " ".join(("console=ttyAMA0", "kpti=off", *words))]
    arguments += ["-serial", f"file:{folder / 'console'}"]
    arguments += ["-gdb", f"unix:{folder / 'stub'},server=on,wait=off"]
    (folder / "console").touch()
    with (folder / "log").open("wb") as log:
        child = process.start(arguments, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + SECONDS
        while UP not in (folder / "console").read_bytes():
            assert time.monotonic() < deadline, "Linux has not come to its first program"
            time.sleep(0.5)
        yield str(folder / "stub")
    finally:
        process.end(child)


def looked_at(stub: str) -> tuple[dict, list[dict]]:
    """What `lint` says, and every mapping of both cores."""
    commands = ["tinyos lint --json", *(f"tinyos maps --core {core} --el 1 --json" for core in (0, 1))]
    done = gdb(f"target remote {stub}", *commands)
    assert "Traceback" not in done.errors
    found, *maps = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    return found, [mapping for one in maps for mapping in one["mappings"]]


def pages(mapping):
    return range(mapping["start"], mapping["end"], 0x1000)


def writable_and_executable(mappings):
    """Every page that some level may write and some level execute, one by one."""
    found = set()
    for mapping in mappings:
        letters = "".join(mapping["permissions"].values())
        if "w" in letters and "x" in letters:
            found |= set(pages(mapping))
    return found


def aliases(mappings):
    """The frames mapped with several memory types, and those that are executed here and writable there."""
    frames = {}
    for mapping in mappings:
        kind = mapping["memory_type"].removesuffix(", tagged")
        if kind == "Normal write-back":
            kind += mapping["shareability"]
        rights = {int(level[2:]): letters for level, letters in mapping["permissions"].items()}
        writers = [level for level, letters in rights.items() if "w" in letters]
        executors = [level for level, letters in rights.items() if "x" in letters]
        for offset in range(0, mapping["size"], 0x1000):
            use = (kind, min(writers, default=9), max(executors, default=-1), mapping["start"] + offset)
            frames.setdefault(mapping["physical"] + offset, set()).add(use)
    mismatched = {frame for frame, uses in frames.items() if len({use[0] for use in uses}) > 1}
    writable = {
        frame
        for frame, uses in frames.items()
        for one in uses
        for other in uses
        if one[3] != other[3] and other[1] <= one[2]
    }
    return mismatched, writable


def said_of(found, rule):
    """The pages or frames that the findings of a rule are about."""
    named = [one for one in found["broken"] if one["rule"] == rule]
    parts = set()
    for one in named:
        first = one["mapping"]["physical" if one["other"] else "start"]
        parts |= set(range(first, first + one["mapping"]["end"] - one["mapping"]["start"], 0x1000))
    return parts


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), {"wxn", "mismatched-alias"}), (("rodata=off",), {"wxn", "writable-executable", "writable-text"})],
    ids=["as it is", "rodata=off"],
)
def test_what_it_says_of_linux_is_what_the_map_shows(tmp_path, words, expected):
    with booted(tmp_path, *words) as stub:
        found, mappings = looked_at(stub)
    rules = {one["rule"] for one in found["broken"]}
    assert rules == expected if not words else rules >= expected
    assert found["leaves"] > 1000
    mismatched, writable = aliases(mappings)
    assert said_of(found, "writable-executable") == writable_and_executable(mappings)
    assert said_of(found, "mismatched-alias") == mismatched
    assert said_of(found, "writable-alias") == writable
