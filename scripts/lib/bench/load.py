"""What the plugin costs where none of its commands is used."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.debugger import Target, all_packets
from bench.figures import Figure, MeasureError
from gdbplugin.session import QemuOptions, TinyOS
from gdbplugin.session.gdb import find_gdb
from gdbplugin.session.tinyos import PLUGIN

_GOAL_MS = 15.0


def measure(elf: Path, runs: int, progress: Callable[[str], None]) -> Iterator[Figure]:
    """Loading by time and packets."""
    progress(f"load: GDB started {2 * runs} times")
    bare: list[tuple[float, float]] = []
    loaded: list[tuple[float, float]] = []
    for _ in range(2):  # The first start finds cold caches.
        _start(None)
        _start(PLUGIN)
    for _ in range(runs):
        bare.append(_start(None))
        loaded.append(_start(PLUGIN))
    for index, name, goal in ((0, "time", _GOAL_MS), (1, "CPU time", None)):
        with_it, without = (statistics.median(run[index] for run in half) for half in (loaded, bare))
        yield Figure(f"GDB's start without the plugin, {name}", 1e3 * without, "ms")
        yield Figure(f"loading the plugin, {name} more than that", 1e3 * (with_it - without), "ms", goal)
    progress("load: packets")
    yield from _packets(elf)


def _start(plugin: Path | None) -> tuple[float, float]:
    """Seconds that GDB's start and end take: of the clock, and of CPUs."""
    arguments = [find_gdb(), "--nx", "--quiet", "--batch"]
    if plugin is not None:
        arguments += ["-x", str(plugin)]
    start = time.perf_counter()
    child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    took = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise MeasureError(f"GDB ended with exit status {child.returncode}")
    return took, usage.ru_utime + usage.ru_stime


def _packets(elf: Path) -> Iterator[Figure]:
    counts = []
    for plugin in (None, PLUGIN):
        # Target before its first instruction: GDB's own packets are the same each time then.
        with TinyOS.boot(elf, options=QemuOptions(kernel=elf, paused=True)) as machine:
            target = Target(elf, plugin, machine.qemu.gdb_address)
            counts.append(len(all_packets(target, ["stepi", "stepi"])))
    bare, loaded = counts
    yield Figure("load, attach and two stops: packets of the plugin", loaded - bare, "packets", 0)
