"""The set-up itself, run by lib/common.sh with the lock held: `python3 scripts/lib/setup.py CHECKOUT`.

Each step looks first and does only what is missing. The last one writes the stamp. It runs before anything is
installed, so it needs nothing but Python's standard library.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import rust
from debian import Apt, CannotInstallError, parse_os_release
from rust import Rust

from gdbplugin import programs
from gdbplugin.programs import Need, UnfitError

_TAIL_LINES = 20
_UNFINISHED = "unfinished\n"


def tell(text: str) -> None:
    """Write a line to standard error. Where that is closed or full nobody is told, and set-up goes on."""
    try:
        if sys.stderr is not None:
            print(text, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = None  # What it still holds would be written at the exit, and spoil the status.


def say(message: str) -> None:
    """Report progress."""
    tell(f"tinyos: {message}")


def fail(message: str) -> NoReturn:
    """End the set-up with one line."""
    say(f"error: {message}")
    sys.exit(1)


@dataclass(frozen=True)
class Found:
    """What set-up has found to work with."""

    python: str
    qemu: str
    gdb: str
    rust: Rust


class Setup:
    """One run of the set-up in one checkout."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.kernel = top / "kernel"
        self.build = top / "build"
        self.log = self.build / "setup.log"
        self.venv = top / ".venv"
        self.rust_minimum = rust.rust_minimum(self.kernel)

    def run(self) -> None:
        """Do all of it; ends the process where that cannot be done."""
        stamp = self.build / "setup.stamp"
        # The stamp carries the time set-up began, so that an input saved while it runs is newer.
        begun = self.build / "setup.stamp.new"
        begun.write_bytes(b"")
        stamp.unlink(missing_ok=True)
        found = self.programs()
        self.install_python_packages(found.python)
        self.write_environment(found)
        begun.replace(stamp)

    # Programs

    def programs(self) -> Found:
        """Every program that is needed, installed where it was missing."""
        found, problems = self.look_for_programs()
        if problems:
            system = parse_os_release(
                _text_of(Path(os.environ.get("TINYOS_OS_RELEASE") or "/etc/os-release"))
            )
            try:
                apt = Apt.open(system, say, self.run_logged)
            except CannotInstallError as error:
                self.refuse(str(error), problems)
            apt.install(list(problems), self.rust_minimum)
            found, problems = self.look_for_programs()
            if problems:
                name = system.get("ID", "the system").capitalize()
                self.refuse(f"{name}'s packages do not meet the need", problems)
        assert found is not None  # There is no problem left.
        return found

    def look_for_programs(self) -> tuple[Found | None, dict[str, str]]:
        """What was found, if all was; and for each need that is not met, what was found instead."""
        problems: dict[str, str] = {}

        def search(need: str, find: Callable[[], programs.Result]) -> programs.Result | None:
            try:
                return find()
            except UnfitError as error:
                problems[need] = str(error)
                return None

        python = search("python", lambda: programs.find_python(self.venv))
        search("compiler", programs.find_compiler)
        qemu = search("qemu", lambda: _named("TINYOS_QEMU", programs.try_qemu) or programs.find_qemu())
        gdb = search("gdb", lambda: _named("TINYOS_GDB", programs.try_gdb) or programs.find_gdb())
        builder = search("rust", lambda: _named("TINYOS_CARGO", self.try_cargo) or self.find_rust())
        if python is None or qemu is None or gdb is None or builder is None or problems:
            return None, problems
        return Found(python, qemu, gdb, builder), problems

    def refuse(self, reason: str, problems: dict[str, str]) -> NoReturn:
        """End with the one message: what is missing, what was found instead, how to get it on each system."""
        needs: dict[str, Need] = {
            "python": programs.PYTHON,
            "compiler": programs.COMPILER,
            "qemu": programs.QEMU,
            "gdb": programs.GDB,
            "rust": rust.rust_need(self.rust_minimum),
        }
        say(f"error: programs are missing, and set-up cannot install them here: {reason}.")
        for name, problem in problems.items():
            need = needs[name]
            tell(f"\n  {need.what} ({need.program})\n  ({problem})")
            for system, command in need.sources.items():
                tell(f"    {system:<10}{command}")
        tell("\nThen run the command again.")
        sys.exit(1)

    def find_rust(self) -> Rust:
        """A Rust that builds the kernel; rustup's first, wherever it is on PATH: a person chose that one."""
        chosen = rust.rustup_cargo(self.kernel)
        candidates = [*([chosen] if chosen else []), *programs.on_path_numbered("cargo", plain_first=True)]
        return programs.first_that_serves(self.try_cargo, candidates, "cargo")

    def try_cargo(self, cargo: str) -> Rust:
        """The Rust that a cargo belongs to, if it builds the kernel. rustup is asked for what it lacks."""
        toolchain = rust.toolchain(cargo, self.kernel)
        rustup = rust.find_rustup()
        if rustup is not None and toolchain.cargo == rust.rustup_cargo(self.kernel):
            name = toolchain.sysroot.name
            if not toolchain.has_target and not self.succeeds(
                rustup, "target", "add", "--toolchain", name, rust.KERNEL_TARGET
            ):
                say(f"rustup cannot get the target {rust.KERNEL_TARGET} for {name}")
            if not toolchain.has_components and not self.succeeds(
                rustup, "component", "add", "--toolchain", name, "clippy", "rustfmt"
            ):
                say(f"rustup cannot get clippy and rustfmt for {name}")
        return toolchain.rust()

    # Python packages

    def install_python_packages(self, python: str) -> None:
        """Fill .venv with what pyproject.toml names; its stamp says from what it was made."""
        stamp = self.venv / "tinyos.stamp"
        made_by = f"{self.venv}\n{python}\n{programs.python_version(python)}\n"
        wanted = made_by + hashlib.sha256((self.top / "pyproject.toml").read_bytes()).hexdigest() + "\n"
        own_python = self.venv / "bin" / "python"
        present = _text_of(stamp)
        if present == wanted and self.succeeds(str(own_python), "-c", ""):
            return
        # One made elsewhere, or by another Python, is made anew; else it is brought up to date.
        if not present.startswith(made_by):
            self.clear_virtual_environment(stamp)
            self.run_logged("making .venv", [python, "-m", "venv", str(self.venv)])
        _write(stamp, _UNFINISHED)
        pip = [str(own_python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        self.run_logged("installing the Python packages", [*pip, "--editable", f"{self.top}[test]"])
        _write(stamp, wanted)

    def clear_virtual_environment(self, stamp: Path) -> None:
        """Empty .venv but for its stamp, which proves it to be ours; one that is not is the user's."""
        is_ours = stamp.is_file() and not stamp.is_symlink() and not self.venv.is_symlink()
        if os.path.lexists(self.venv) and not is_ours:
            fail(f"{self.venv} was not made by set-up: move it away, for set-up makes one of that name")
        self.venv.mkdir(exist_ok=True)
        _write(stamp, _UNFINISHED)
        for entry in self.venv.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != stamp:
                entry.unlink()

    # build/environment

    def write_environment(self, found: Found) -> None:
        """Write what was found, for the shell. An unchanged file stays: a newer one sets off a build."""
        values = {
            "TINYOS_ROOT": str(self.top),
            "TINYOS_PYTHON": str(self.venv / "bin" / "python"),
            "TINYOS_QEMU": found.qemu,
            "TINYOS_GDB": found.gdb,
            "TINYOS_CARGO": found.rust.cargo,
            "TINYOS_RUST_HOST": found.rust.host,
            "TINYOS_RUST_BUILD_STD": "yes" if found.rust.build_std else "no",
            "TINYOS_RUST_LINKER": found.rust.linker,
        }
        content = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
        path = self.build / "environment"
        if _text_of(path) != content:
            unfinished = self.build / "environment.new"
            _write(unfinished, content)
            unfinished.replace(path)

    # Commands

    def run_logged(self, message: str, command: Sequence[str]) -> None:
        """Run a command, its output in the log. Where it fails, show the end of that and stop."""
        say(message)
        if not self.succeeds(*command):
            tell("\n".join(_text_of(self.log).splitlines()[-_TAIL_LINES:]))
            fail(f"{message}: failed; the whole log is {self.log}")

    def succeeds(self, *command: str) -> bool:
        """Whether a command ends with status 0. Its output goes to the log."""
        with self.log.open("a", encoding="utf-8", errors="surrogateescape") as log:
            print(f"\n== {shlex.join(command)}", file=log, flush=True)
            try:
                # Without a time limit: downloads may be slow, and apt and pip have limits of their own.
                done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
            except OSError as error:
                print(error, file=log)
                return False
        return done.returncode == 0


def _named(variable: str, trial: Callable[[str], programs.Result]) -> programs.Result | None:
    """What `trial` returns for the program that the caller named, which must serve; None without one."""
    named = os.environ.get(variable)
    if not named:
        return None
    path = shutil.which(named)
    if path is None:
        fail(f"{variable}={named} is not a program")
    try:
        return trial(os.path.abspath(path))
    except UnfitError as error:
        fail(f"{variable}: {error}")


def _text_of(path: Path) -> str:
    """A file's text; empty where there is none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    return ""


def _write(path: Path, text: str) -> None:
    """Write a file; what is not UTF-8 in a path's name stays as it is."""
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def main(arguments: Sequence[str]) -> None:
    """Set up the checkout named."""
    try:
        Setup(Path(arguments[0])).run()
    except OSError as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main(sys.argv[1:])
