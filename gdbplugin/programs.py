"""Finds and tries the programs that run and debug TinyOS, and says how to install them.

Set-up (scripts/lib/setup.py) runs this before any package is installed, so it uses only Python's standard
library; scripts/lib/rust.py adds the Rust that builds the kernel.
A program is tried for what it must do; versions are compared only if there is no other way.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

PYTHON_MINIMUM = "3.11"
QEMU_MINIMUM = "9.0"
GDB_MINIMUM = "13"

_TRIAL_SECONDS = 20.0
_GDB_TRIAL = (
    "python import sys; gdb.execute('set architecture aarch64', to_string=True); gdb.MICommand; "
    "print('serves', gdb.VERSION, '%d.%d' % sys.version_info[:2])"
)
_PYTHON_VERSION = 'import sys; print("%d.%d" % sys.version_info[:2])'
# These only say where a Python may write compiled files.
_OF_ANY_PYTHON = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


class UnfitError(Exception):
    """No usable program. The message says what was found."""


@dataclass(frozen=True)
class Need:
    """A required program, and how to install it."""

    what: str
    """Its name, version, and what it must be able to do."""
    program: str
    """Its usual file name."""
    sources: Mapping[str, str]
    """For each system, the command that installs it, with the oldest release in brackets."""

    @property
    def advice(self) -> str:
        """How to install it, in one line."""
        command = " ".join(self.sources["Debian"].split())
        return f"{command} on Debian; elsewhere {self.what}"


PYTHON = Need(
    f"Python {PYTHON_MINIMUM} or newer, with venv",
    "python3",
    {
        "Debian": "apt install python3 python3-venv  (12 or newer)",
        "Ubuntu": "apt install python3 python3-venv  (24.04 or newer)",
        "Fedora": "dnf install python3",
        "Arch": "pacman -S python",
        "macOS": "brew install python",
    },
)
COMPILER = Need(
    "a C compiler that links programs for this machine",
    "cc",
    {
        "Debian": "apt install gcc libc6-dev",
        "Ubuntu": "apt install gcc libc6-dev",
        "Fedora": "dnf install gcc",
        "Arch": "pacman -S gcc",
        "macOS": "xcode-select --install",
    },
)
QEMU = Need(
    f"QEMU {QEMU_MINIMUM} or newer, with the machine raspi4b",
    "qemu-system-aarch64",
    {
        "Debian": "apt install qemu-system-arm  (13 or newer; on 12 from bookworm-backports, with -t)",
        "Ubuntu": "apt install qemu-system-arm  (25.04 or newer; 24.04 has 8.2, which lacks raspi4b)",
        "Fedora": "dnf install qemu-system-aarch64",
        "Arch": "pacman -S qemu-system-aarch64",
        "macOS": "brew install qemu",
    },
)
GDB = Need(
    f"GDB {GDB_MINIMUM} or newer, with AArch64 and Python {PYTHON_MINIMUM} or newer inside",
    "gdb-multiarch",
    {
        "Debian": "apt install gdb-multiarch",
        "Ubuntu": "apt install gdb-multiarch",
        "Fedora": "dnf install gdb",
        "Arch": "pacman -S aarch64-linux-gnu-gdb",
        "macOS": "brew install aarch64-elf-gdb",
    },
)


# Versions


def numbers_of(version: str) -> tuple[int, ...]:
    """The numbers at the start of a version, after an epoch: `1:10.0.2+ds-2` is (10, 0, 2). May be empty."""
    found = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()


def at_least(version: str, minimum: str) -> bool:
    """Whether a version is `minimum` or newer; False for one without numbers."""
    have, wanted = numbers_of(version), numbers_of(minimum)
    return bool(have) and have + (0,) * (len(wanted) - len(have)) >= wanted


# Looking for programs


def on_path(*names: str) -> Iterator[str]:
    """Every executable on PATH with one of these names, in their order; links to the same file count once."""
    seen: set[str] = set()
    for name in names:
        for folder in os.get_exec_path():
            path = shutil.which(name, path=folder or ".")
            if path is not None and (key := os.path.realpath(path)) not in seen:
                seen.add(key)
                yield path


def on_path_numbered(name: str, *, plain_first: bool = False) -> list[str]:
    """Every executable on PATH called `name` or `name-N`, highest N first; `name` itself last, or first."""
    form = re.compile(re.escape(name) + r"(?:-(\d+(?:\.\d+)*))?")
    found = {}
    for folder in os.get_exec_path():
        try:
            entries = os.listdir(folder or ".")
        except OSError:  # Folders on PATH may be missing.
            continue
        found.update(
            {entry: numbers_of(match[1] or "") for entry in entries if (match := form.fullmatch(entry))}
        )
    return list(
        on_path(
            *sorted(found, key=lambda entry: (found[entry] == () and plain_first, found[entry]), reverse=True)
        )
    )


def first_that_serves(trial: Callable[[str], Result], candidates: Iterable[str], program: str) -> Result:
    """What `trial` returns for the first candidate that it accepts. Raises `UnfitError` with all problems."""
    problems = []
    for candidate in candidates:
        try:
            return trial(candidate)
        except UnfitError as error:
            problems.append(str(error))
    raise UnfitError("; ".join(problems) or f"there is no program {program}")


def run(
    arguments: Sequence[str],
    *,
    seconds: float = _TRIAL_SECONDS,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    given: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. Raises `UnfitError` if it cannot be started or takes too long."""
    try:
        return subprocess.run(
            arguments,
            cwd=folder,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        raise UnfitError(f"found {arguments[0]}, but it does not run: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise UnfitError(f"found {arguments[0]}, but it did not answer within {seconds:g} s") from error


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a failed program wrote, else its exit status."""
    said = [line.strip() for line in (done.stderr + done.stdout).splitlines()]
    reasons = [line for line in said if line and not line.startswith("Error while executing Python")]
    return reasons[-1] if reasons else f"it exited with status {done.returncode}"


# Python


def find_python(outside: Path) -> str:
    """A Python that makes virtual environments and is not in the folder `outside`.

    The system's own comes first: GDB contains that one, and the `python3` of a version manager may change.
    Raises `UnfitError`.
    """
    names = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
    candidates = [path for path in on_path(*names) if outside not in Path(path).parents]
    candidates.sort(key=lambda path: path != "/usr/bin/python3")
    return first_that_serves(try_python, candidates, PYTHON.program)


def try_python(path: str) -> str:
    """The path, if this Python is usable. Raises `UnfitError`."""
    version = python_version(path)
    if not at_least(version, PYTHON_MINIMUM):
        raise UnfitError(f"found {path}, which is {version or 'of no known version'}")
    if run([path, "-c", "import venv, ensurepip"]).returncode != 0:
        raise UnfitError(f"found {path}, but without the modules venv and ensurepip")
    return path


def python_version(path: str) -> str:
    """Major and minor version of a Python, `3.11`. Raises `UnfitError` if it does not run."""
    answer = run([path, "-c", _PYTHON_VERSION])
    if answer.returncode != 0:
        raise UnfitError(f"found {path}, but it does not run: {last_words(answer)}")
    return answer.stdout.strip()


# The C compiler


def find_compiler() -> str:
    """A C compiler for this machine. Raises `UnfitError`."""
    return first_that_serves(try_compiler, on_path(COMPILER.program), COMPILER.program)


def try_compiler(path: str) -> str:
    """The path, if this compiler links a program. Raises `UnfitError`."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [path, "-x", "c", "-o", str(Path(folder) / "program"), "-"]
        done = run(arguments, given="int main(void) { return 0; }\n")
    if done.returncode != 0:
        raise UnfitError(f"found {path}, but it cannot link a program: {last_words(done)}")
    return path


# QEMU


def find_qemu() -> str:
    """A QEMU that has the machine raspi4b. Raises `UnfitError`."""
    return first_that_serves(try_qemu, on_path(QEMU.program), QEMU.program)


def try_qemu(path: str) -> str:
    """The path, if this QEMU has the machine raspi4b. Raises `UnfitError`."""
    machines = run([path, "-M", "help"])
    if machines.returncode != 0:
        raise UnfitError(f"found {path}, but it does not run: {last_words(machines)}")
    if "raspi4b" not in machines.stdout.split():
        version = re.search(r"QEMU \S* *version (\d[\d.]*)", run([path, "--version"]).stdout)
        known = version[1] if version else "of no known version"
        raise UnfitError(f"found {path}, which is {known} and has no machine raspi4b")
    return path


# GDB


def find_gdb() -> str:
    """A GDB with AArch64 and a Python for the plugin. Raises `UnfitError`.

    A distribution's plain `gdb` often supports only its own machine.
    """
    names = ("gdb-multiarch", "aarch64-elf-gdb", "aarch64-none-elf-gdb", "aarch64-linux-gnu-gdb", "gdb")
    return first_that_serves(try_gdb, on_path(*names), GDB.program)


def try_gdb(path: str) -> str:
    """The path, if this GDB is usable. Raises `UnfitError`."""
    problem = _gdb_problem(path)
    if problem:
        raise UnfitError(f"found {path}, {problem}")
    return path


@functools.cache
def _gdb_problem(path: str) -> str:
    """Why a GDB is not usable; empty if it is. Starting one takes a while, so each is tried once."""
    done = run([path, "-nx", "-batch", "-ex", _GDB_TRIAL], environment=gdb_environment())
    answer = next((line.split() for line in done.stdout.splitlines() if line.startswith("serves ")), [])
    if len(answer) < 3:
        return f"but it lacks AArch64 or Python: {last_words(done)}"
    # Fedora's GDB says "Fedora Linux 15.2": its number is the last word before Python's version.
    gdb_version, python_version = answer[-2:]
    if not at_least(gdb_version, GDB_MINIMUM):
        return f"which is {gdb_version}"
    if not at_least(python_version, PYTHON_MINIMUM):
        return f"but with Python {python_version} inside"
    return ""


RAM_VARIABLE, CONSOLE_VARIABLE, RECORDING_VARIABLE = "TINYOS_RAM", "TINYOS_CONSOLE", "TINYOS_RECORDING"
# Where the gdbstub of the recorded machine listens.
RECORDED_VARIABLE = "TINYOS_RECORDED"
# How the session was begun, as Python.
BEGUN_VARIABLE = "TINYOS_BEGUN"
"""By these a session tells its GDB where the guest's RAM and the console's log are: names of files."""


def gdb_environment() -> dict[str, str]:
    """The environment for GDB: ours without the variables of this Python.

    GDB contains its own Python: $PYTHONHOME could prevent it from starting, and $PYTHONPATH would give it
    modules of another version.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") or name in _OF_ANY_PYTHON
    }
