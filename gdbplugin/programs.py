"""Finds and tries the programs that build, run and debug TinyOS, and says how to install them.

Set-up (scripts/lib/setup.py) runs this before any package is installed, so it uses only Python's standard
library. A program is tried for what it must do; versions are compared only if there is no other way.
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
KERNEL_TARGET = "aarch64-unknown-none-softfloat"

_TRIAL_SECONDS = 20.0
# rustup may first have to download the toolchain that a rust-toolchain.toml names.
_RUSTUP_SECONDS = 600.0
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


def rust_need(minimum: str) -> Need:
    """The Rust that builds the kernel, version `minimum` or newer."""
    rustup = f"rustup toolchain install stable --target {KERNEL_TARGET}"
    return Need(
        f"Rust {minimum} or newer with clippy, rustfmt and the target {KERNEL_TARGET}",
        "cargo",
        {
            "Debian": "apt install rustc-web cargo-web rust-web-src rustfmt-web rust-web-clippy lld"
            "  (12, 13, with the security archive; 12: lld-19. Newer: without -web)",
            "Ubuntu": f"apt install rustup && {rustup}",
            "Fedora": f"dnf install rustup && rustup-init -y --target {KERNEL_TARGET}",
            "Arch": f"pacman -S rustup && {rustup}",
            "macOS": f"brew install rustup && {rustup}",
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


def _run(
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


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
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
    if _run([path, "-c", "import venv, ensurepip"]).returncode != 0:
        raise UnfitError(f"found {path}, but without the modules venv and ensurepip")
    return path


def python_version(path: str) -> str:
    """Major and minor version of a Python, `3.11`. Raises `UnfitError` if it does not run."""
    answer = _run([path, "-c", _PYTHON_VERSION])
    if answer.returncode != 0:
        raise UnfitError(f"found {path}, but it does not run: {_last_words(answer)}")
    return answer.stdout.strip()


# The C compiler


def find_compiler() -> str:
    """A C compiler for this machine. Raises `UnfitError`."""
    return first_that_serves(try_compiler, on_path(COMPILER.program), COMPILER.program)


def try_compiler(path: str) -> str:
    """The path, if this compiler links a program. Raises `UnfitError`."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [path, "-x", "c", "-o", str(Path(folder) / "program"), "-"]
        done = _run(arguments, given="int main(void) { return 0; }\n")
    if done.returncode != 0:
        raise UnfitError(f"found {path}, but it cannot link a program: {_last_words(done)}")
    return path


# QEMU


def find_qemu() -> str:
    """A QEMU that has the machine raspi4b. Raises `UnfitError`."""
    return first_that_serves(try_qemu, on_path(QEMU.program), QEMU.program)


def try_qemu(path: str) -> str:
    """The path, if this QEMU has the machine raspi4b. Raises `UnfitError`."""
    machines = _run([path, "-M", "help"])
    if machines.returncode != 0:
        raise UnfitError(f"found {path}, but it does not run: {_last_words(machines)}")
    if "raspi4b" not in machines.stdout.split():
        version = re.search(r"QEMU \S* *version (\d[\d.]*)", _run([path, "--version"]).stdout)
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
    done = _run([path, "-nx", "-batch", "-ex", _GDB_TRIAL], environment=gdb_environment())
    answer = next((line.split() for line in done.stdout.splitlines() if line.startswith("serves ")), [])
    if len(answer) < 3:
        return f"but it lacks AArch64 or Python: {_last_words(done)}"
    # Fedora's GDB says "Fedora Linux 15.2": its number is the last word before Python's version.
    gdb_version, python_version = answer[-2:]
    if not at_least(gdb_version, GDB_MINIMUM):
        return f"which is {gdb_version}"
    if not at_least(python_version, PYTHON_MINIMUM):
        return f"but with Python {python_version} inside"
    return ""


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


# Rust


@dataclass(frozen=True)
class Rust:
    """A Rust that builds the kernel."""

    cargo: str
    host: str
    """The target triple of this machine."""
    build_std: bool
    """Whether the target's `core` must be built from source."""
    linker: str
    """The linker that cargo must use; empty if Rust has its own."""


@dataclass(frozen=True)
class Toolchain:
    """An installed Rust, possibly incomplete."""

    sysroot: Path
    host: str

    @property
    def cargo(self) -> str:
        """The toolchain's own cargo: the one on PATH may be a proxy or a link."""
        return str(self.sysroot / "bin" / "cargo")

    @property
    def has_target(self) -> bool:
        """Whether it has a compiled `core` for the kernel's target."""
        return any((self.sysroot / "lib/rustlib" / KERNEL_TARGET / "lib").glob("libcore-*.rlib"))

    @property
    def has_components(self) -> bool:
        """Whether it has cargo, clippy and rustfmt."""
        names = ("cargo", "cargo-clippy", "clippy-driver", "cargo-fmt", "rustfmt")
        return all(os.access(self.sysroot / "bin" / name, os.X_OK) for name in names)

    def rust(self) -> Rust:
        """The Rust, if it can build the kernel. Raises `UnfitError`."""
        if not self.has_components:
            raise UnfitError(f"found {self.cargo}, but without clippy and rustfmt")
        source = self.sysroot / "lib/rustlib/src/rust/library/core/Cargo.toml"
        if not self.has_target and not source.is_file():
            raise UnfitError(
                f"found {self.cargo}, but without the target {KERNEL_TARGET}, "
                "and without the library's source to build it from"
            )
        linker = ""
        if not os.access(self.sysroot / "lib/rustlib" / self.host / "bin" / "rust-lld", os.X_OK):
            linker = next(iter(on_path_numbered("ld.lld")), "")
            if not linker:
                raise UnfitError(f"found {self.cargo}, but neither rust-lld nor ld.lld")
        return Rust(self.cargo, self.host, not self.has_target, linker)


def rust_minimum(kernel: Path) -> str:
    """The oldest Rust that the kernel's manifest allows; else the first with its edition, 2024."""
    try:
        manifest = (kernel / "Cargo.toml").read_text(encoding="utf-8")
    except FileNotFoundError:
        manifest = ""
    found = re.search(r'^rust-version *= *"([0-9.]+)"', manifest, re.MULTILINE)
    return found[1] if found else "1.85"


def find_rustup() -> str | None:
    """The installed rustup, also in a folder that is on PATH only in shells started later."""
    return shutil.which("rustup") or shutil.which("rustup", path=os.path.expanduser("~/.cargo/bin"))


def rustup_cargo(kernel: Path) -> str | None:
    """The cargo of the toolchain that rustup chooses in the kernel's folder, where a file may name one."""
    rustup = find_rustup()
    if rustup is None:
        return None
    done = _run([rustup, "which", "cargo"], seconds=_RUSTUP_SECONDS, folder=kernel)
    return done.stdout.strip() or None if done.returncode == 0 else None


def toolchain(cargo: str, kernel: Path) -> Toolchain:
    """The toolchain that a cargo belongs to. Raises `UnfitError` if it is too old or does not run.

    The compiler next to that cargo, run in the kernel's folder, says where its toolchain is.
    """
    # Ubuntu's cargo-1.89 is a link into the toolchain's own folder.
    beside = Path(cargo if Path(cargo).name == "cargo" else os.path.realpath(cargo)).parent
    try:
        answer = _run([str(beside / "rustc"), "--print", "sysroot"], folder=kernel, seconds=_RUSTUP_SECONDS)
    except UnfitError as error:
        raise UnfitError(f"found {cargo}, but its rustc does not run") from error
    sysroot = Path(answer.stdout.strip())
    if answer.returncode != 0:
        raise UnfitError(f"found {cargo}, but its rustc does not run: {_last_words(answer)}")
    said = _run([str(sysroot / "bin" / "rustc"), "--version", "--verbose"]).stdout
    facts = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    version = facts.get("release", "")
    if not at_least(version, rust_minimum(kernel)):
        raise UnfitError(f"found {cargo}, which is {version or 'of no known version'}")
    return Toolchain(sysroot, facts.get("host", ""))
