"""Installing Debian packages on Debian and Ubuntu, without ever asking a question.

What is installed depends on what apt offers, not on a table of releases: first its candidates, then what an
archive that it already has holds at lower priority, then, on Debian, one more of Debian's own archives.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gdbplugin.programs import QEMU_MINIMUM, at_least, numbers_of

# Optional: tmux is the terminal in which the tests type, git tells a test which files are the project's.
_USEFUL = ("tmux", "git")
# rustc's LLVM is newer than the lld of an old release. 19 is the oldest that was tried.
_LLD_MINIMUM = "19"
_SECURITY = "http://deb.debian.org/debian-security"
MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_APT_GET = ("apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Options::=--force-confold")


class CannotInstallError(Exception):
    """Packages cannot be installed here. The message says why, as a clause."""


# What the system says of itself, and what apt says


def parse_os_release(text: str) -> dict[str, str]:
    """The values of an os-release file, unquoted."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name: value.strip("\"'") for name, _, value in pairs}


def parse_candidates(policy: str) -> dict[str, str]:
    """Each package's candidate version, from what `apt-cache policy` prints; absent where it has none."""
    candidates = {}
    package = ""
    for line in policy.splitlines():
        if line and not line[0].isspace():
            package = line.rstrip(":")
        elif (found := re.fullmatch(r"  Candidate: (.*)", line)) and found[1] != "(none)":
            candidates[package] = found[1]
    return candidates


def parse_madison(madison: str) -> list[tuple[str, str]]:
    """Version and suite of each binary package that `apt-cache madison` lists."""
    rows = [[cell.strip() for cell in line.split("|")] for line in madison.splitlines()]
    found = []
    for row in rows:
        # "http://deb.debian.org/debian bookworm-backports/main amd64 Packages"
        index = row[2].split() if len(row) == 3 else []
        if len(index) >= 2 and index[-1] == "Packages":
            found.append((row[1], index[1].rsplit("/", 1)[0]))
    return found


def suite_with(madison: str, minimum: str) -> str | None:
    """The suite that has the newest version, if that is `minimum` or newer."""
    fit = [
        (numbers_of(version), suite)
        for version, suite in parse_madison(madison)
        if at_least(version, minimum)
    ]
    return max(fit)[1] if fit else None


def rust_packages(suffix: str) -> tuple[str, ...]:
    """The packages of one Rust: `rustc`, Debian's `rustc-web` (kept for browsers), Ubuntu's `rustc-1.89`."""
    return (
        f"rustc{suffix}",
        f"cargo{suffix}",
        f"rust{suffix}-src",
        f"rustfmt{suffix}",
        f"rust{suffix}-clippy",
    )


def choose_rust(
    candidates: Mapping[str, str], suffixes: Iterable[str], minimum: str
) -> tuple[str, ...] | None:
    """The packages of the first Rust that is new enough and whole. The release's own comes first."""

    def preference(suffix: str) -> tuple[int, list[int]]:
        return {"": 0, "-web": 1}.get(suffix, 2), [-number for number in numbers_of(suffix[1:])]

    for suffix in sorted(suffixes, key=preference):
        packages = rust_packages(suffix)
        if all(name in candidates for name in packages) and at_least(candidates[packages[0]], minimum):
            return packages
    return None


def choose_linker(candidates: Mapping[str, str]) -> str:
    """LLVM's linker: the release's own package where it is new enough, else the newest numbered one."""
    if at_least(candidates.get("lld", ""), _LLD_MINIMUM):
        return "lld"
    numbered = [name for name in candidates if re.fullmatch(r"lld-\d+", name)]
    return max(numbered, key=lambda name: int(name[4:]), default="lld")


@dataclass(frozen=True)
class Apt:
    """apt on this system. `run` carries out a command, after a message, or ends the set-up."""

    as_root: tuple[str, ...]
    system: Mapping[str, str]
    """The values of os-release."""
    say: Callable[[str], None]
    run: Callable[[str, Sequence[str]], None]

    @classmethod
    def open(
        cls, system: Mapping[str, str], say: Callable[[str], None], run: Callable[[str, Sequence[str]], None]
    ) -> Apt:
        """Raise `CannotInstallError` where packages cannot be installed."""
        if not {"debian", "ubuntu"} & {system.get("ID", ""), *system.get("ID_LIKE", "").split()}:
            name = system.get("PRETTY_NAME") or os.uname().sysname
            raise CannotInstallError(f"it installs packages on Debian and Ubuntu only, and this is {name}")
        if shutil.which("apt-get") is None:
            raise CannotInstallError("there is no apt-get")
        return cls((*_root_prefix(), "env", "DEBIAN_FRONTEND=noninteractive"), system, say, run)

    def install(self, needs: Sequence[str], rust_minimum: str) -> None:
        """Install what serves these needs, of python, compiler, qemu, gdb and rust, if apt has it."""
        self._update()
        packages = [name for name in _USEFUL if shutil.which(name) is None]
        # cargo and pip fetch over https, which needs the certificates that a bare system lacks.
        certificates = Path("/etc/ssl/certs/ca-certificates.crt")
        if not (certificates.is_file() and certificates.stat().st_size):
            packages.insert(0, "ca-certificates")
        wanted = {
            "python": ("python3", "python3-venv"),
            "compiler": ("gcc", "libc6-dev"),
            "gdb": ("gdb-multiarch",),
        }
        packages += [package for need in needs for package in wanted.get(need, ())]
        if packages:
            self._install(" ".join(packages), packages)
        if "qemu" in needs:
            self._install("QEMU", self._qemu_arguments())
        if "rust" in needs:
            self._install("Rust", self._rust_arguments(rust_minimum))

    def _qemu_arguments(self) -> list[str]:
        package = "qemu-system-arm"
        if at_least(self._candidates([package]).get(package, ""), QEMU_MINIMUM):
            return [package]
        # Backports carry a lower priority than the release: they may be there and yet be no candidate.
        suite = suite_with(_ask("apt-cache", "madison", package), QEMU_MINIMUM)
        if suite is None and self._add_debian_archive("backports", self._mirror()):
            suite = suite_with(_ask("apt-cache", "madison", package), QEMU_MINIMUM)
        return ["-t", suite, package] if suite else [package]

    def _rust_arguments(self, minimum: str) -> list[str]:
        packages = self._offered_rust(minimum)
        # A release gets a new `rustc-web` by its security archive first.
        if packages is None and self._add_debian_archive("security", _SECURITY):
            packages = self._offered_rust(minimum)
        lines = _ask("apt-cache", "search", "--names-only", "^lld(-[0-9]+)?$").splitlines()
        linkers = self._candidates([line.split()[0] for line in lines if line.strip()])
        # Where none is new enough, set-up looks at what there is and says what is wrong with it.
        return [*(packages or rust_packages("")), choose_linker(linkers)]

    def _offered_rust(self, minimum: str) -> tuple[str, ...] | None:
        lines = _ask("apt-cache", "search", "--names-only", "^rustc(-web|-[0-9.]+)?$").splitlines()
        suffixes = [line.split()[0].removeprefix("rustc") for line in lines if line.strip()]
        names = [name for suffix in suffixes for name in rust_packages(suffix)]
        return choose_rust(self._candidates(names), suffixes, minimum)

    def _candidates(self, packages: Sequence[str]) -> dict[str, str]:
        return parse_candidates(_ask("apt-cache", "policy", *packages)) if packages else {}

    def _add_debian_archive(self, name: str, uri: str) -> bool:
        """Add `CODENAME-name` to apt's sources. False where there is none: not a release of Debian."""
        codename = self.system.get("VERSION_CODENAME")
        if self.system.get("ID") != "debian" or not codename or not self.system.get("VERSION_ID"):
            return False
        suite = f"{codename}-{name}"
        path = f"/etc/apt/sources.list.d/{suite}.sources"
        self.say(f"adding Debian's archive {suite} to apt's sources")
        source = f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n"
        written = subprocess.run(
            [*self.as_root, "tee", path], input=source, text=True, stdout=subprocess.DEVNULL, check=False
        )
        if written.returncode != 0:
            sys.exit(f"tinyos: error: cannot write {path}")
        try:
            self._update()
        except BaseException:
            # A source that cannot be read would make every later update fail.
            subprocess.run([*self.as_root, "rm", "-f", path], check=False)
            raise
        return True

    def _mirror(self) -> str:
        """The mirror that the release itself comes from has the backports too."""
        codename = f"Codename: {self.system.get('VERSION_CODENAME')}"
        listed = _ask("apt-get", "indextargets", "--format", "$(REPO_URI)", codename, "Component: main")
        return next(iter(listed.splitlines()), MIRROR)

    def _update(self) -> None:
        self.run("reading apt's package lists", [*self.as_root, *_APT_GET, "update"])

    def _install(self, what: str, arguments: Sequence[str]) -> None:
        command = [*self.as_root, *_APT_GET, "install", "--no-install-recommends", *arguments]
        self.run(f"installing {what}", command)


def _root_prefix() -> tuple[str, ...]:
    """What stands before a command that root is to run. Raises `CannotInstallError`."""
    if _ask("id", "-u").strip() == "0":
        return ()
    if shutil.which("sudo") is None:
        raise CannotInstallError("it is not run as root, and there is no sudo")
    # Where a person sits at the terminal, sudo may ask for the password.
    commands = [["sudo", "-n", "true"]]
    if sys.stdin.isatty():
        commands.append(["sudo", "true"])
    for command in commands:
        quiet = subprocess.DEVNULL if "-n" in command else None
        if subprocess.run(command, stderr=quiet, check=False).returncode == 0:
            return ("sudo",)
    raise CannotInstallError("it is not run as root, and sudo does not allow it")


def _ask(*command: str) -> str:
    """What a command that changes nothing prints, in English; empty where there is no such command."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout
