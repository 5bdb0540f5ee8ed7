"""What it costs to watch a running kernel: snapshots by the clock, and the guest by its own counts."""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Figure, MeasureError
from bench.kernel import ICOUNT_SHIFT, costs
from gdbplugin.session import QemuOptions, TinyOS
from gdbplugin.session.console import PROMPT
from gdbplugin.session.ram import Watch

Progress = Callable[[str], None]

_PER_SECOND = 50
_GOAL_MS = 1000 / _PER_SECOND
_SECONDS = 2.0
_PATIENCE_SECONDS = 120.0
# What the guest's instructions may differ by from one run to the next: where a tick of its timer falls.
_GOAL_RATIO = 1.01
_FAULTS = 100_000


def measure(elf: Path, runs: int, progress: Progress) -> Iterator[Figure]:
    """Whole snapshots of everything but the lazy list, and the guest with and without them."""
    progress("watch: snapshots of the running kernel")
    with TinyOS.boot(elf) as machine:
        yield from _snapshots(machine)
    progress("watch: the guest, by counted instructions")
    with TinyOS.boot(elf, options=QemuOptions(kernel=elf, icount_shift=ICOUNT_SHIFT)) as machine:
        yield from _instructions(machine)
    progress(f"watch: {_FAULTS:,} lazy faults of the guest, by the clock, {2 * runs} times")
    with TinyOS.boot(elf) as machine:
        yield from _clock(machine, runs)


class _Snapshots:
    """Snapshots one after another, each timed."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.milliseconds: list[float] = []

    def take(self) -> None:
        """Take one."""
        start = time.perf_counter()
        self._watch.snapshot(_PATIENCE_SECONDS)
        self.milliseconds.append(1e3 * (time.perf_counter() - start))

    def take_in_turn(self) -> None:
        """Take one, and wait for the rest of its share of a second."""
        self.take()
        time.sleep(max(0.0, 1 / _PER_SECOND - self.milliseconds[-1] / 1e3))

    def figures(self, label: str) -> Iterator[Figure]:
        """What they took."""
        count = len(self.milliseconds)
        yield Figure(f"{label}: a whole snapshot, mean", statistics.mean(self.milliseconds), "ms", _GOAL_MS)
        yield Figure(f"{label}: the slowest of {count}", max(self.milliseconds), "ms")
        yield Figure(f"{label}: torn copies before each", self._watch.torn / count, "copies")


def _snapshots(machine: TinyOS) -> Iterator[Figure]:
    idle, stressed = _Snapshots(machine.watch()), _Snapshots(machine.watch())
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        idle.take()
    yield from idle.figures("watch, tasks running")
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        _during(machine, "*t", stressed.take)
    yield from stressed.figures("watch, in stress tests")


def _instructions(machine: TinyOS) -> Iterator[Figure]:
    """The guest's own counts, unwatched and watched."""
    snapshots = _Snapshots(machine.watch())
    unwatched = costs(machine.shell("bench", _PATIENCE_SECONDS))
    watched = costs(_during(machine, "bench", snapshots.take_in_turn))
    if not snapshots.milliseconds:
        raise MeasureError("the kernel's bench was over before it was watched")
    for name, instructions in watched.items():
        label = f"{name}, {_PER_SECOND} snapshots a second; floor: none"
        yield Figure(label, instructions, "instructions", None, unwatched[name], _GOAL_RATIO)


def _clock(machine: TinyOS, runs: int) -> Iterator[Figure]:
    """The time of the guest's work: watched, and in turns beside a program as busy that looks at nothing."""
    snapshots = _Snapshots(machine.watch())
    machine.shell("hold")
    command = f"faults {_FAULTS}"
    watched, beside = [], []
    for _ in range(runs):
        snapshots.milliseconds.clear()
        start = time.perf_counter()
        _during(machine, command, snapshots.take_in_turn)
        between = time.perf_counter()
        shares = itertools.cycle(snapshots.milliseconds)
        _during(machine, command, functools.partial(_be_busy, shares))
        watched.append(1e3 * (between - start))
        beside.append(1e3 * (time.perf_counter() - between))
    label = f"{_FAULTS:,} lazy faults, {_PER_SECOND} snapshots a second; floor: as busy with nothing"
    yield Figure(label, statistics.median(watched), "ms", None, statistics.median(beside))


def _be_busy(milliseconds: Iterator[float]) -> None:
    """Use the processor as long as a snapshot did, and wait for the rest of its share of a second."""
    start = time.perf_counter()
    seconds = next(milliseconds) / 1e3
    while time.perf_counter() - start < seconds:
        pass
    time.sleep(max(0.0, 1 / _PER_SECOND - seconds))


def _during(machine: TinyOS, command: str, action: Callable[[], None]) -> str:
    """Type a command, repeat the action until the kernel prompts again, and return the answer."""
    start = len(machine.console.transcript)
    machine.console.send(f"{command}\r")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not PROMPT.search(answer := machine.console.transcript[start:]):
        if time.monotonic() > deadline:
            raise MeasureError(f"the kernel does not answer {command} within {_PATIENCE_SECONDS:g} s")
        action()
    return answer
