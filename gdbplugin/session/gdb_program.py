"""Which GDB is used, outside scripts/ too; and the program `tinyos-gdb`, which starts it with the plugin.

Only one that can do AArch64 and has a Python for the plugin inside is any good: a distribution's plain `gdb`
often has the first for its own machine alone.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from gdbplugin.session import process, streams
from gdbplugin.session.errors import ToolMissingError

PLUGIN = Path(__file__).resolve().parents[1] / "tinyos.py"
_NAMES = ("gdb-multiarch", "aarch64-elf-gdb", "aarch64-none-elf-gdb", "aarch64-linux-gnu-gdb", "gdb")
_HELP = (
    "apt install gdb-multiarch (Debian, Ubuntu); GDB 13 or later elsewhere, built for AArch64 and with Python"
)
_TRIAL = (
    "python import sys; gdb.execute('set architecture aarch64', to_string=True); gdb.MICommand; "
    "print('serves' if sys.version_info >= (3, 11) else 'its Python is older than 3.11')"
)
_TRIAL_SECONDS = 20.0
# They say where a Python may write compiled files, not what it is.
_OF_ANY_PYTHON = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


def find_gdb() -> str:
    """The path of the GDB to use: $TINYOS_GDB, as it is, or the first on PATH that serves.

    Raises `ToolMissingError`, which says what was found instead.
    """
    named = os.environ.get("TINYOS_GDB")
    if named:
        return process.find_program(named, "GDB", _HELP)
    problems = []
    for path in filter(None, map(shutil.which, _NAMES)):
        problem = problem_of(path)
        if problem is None:
            return path
        problems.append(f"{path}: {problem}")
    found = "; ".join(problems) or f"there is no program {_NAMES[0]}"
    raise ToolMissingError(f"GDB is missing: {found}; install it with: {_HELP}")


def gdb_environment() -> dict[str, str]:
    """Our environment, for GDB: without the variables that are meant for the Python out here.

    GDB has a Python of its own inside, which $PYTHONHOME would keep from starting, and $PYTHONPATH would give
    modules of another version.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") or name in _OF_ANY_PYTHON
    }


@functools.cache
def problem_of(path: str) -> str | None:
    """Why a GDB does not serve, in its own words; None where it does."""
    try:
        done = subprocess.run(
            [path, "-nx", "-batch", "-ex", _TRIAL],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=_TRIAL_SECONDS,
            check=False,
            env=gdb_environment(),
        )
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return f"it did not answer within {_TRIAL_SECONDS:g} s"
    if done.stdout.split() == ["serves"]:
        return None
    said = [line.strip() for line in (done.stderr + done.stdout).splitlines()]
    reasons = [line for line in said if line and not line.startswith("Error while executing Python")]
    return reasons[-1] if reasons else process.describe_exit(done.returncode)


def main() -> int:
    """Become a GDB with the plugin loaded, given our arguments; where there is none, say so and return 1."""
    return streams.run("tinyos-gdb", _become_gdb)


def _become_gdb() -> int:
    program = find_gdb()
    problem = problem_of(program)
    if problem is not None:
        raise ToolMissingError(f"{program} does not serve: {problem}; install another with: {_HELP}")
    # Python ignores it, and a program that takes our place would too.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # The plugin first: what follows may already use its commands, and nothing may follow `--args`.
    os.execve(program, [program, "-x", str(PLUGIN), *sys.argv[1:]], gdb_environment())
