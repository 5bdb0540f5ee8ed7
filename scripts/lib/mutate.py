"""Applies known faults to a copy of the kernel, one by one, and runs the tests that should notice each.

A fault is an entry of `tests/mutations.toml`: the text to find in a file, what replaces it, and the tests.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

TOP = Path(__file__).resolve().parents[2]
_FAULTS = TOP / "tests" / "mutations.toml"
_SECONDS = 900.0
_HOST = "host"
"""Stands for the kernel's tests on the host."""


class MutationError(Exception):
    """A fault that cannot be tried; the message says why, in one line."""


@dataclass(frozen=True)
class Fault:
    """A known fault: `find` stands exactly once in `file`. `tests` are arguments of pytest, or `host`.

    Each of them must notice the fault without the others.
    """

    name: str
    what: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]


def read_faults(text: str) -> list[Fault]:
    """The faults of a TOML text. Raises `MutationError` where an entry lacks something."""
    faults = []
    for entry in tomllib.loads(text).get("fault", []):
        try:
            faults.append(Fault(**{**entry, "tests": tuple(entry["tests"])}))
        except (KeyError, TypeError) as error:
            raise MutationError(f"fault {entry.get('name', '?')}: {error}") from error
    return faults


def mutated(content: str, fault: Fault) -> str:
    """The content of the fault's file with the fault in it. Raises `MutationError` if it does not apply."""
    count = content.count(fault.find)
    if count != 1:
        raise MutationError(f"its text stands {count} times in {fault.file}, not once")
    return content.replace(fault.find, fault.replace)


class Copy:
    """A copy of the checkout that has its own kernel, built in a folder that is kept between faults."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=TOP,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            source = TOP / name
            if source.is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, folder / name)
        shutil.copytree(
            TOP / "build", folder / "build", ignore=lambda path, names: _not_of_setup(path, names)
        )

    def try_fault(self, fault: Fault) -> list[str]:
        """For each of a fault's tests, the one that noticed; empty where none did.

        Raises `MutationError` if it cannot be tried.
        """
        path = self.folder / fault.file
        before = path.read_text(encoding="utf-8")
        path.write_text(mutated(before, fault), encoding="utf-8")
        try:
            if set(fault.tests) != {_HOST}:
                self._build()
            return [self._noticed(tests) for tests in fault.tests]
        finally:
            path.write_text(before, encoding="utf-8")

    def _build(self) -> None:
        done = self._run("bash", "-c", ". scripts/lib/common.sh && load_environment && build_kernel")
        if done.returncode:
            raise MutationError(f"it does not build: {_last_line(done)}")

    def _noticed(self, tests: str) -> str:
        if tests == _HOST:
            script = (
                ". scripts/lib/common.sh && load_environment && cargo_in_kernel test --quiet --locked "
                '--target "$TINYOS_RUST_HOST" --lib'
            )
            done = self._run("bash", "-c", script)
            failed = re.search(r"^    (\w+(?:::\w+)+)$", done.stdout, re.MULTILINE)
            if done.returncode and failed is None:
                raise MutationError(f"the kernel's tests do not run: {_last_line(done)}")
            return f"host: {failed[1]}" if failed else ""
        pytest = str(TOP / ".venv/bin/pytest")
        kernel = f"--tinyos-kernel={self.folder}/build/kernel.elf"
        done = self._run(pytest, "-q", "-x", kernel, "-p", "no:cacheprovider", "--tb=no", *tests.split())
        failed = re.search(r"^(?:FAILED|ERROR) ([^\s\[]+)", done.stdout, re.MULTILINE)
        if done.returncode and failed is None:
            raise MutationError(f"its tests do not run: {_last_line(done)}")
        return failed[1].removeprefix("tests/") if failed else ""

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "TINYOS_TOP": str(self.folder),
            "PYTHONPATH": str(self.folder),
            # A failing case is enough: it is not simplified, and its stack is not shown.
            "PROPTEST_MAX_SHRINK_ITERS": "0",
            "RUST_BACKTRACE": "0",
        }
        try:
            return subprocess.run(
                arguments,
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                errors="backslashreplace",
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise MutationError(f"{arguments[0]} took longer than {_SECONDS:g} s") from error


def _not_of_setup(path: str, names: list[str]) -> set[str]:
    """What of build/ a copy does not need: all but what set-up has found, and the kernel."""
    if Path(path) != TOP / "build":
        return set()
    return {
        name for name in names if not (name == "environment" or name.startswith(("kernel", "setup.stamp")))
    }


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit status {done.returncode}"


def main() -> int:
    """Try the faults that are named, or all."""
    parser = argparse.ArgumentParser(prog="scripts/mutate", add_help=False)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    faults = read_faults(_FAULTS.read_text(encoding="utf-8"))
    unknown = set(options.names) - {fault.name for fault in faults}
    if unknown:
        print(f"tinyos: error: no fault {', '.join(sorted(unknown))}; --list shows them", file=sys.stderr)
        return 1
    chosen = [fault for fault in faults if not options.names or fault.name in options.names]
    if options.list:
        print(tabulate([(fault.name, fault.what) for fault in chosen], ("fault", "what is wrong")))
        return 0
    return _try(chosen)


def _try(faults: list[Fault]) -> int:
    rows, missed = [], 0
    with tempfile.TemporaryDirectory(prefix="tinyos-mutate-") as folder:
        copy = Copy(Path(folder))
        for number, fault in enumerate(faults, 1):
            print(f"tinyos: fault {number} of {len(faults)}: {fault.name}", file=sys.stderr)
            started = time.monotonic()
            try:
                found = copy.try_fault(fault)
            except MutationError as error:
                missed += 1
                said = [str(error)]
            else:
                missed += not all(found)
                said = [by or f"NOT NOTICED by {tests}" for by, tests in zip(found, fault.tests, strict=True)]
            for line in said:
                print(f"  {line}", file=sys.stderr)
            rows.append((fault.name, "\n".join(said), f"{time.monotonic() - started:.0f} s"))
    print(tabulate(rows, ("fault", "noticed by", "time")))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
