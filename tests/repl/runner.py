"""Runs tinyos-repl as scripts/run starts it, after its set-up and build."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run"
START = [sys.executable, "-m", "gdbplugin.repl.main"]


class Runner:
    """Runs the program of scripts/run in a temporary directory, and checks that it leaves nothing there."""

    def __init__(self, kernel: Path, directory: Path) -> None:
        self.kernel = kernel
        self.directory = directory

    def __call__(
        self, *arguments: str | Path, text: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        if "--kernel" not in words:
            words = ["--kernel", str(self.kernel), *words]
        done = subprocess.run(
            [*START, *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"TMPDIR": str(self.directory)} | environment,
        )
        assert not self.pids(), "a process was left behind"
        assert not list(self.directory.glob("tinyos-*")), "a directory was left behind"
        return done

    def refusal(self, *arguments: str | Path, **environment: str) -> str:
        """The one-line error for bad input."""
        done = self(*arguments, **environment)
        assert done.returncode == 1, done
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("tinyos: error: ")
        return done.stderr

    def pids(self) -> list[int]:
        """The processes of our sessions."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if f"{self.directory}/tinyos-".encode() in words:
                found.append(int(entry.parent.name))
        return found
