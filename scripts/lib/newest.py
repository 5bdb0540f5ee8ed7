"""The newest GDB and QEMU of Debian's archive, beside the system's own. Run by .venv's Python.

Nothing is installed: the packages, and every library that they need, are unpacked below build/newest, and are
started there by their own dynamic loader. Standard output is two lines, the paths of GDB and of QEMU.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from debian import KEYRING, MIRROR

from gdbplugin import programs
from gdbplugin.programs import UnfitError

FOLDER = Path(__file__).resolve().parents[2] / "build" / "newest"
_SUITE = "sid"
_PACKAGES = ("gdb-multiarch", "qemu-system-arm")
# apt's own limits end what stands still; this ends what goes on for too long.
_FETCH_SECONDS = 600

# GDB finds its Python and its data beside the program that its name is.
_GDB = """#!/bin/sh
exec {loader} --library-path {libraries} --argv0 {program} {program} "$@"
"""
_QEMU = """#!/bin/sh
exec env QEMU_MODULE_DIR={modules} {loader} --library-path {libraries} --argv0 "$0" \\
    {program} -L {root}/usr/share/qemu "$@"
"""


class CannotFetchError(Exception):
    """The packages cannot be had here. The message says why, as a clause."""


class Archive:
    """Debian's archive, as an apt sees it that has no other source and knows nothing of this system."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "apt"
        self.packages = folder / "packages"

    def fetch(self, names: Sequence[str]) -> list[Path]:
        """Download packages with all that they depend on; those of an earlier time are removed."""
        self._configure()
        self._apt_get("update")
        # --print-uris leaves out what is there already, so it is asked as if nothing were.
        nowhere = f"Dir::Cache::archives={self._state}"
        asked = self._apt_get("-o", nowhere, "install", "--print-uris", "-y", *names)
        # 'http://deb.debian.org/debian/pool/main/g/gdb/gdb_18.1-3_amd64.deb' gdb_18.1-3_amd64.deb …
        wanted = {line.split()[1] for line in asked.splitlines() if line.startswith("'")}
        for package in self.packages.glob("*.deb"):
            if package.name not in wanted:
                package.unlink()
        self._apt_get("install", "--download-only", "-y", *names)
        return sorted(self.packages.glob("*.deb"))

    def _configure(self) -> None:
        for folder in (self._state / "lists" / "partial", self._state / "partial", self.packages / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        # No package counts as installed, so that none that is needed is left out.
        (self._state / "status").write_text("")
        (self._state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {_SUITE} main\n")
        settings = {
            "Dir::State": self._state,
            "Dir::State::status": self._state / "status",
            "Dir::Cache": self._state,
            "Dir::Cache::archives": self.packages,
            "Dir::Etc::sourcelist": self._state / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferencesparts": "-",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
            "Debug::NoLocking": "true",
        }
        lines = [f'{name} "{value}";\n' for name, value in settings.items()]
        (self._state / "apt.conf").write_text("".join(lines))

    def _apt_get(self, *arguments: str) -> str:
        environment = os.environ | {"APT_CONFIG": str(self._state / "apt.conf"), "LC_ALL": "C.UTF-8"}
        return _run(["apt-get", "-q", *arguments], environment)


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """What a command prints. Raises `CannotFetchError` with its last words where it fails."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_FETCH_SECONDS,
            check=False,
        )
    except OSError as error:
        raise CannotFetchError(f"{command[0]}: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise CannotFetchError(f"{command[0]} took more than {_FETCH_SECONDS} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise CannotFetchError(f"{command[0]} {command[-1]}: {said[-1]}")
    return done.stdout


def unpack(packages: Sequence[Path], root: Path) -> None:
    """Unpack packages into a folder, unless these same packages are there."""
    stamp = root / "packages"
    names = "".join(f"{package.name}\n" for package in packages)
    if stamp.is_file() and stamp.read_text() == names:
        return
    unfinished = root.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    for package in packages:
        try:
            _run(["dpkg-deb", "--extract", str(package), str(unfinished)])
        except CannotFetchError:
            package.unlink()  # It is damaged, and fetched again the next time.
            raise
    (unfinished / stamp.name).write_text(names)
    shutil.rmtree(root, ignore_errors=True)
    unfinished.rename(root)


def interpreter(program: Path) -> str:
    """The dynamic loader that an ELF program asks for: PT_INTERP."""
    try:
        with program.open("rb") as file:
            for segment in ELFFile(file).iter_segments("PT_INTERP"):
                return segment.get_interp_name()
    except (OSError, ELFError) as error:
        raise CannotFetchError(f"{program} is not a program: {error}") from error
    raise CannotFetchError(f"{program} names no dynamic loader")


def start_script(template: str, program: Path, root: Path) -> str:
    """A shell script that starts a program with the dynamic loader and the libraries below `root`."""
    # /lib is a link to /usr/lib where a system is installed, and is not there where packages are unpacked.
    loader = root / "usr" / interpreter(program).lstrip("/")
    # The folder of libraries is named for the machine, as the loader's own is: Debian's multiarch.
    libraries = loader.resolve().parent
    return template.format(
        root=shlex.quote(str(root)),
        loader=shlex.quote(str(loader)),
        libraries=shlex.quote(str(libraries)),
        modules=shlex.quote(str(libraries / "qemu")),
        program=shlex.quote(str(program)),
    )


def fetch(folder: Path = FOLDER) -> tuple[Path, Path]:
    """Fetch both programs, or bring them up to date. Raises `CannotFetchError`."""
    if not os.path.isfile(KEYRING):
        raise CannotFetchError(f"there is no {KEYRING} to know Debian's archive by")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        packages = Archive(folder).fetch(_PACKAGES)
        root = folder / "root"
        unpack(packages, root)
        found = []
        for name, template in (("gdb-multiarch", _GDB), ("qemu-system-aarch64", _QEMU)):
            script = folder / name
            script.write_text(start_script(template, root / "usr" / "bin" / name, root))
            script.chmod(0o755)
            found.append(script)
    try:
        programs.try_gdb(str(found[0]))
        programs.try_qemu(str(found[1]))
    except UnfitError as error:
        raise CannotFetchError(str(error)) from error
    return found[0], found[1]


def main() -> None:
    """Fetch them and print where they are."""
    try:
        print(*fetch(), sep="\n")
    except (CannotFetchError, OSError) as error:
        sys.exit(f"tinyos: the newest GDB and QEMU cannot be had: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
