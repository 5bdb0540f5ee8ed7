"""The README's two commands on bare Debian systems, each made anew by debootstrap: scripts/systems.

Every command that enters such a system runs in a mount namespace and a process namespace of its own. What is
mounted there is never seen outside, and is gone, like every process, when the command ends, however it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

TOP = Path(__file__).resolve().parents[2]
SUITES = {"debian12": "bookworm", "debian13": "trixie", "unstable": "sid"}
CHECKOUT = "/srv/tinyos"
COMMANDS = {"run": "scripts/run --batch 'tinyos check'", "test": "scripts/test"}
_MIRROR = "http://deb.debian.org/debian"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Not /etc/ssl/certs in there: the package ca-certificates writes that anew.
_CERTIFICATES_INSIDE = "/etc/ssl/host-certificates.pem"
_CERTIFICATE_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
)
# What says where packages come from and how to get there. What changes a build is left out.
_HANDED_ON = re.compile(
    r"PIP_.*|CARGO_(HTTP|NET|REGISTR|SOURCE).*|RUSTUP_(DIST|UPDATE).*|.*_PROXY", re.IGNORECASE
)
_ENTER = """
set -e
root=$1
shift
mount -t proc proc "$root/proc"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666,mode=620
mount -t tmpfs tmpfs "$root/dev/shm"
exec chroot "$root" "$@"
"""
_TAIL_LINES = 15
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say(message: str) -> None:
    """Report progress."""
    print(f"tinyos: {message}", file=sys.stderr, flush=True)


def fail(message: str) -> NoReturn:
    """End with one line."""
    sys.exit(f"tinyos: error: {message}")


@dataclass
class Result:
    """What came out of one system."""

    name: str
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    """The steps that failed."""


# Pure


def counts_of(output: str) -> dict[str, int]:
    """Passed, failed and skipped tests, from pytest's summary; empty without one. Errors are failures."""
    summaries = [line for line in output.splitlines() if re.search(r"\b\d+ \w+.* in [\d.]+s\b", line)]
    if not summaries:
        return {}
    found = {"passed": 0, "failed": 0, "skipped": 0}
    columns = {**{column: column for column in found}, "error": "failed", "errors": "failed"}
    for number, word in re.findall(r"(\d+) (\w+)", summaries[-1]):
        if word in columns:
            found[columns[word]] += int(number)
    return found


def version_in(text: str) -> str:
    """The version in the first line of what a program says of itself, "—" where there is none.

    What stands in brackets is a package's: `GNU gdb (Debian 13.1-3) 13.1`.
    """
    line = re.sub(r"\(.*?\)", "", text.partition("\n")[0])
    found = re.search(r"(?<![\w.])\d+(?:\.\d+)+", line)
    return found[0] if found else "—"


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    head = ["system", "GDB", "QEMU", "Python", "Rust", *(f"`scripts/{name}`" for name in COMMANDS)]
    rows = [[*head, "passed", "failed", "skipped"]]
    for result in results:
        versions = [result.versions.get(name, "—") for name in head[1:5]]
        seconds = [_cell(result, name) for name in COMMANDS]
        counts = [str(result.counts.get(name, "—")) for name in ("passed", "failed", "skipped")]
        rows.append([result.name, *versions, *seconds, *counts])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cell(result: Result, command: str) -> str:
    if command not in result.seconds:
        return "—"
    return f"{result.seconds[command]:.0f} s" + (" FAILED" if command in result.failed else "")


def handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that package clients need in there too."""
    return {name: value for name, value in environment.items() if _HANDED_ON.fullmatch(name)}


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """The mount points at or below a folder, from the text of /proc/self/mountinfo (proc(5))."""

    def character(escaped: re.Match[str]) -> str:
        return chr(int(escaped[1], 8))

    points = [re.sub(r"\\(\d{3})", character, line.split()[4]) for line in mountinfo.splitlines()]
    return [point for point in points if Path(point) == folder or folder in Path(point).parents]


# A system


class System:
    """A bare system in a folder of its own, which is removed after use."""

    def __init__(self, name: str, folder: Path, mirror: str) -> None:
        self.name = name
        self.suite = SUITES[name]
        self.root = folder / f"{name}.root"
        self.logs = folder / name
        self.mirror = mirror
        self.environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            **handed_on(os.environ),
        }
        if _CERTIFICATES.is_file():
            self.environment |= dict.fromkeys(_CERTIFICATE_VARIABLES, _CERTIFICATES_INSIDE)

    def make(self) -> None:
        """Make it anew: the bare system, this host's way to the package archives, git, the checkout."""
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        self.remove()
        command = ["debootstrap", "--variant=minbase", self.suite, str(self.root), self.mirror]
        self._must("bootstrap", _in_namespaces(command), os.environ)
        self._copy_configuration()
        install = "apt-get -q update && apt-get -q -y install --no-install-recommends git"
        self._must(
            "git", self._entering(f"export DEBIAN_FRONTEND=noninteractive; {install}"), self.environment
        )
        # The checkout may be another user's, which git would refuse.
        clone = [
            "git",
            "-c",
            "safe.directory=*",
            "clone",
            "--no-hardlinks",
            str(TOP),
            f"{self.root}{CHECKOUT}",
        ]
        self._must("clone", clone, os.environ)

    def try_commands(self, result: Result) -> None:
        """Run the README's commands, timed."""
        for name, command in COMMANDS.items():
            started = time.monotonic()
            status = self._log(name, self._entering(f"cd {CHECKOUT} && {command}"), self.environment)
            result.seconds[name] = time.monotonic() - started
            if status != 0:
                result.failed.append(name)
                self._show(name, f"{command} failed")
        result.counts = counts_of(self._text("test"))
        result.versions = self._versions()

    def remove(self) -> None:
        """Remove its folder, unless something is mounted there: that would be removed with it."""
        mounted = mounts_below(self.root, Path("/proc/self/mountinfo").read_text())
        if mounted:
            fail(f"{self.root} is not removed, for something is mounted there: umount {shlex.join(mounted)}")
        if self.root.exists():
            shutil.rmtree(self.root)

    def _copy_configuration(self) -> None:
        """Give it the certificates of this host and what its package clients are configured with."""
        files = [
            Path("/etc/pip.conf"),
            Path("/etc/apt/apt.conf"),
            *sorted(Path("/etc/apt/apt.conf.d").glob("*")),
        ]
        for file in files:
            inside = self.root / file.relative_to("/")
            if file.is_file() and not inside.exists():
                inside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, inside)
        if _CERTIFICATES.is_file():
            (self.root / "etc/ssl").mkdir(exist_ok=True)
            shutil.copy(_CERTIFICATES, f"{self.root}{_CERTIFICATES_INSIDE}")
        cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo") / "config.toml"
        if cargo.is_file():
            (self.root / "root/.cargo").mkdir(parents=True, exist_ok=True)
            shutil.copy(cargo, self.root / "root/.cargo")

    def _versions(self) -> dict[str, str]:
        """What the programs say that were used in there; a dash where set-up did not come to its end."""
        asked = {
            "GDB": '"$TINYOS_GDB" --version',
            "QEMU": '"$TINYOS_QEMU" --version',
            "Python": '"$TINYOS_PYTHON" --version',
            "Rust": '"$TINYOS_CARGO" --version',
        }
        versions = {}
        for program, question in asked.items():
            command = self._entering(f"cd {CHECKOUT} && . build/environment && {question}")
            with _running(command, self.environment, subprocess.PIPE) as process:
                answer = process.communicate()[0] or b""
            versions[program] = version_in(answer.decode(errors="replace"))
        return versions

    def _entering(self, script: str) -> list[str]:
        """The command that runs a shell script in there."""
        return _in_namespaces(["sh", "-c", _ENTER, "sh", str(self.root), "bash", "-c", script])

    def _log(self, step: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run a command to its end, its output in a log of its own; its exit status."""
        say(f"{self.name}: {COMMANDS.get(step, step)}")
        with (self.logs / f"{step}.log").open("wb") as log, _running(command, environment, log) as process:
            return process.wait()

    def _must(self, step: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        if self._log(step, command, environment) != 0:
            self._show(step, f"{step} failed")
            raise StepFailedError(step)

    def _show(self, step: str, message: str) -> None:
        print(*self._text(step).splitlines()[-_TAIL_LINES:], sep="\n", file=sys.stderr)
        say(f"{self.name}: {message}; the whole log is {self.logs / step}.log")

    def _text(self, step: str) -> str:
        path = self.logs / f"{step}.log"
        return path.read_text(errors="replace") if path.exists() else ""


class StepFailedError(Exception):
    """A system could not be made. The message names the step."""


def _in_namespaces(command: Sequence[str]) -> list[str]:
    """A command whose mounts nobody else sees, and whose processes all end with its first."""
    return [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
        "--kill-child",
        "--",
        *command,
    ]


@contextlib.contextmanager
def _running(
    command: Sequence[str], environment: Mapping[str, str], output: int | IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours. If we are interrupted, it is ended with all that it started before we go on."""
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # A Ctrl-C typed at the terminal is ours alone to act on.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            # The namespace's first process takes all others with it; `unshare` waits until they are gone.
            for child in _children_of(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _children_of(pid: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except FileNotFoundError:
        return []


def try_system(system: System, keep: bool) -> Result:
    """Make a system, try the commands in it, and remove it."""
    result = Result(system.name)
    try:
        system.make()
        system.try_commands(result)
    except StepFailedError as error:
        result.failed.append(str(error))
    finally:
        if keep:
            say(f"{system.name}: kept in {system.root}")
        else:
            say(f"{system.name}: removing it")
            system.remove()
    return result


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/systems",
        description="Makes bare Debian systems by debootstrap, clones this checkout's last commit into each, "
        "and runs the README's two commands there. Prints a table of what came out. Exit status 1 if one "
        "failed.",
        epilog="Takes root, debootstrap, git, and some 3 GB of disk; a system is removed after use. Nothing "
        "is mounted outside of a namespace of the command's own. Logs are kept in build/systems/SYSTEM/. "
        "This host's certificates and the settings of its package clients (apt, pip, cargo, proxies) are "
        "used in there too.",
    )
    known = ", ".join(SUITES)
    parser.add_argument(
        "systems", nargs="*", metavar="SYSTEM", help=f"{known} (default: each of them in turn)"
    )
    parser.add_argument("--mirror", default=_MIRROR, metavar="URL", help=f"the archive ({_MIRROR})")
    parser.add_argument("--keep", action="store_true", help="keep the systems (SYSTEM.root)")
    given = parser.parse_args(arguments)
    for name in given.systems:
        if name not in SUITES:
            parser.error(f"no system {name!r} (known: {known})")
    return given


def _interrupted(number: int, _frame: object) -> NoReturn:
    # Nothing may interrupt the cleaning up.
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def main(arguments: Sequence[str]) -> int:
    """Try the systems named; the exit status."""
    given = _arguments(arguments)
    if os.geteuid() != 0:
        fail("scripts/systems must be run as root: it makes whole systems and enters them")
    for program, package in {"debootstrap": "debootstrap", "git": "git", "unshare": "util-linux"}.items():
        if shutil.which(program) is None:
            fail(f"{program} is missing: apt install {package}")
    for number in _ENDING:
        signal.signal(number, _interrupted)
    folder = TOP / "build/systems"
    results = []
    try:
        for name in given.systems or SUITES:
            results.append(try_system(System(name, folder, given.mirror), given.keep))
    except KeyboardInterrupt as interrupt:
        say("interrupted")
        return 128 + int(interrupt.args[0])
    except OSError as error:
        fail(str(error))
    print(table(results))
    for result in results:
        if result.failed:
            say(f"{result.name}: FAILED: {', '.join(result.failed)}")
    return 1 if any(result.failed for result in results) else 0
