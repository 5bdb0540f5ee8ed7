"""Runs GDB: its commands' packets by a go-between, and their times from within."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import MeasureError
from gdbplugin.session.gdb import find_gdb
from tests.debugger.stub_proxy import StubProxy

_INSIDE = Path(__file__).with_name("inside.py")
_INSIDE_FIRST = Path(__file__).with_name("inside_first.py")
_SECONDS = 300.0
# No stub knows it and GDB never sends it: it stands in the record of packets and does nothing else.
_MARK = "qTinyOSBench"


@dataclass(frozen=True)
class Target:
    """What GDB is given: the kernel's ELF, the plugin (None: bare GDB), and the stub's address."""

    elf: Path
    plugin: Path | None
    stub: str


def batch(
    target: Target | None,
    commands: Sequence[str],
    more: Mapping[str, str] | None = None,
    *,
    typed: bool = False,
) -> str:
    """Run GDB commands in a fresh GDB, with `more` in its environment, and return what they print.

    They are `typed` at its prompt, or else given to a batch run. Raises `MeasureError` if GDB or one of the
    commands fails.
    """
    arguments = [find_gdb(), "--nx", "--quiet", "-iex", "set debuginfod enabled off"]
    if target is not None:
        if target.plugin is not None:
            arguments += ["-x", str(target.plugin)]
        arguments += [str(target.elf), "-ex", f"target remote {target.stub}"]
    if not typed:
        arguments.append("--batch")
        for command in commands:
            arguments += ["-ex", command]
    done = subprocess.run(
        arguments,
        input="".join(f"{command}\n" for command in commands) if typed else "",
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=_SECONDS,
        env=_environment() | (more or {}),
        check=False,
    )
    # A command that fails is not seen in GDB's exit status if another follows.
    complaints = [line for line in done.stderr.splitlines() if line and not line.startswith("warning:")]
    if done.returncode or complaints:
        said = complaints[-1] if complaints else f"exit status {done.returncode}"
        raise MeasureError(f"GDB: {said}")
    return done.stdout


def _environment() -> dict[str, str]:
    """The environment of this process, but modules once compiled are kept, as where users are."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def packets(target: Target, commands: Sequence[str]) -> list[list[str]]:
    """The packets that each command sends; each at the same stop as the one before it."""
    marked = [f"maint packet {_MARK}"]
    for command in commands:
        marked += [command, f"maint packet {_MARK}"]
    return list(_between_marks(all_packets(target, marked)))


def all_packets(target: Target, commands: Sequence[str]) -> list[str]:
    """All packets of a session, those of GDB itself included."""
    with tempfile.TemporaryDirectory() as directory, StubProxy(Path(directory), target.stub) as proxy:
        batch(Target(target.elf, target.plugin, proxy.address), commands)
        return list(proxy.packets)


def _between_marks(sent: list[str]) -> list[list[str]]:
    places = [place for place, packet in enumerate(sent) if packet == _MARK]
    return [sent[start + 1 : end] for start, end in itertools.pairwise(places)]


def memory(sent: Sequence[str]) -> list[str]:
    """Those of the packets that read memory."""
    return [packet for packet in sent if packet[0] in "mx"]


def times(target: Target, commands: Sequence[tuple[str, Sequence[str]]], runs: int) -> list[dict[str, Any]]:
    """The times of commands, each with the memory packets that make its floor, in seconds.

    For each: `first` in a fresh GDB; `times` at new stops; `again` at the same stop; `floors`. See inside.py.
    """
    return [
        _inside(target, _INSIDE, {"command": command, "packets": list(sent), "runs": runs})
        for command, sent in commands
    ]


def first_times(
    target: Target, command: str, *, typed: bool, compiled: bool = True
) -> dict[str, tuple[float, float]]:
    """The times of a command in a fresh GDB, `first` of all and `second`, at the next stop.

    Each is in seconds: of the clock, and of GDB's CPU time. See inside_first.py. The first is `typed` at
    GDB's prompt, or given to a batch run. Unless `compiled`, there are no compiled modules, as at the very
    first use.
    """
    with tempfile.TemporaryDirectory() as nothing:
        more = {} if compiled else {"PYTHONPYCACHEPREFIX": nothing}
        return _inside(target, _INSIDE_FIRST, {"command": command}, more, typed=typed)


def _inside(
    target: Target,
    script: Path,
    what: dict[str, Any],
    more: Mapping[str, str] | None = None,
    *,
    typed: bool = False,
) -> dict[str, Any]:
    """What a script answers that runs inside a fresh GDB."""
    with tempfile.TemporaryDirectory() as directory:
        plan, answer = Path(directory, "plan.json"), Path(directory, "answer.json")
        plan.write_text(json.dumps({**what, "answer": str(answer)}))
        batch(target, [f"source {script}"], {**(more or {}), "TINYOS_BENCH_PLAN": str(plan)}, typed=typed)
        found: dict[str, Any] = json.loads(answer.read_text())
        return found
