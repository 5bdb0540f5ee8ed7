"""What the plugin's commands cost: packets, and times beside those of the bare transfer."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import table_set
from bench.debugger import Target, first_times, memory, packets, times
from bench.figures import Figure, MeasureError
from gdbplugin.commands import maps
from gdbplugin.render import Style
from gdbplugin.session import QemuOptions, TinyOS
from gdbplugin.session.qemu import ram_arguments
from gdbplugin.session.ram import MappedRam
from gdbplugin.session.tinyos import PLUGIN

Progress = Callable[[str], None]

_RECORDS = 32_768
# Of these so many are written, less than half of the frames: with more there would be memory pressure.
_WRITTEN = 15_000
_RATIO = 1.5
_MAPS_GOAL_MS = 100.0
_MAPPED_GOAL_MS = 40.0
_FIRST_MAPS_RATIO = 0.5
_FILL_SECONDS = 120.0
_FIRST = ("stats", "report")
_FIRST_GOAL_MS, _FIRST_RATIO = 50.0, 2.0
# Every command that only reads, as it is given for the packets of a second time.
_AGAIN = (
    "stats",
    "stacks",
    "stacks 1",
    "lazy",
    "lazy 0x200000000000",
    "pressure",
    "context",
    "events",
    "report",
    "check",
    "registers",
    "fault",
    "maps",
    "translate 0xffff800000080000",
)


@contextlib.contextmanager
def _booted(elf: Path, *extra: str) -> Iterator[tuple[TinyOS, Target]]:
    """TinyOS at its prompt, its tasks held still."""
    options = QemuOptions(kernel=elf, extra=extra, share_ram=not extra)
    with TinyOS.boot(elf, options=options) as machine:
        machine.shell("hold")
        yield machine, Target(elf, PLUGIN, machine.qemu.gdb_address)


@contextlib.contextmanager
def _with_tables(elf: Path) -> Iterator[tuple[TinyOS, Target, Path]]:
    """TinyOS whose memory is a file, which is named as well, and which its session has mapped."""
    with tempfile.TemporaryDirectory() as directory:
        ram = Path(directory, "ram")
        with (
            _booted(elf, *ram_arguments(ram, table_set.RAM_BYTES)) as (machine, target),
            MappedRam(os.open(ram, os.O_RDWR), str(ram), table_set.RAM_BYTES) as mapped,
        ):
            machine.qemu.ram = mapped
            yield machine, target, ram


def measure_translate(elf: Path, _: int, progress: Progress) -> Iterator[Figure]:
    """Packets of `translate`, as the first command of a GDB."""
    progress("translate: packets")
    command = f"tinyos translate {table_set.ADDRESS:#x} --ttbr {table_set.BASE:#x}"
    with _with_tables(elf) as (_, target, ram):
        table_set.write(ram, table_set.build(scattered=False))
        (sent,) = packets(target, [command])
    yield Figure("translate, 4 levels: memory packets", len(memory(sent)), "packets", 4)


def measure_maps(elf: Path, runs: int, progress: Progress) -> Iterator[Figure]:
    """`maps` of a table set of a known size: in GDB, and in a session, which has the memory mapped."""
    command = f"tinyos maps --ttbr {table_set.BASE:#x}"
    with _with_tables(elf) as (machine, target, ram):
        for scattered, kind in ((False, "frames in runs"), (True, "frames scattered")):
            progress(f"maps: {table_set.LEAVES:,} leaves, {kind}")
            table_set.write(ram, table_set.build(scattered))
            label = f"maps, {table_set.LEAVES:,} leaves, {kind}"
            yield from _timed(target, command, label, runs, _MAPS_GOAL_MS)
            found = statistics.median(_mapped_times(machine, runs))
            yield Figure(f"{label}: memory mapped", 1e3 * found, "ms", _MAPPED_GOAL_MS)
        progress(f"maps: {table_set.MANY_LEAVES:,} leaves, as the first command")
        table_set.write(ram, table_set.build(False, table_set.MANY_LEAVES))
        (sent,) = packets(target, [command])
        (found,) = times(target, [(command, memory(sent))], runs)
        floor = 1e3 * statistics.median(found["floors"])
        again = statistics.median(found["times"])
        label = f"maps, {table_set.MANY_LEAVES:,} leaves, frames in runs"
        for what, seconds in ((f"{label}: given first in a GDB", found["first"]), (label, again)):
            yield Figure(what, 1e3 * seconds, "ms", None, floor, _FIRST_MAPS_RATIO)


def _mapped_times(machine: TinyOS, runs: int) -> Iterator[float]:
    """Seconds that a session takes to read the map and to make the command's text of it, at new stops."""
    with machine.stopped():
        for _ in range(runs):
            machine.gdb("stepi")
            start = time.perf_counter()
            found = machine.maps(ttbr=table_set.BASE)
            maps.show(found, Style())
            yield time.perf_counter() - start
    # QEMU has one GDB at a time.
    machine.detach()


def measure_records(elf: Path, runs: int, progress: Progress) -> Iterator[Figure]:
    """`lazy` and `report`, and `maps` of the task with the most pages."""
    with _booted(elf) as (machine, target):
        progress(f"records: filling TinyOS with {_RECORDS:,} lazy pages")
        asid = _fill(machine)
        for command in ("lazy", "report"):
            progress(f"records: {command}")
            label = f"{command}, {_RECORDS:,} records"
            yield from _timed(target, f"tinyos {command}", label, runs)
        progress("records: maps of the task that wrote most")
        yield from _timed(
            target, f"tinyos maps --asid {asid}", f"maps, TinyOS task of {_WRITTEN:,} pages", runs
        )


def measure_first(elf: Path, runs: int, progress: Progress) -> Iterator[Figure]:
    """Commands given first in a GDB: what they take of it beside what they take when given again.

    CPU time: what else the machine does is not in it. The commands take turns.
    """
    progress(f"first: {2 * len(_FIRST) * runs} times a fresh GDB")
    given = [(command, typed) for command in _FIRST for typed in (True, False)]
    found: dict[tuple[str, bool], list[dict[str, tuple[float, float]]]] = {each: [] for each in given}
    with _booted(elf) as (_, target):
        for command in _FIRST:  # Compiles the modules that it imports.
            first_times(target, f"tinyos {command}", typed=False)
        for _ in range(runs):
            for command, typed in given:
                found[command, typed].append(first_times(target, f"tinyos {command}", typed=typed))
        cold = {
            command: first_times(target, f"tinyos {command}", typed=False, compiled=False)
            for command in _FIRST
        }
    for command, typed in given:
        for index, kind in ((1, "CPU time"), (0, "time")):
            first, second = (
                1e3 * statistics.median(run[which][index] for run in found[command, typed])
                for which in ("first", "second")
            )
            goals: tuple[Any, ...] = (None, second)
            if index:
                goals = (_FIRST_GOAL_MS, second, _FIRST_RATIO if typed else None)
            where = "typed" if typed else "in a batch run"
            yield Figure(f"{command}, first in a GDB, {where}: {kind}", first, "ms", *goals)
    for command in _FIRST:
        yield Figure(f"{command}, first of all, modules not compiled", 1e3 * cold[command]["first"][1], "ms")


def measure_again(elf: Path, _: int, progress: Progress) -> Iterator[Figure]:
    """Packets of every command given a second time at the same stop."""
    progress("again: packets of a second time")
    commands = [f"tinyos {command}" for command in _AGAIN]
    with _booted(elf) as (_machine, target):
        sent = packets(target, [*commands, *commands])
    again = sent[len(commands) :]
    for command, repeated in zip(commands, again, strict=True):
        if repeated:
            yield Figure(f"{command}, second time: packets", len(repeated), "packets", 0)
    total = sum(len(repeated) for repeated in again)
    yield Figure(f"{len(commands)} commands, second time: packets", total, "packets", 0)


def _timed(
    target: Target, command: str, label: str, runs: int, goal: float | None = None
) -> Iterator[Figure]:
    (sent,) = packets(target, [command])
    reads = memory(sent)
    if not reads:
        raise MeasureError(f"{command} reads nothing")
    (found,) = times(target, [(command, reads)], runs)
    value, floor, again = (1e3 * statistics.median(found[key]) for key in ("times", "floors", "again"))
    yield Figure(label, value, "ms", goal, floor, _RATIO)
    yield Figure(f"{label}: memory packets", len(reads), "packets")
    yield Figure(f"{label}: given first in a GDB", 1e3 * found["first"], "ms")
    yield Figure(f"{label}: given again", again, "ms")


def _fill(machine: TinyOS) -> int:
    """Have `_RECORDS` lazy pages on record, `_WRITTEN` of them written by the task whose ASID is returned."""
    # The context switching test of `*c` is over when the ASID is asked for: only then are the tasks held.
    machine.shell("go")
    allocated = _figure(machine, "allocated_pages")
    task = _spawn(machine, f"hog {_WRITTEN} 0")
    _until(lambda: _figure(machine, "allocated_pages") >= allocated + _WRITTEN)
    missing = _RECORDS - _figure(machine, "reserved_pages")
    _spawn(machine, f"reserver {missing} 100000")
    _until(lambda: _figure(machine, "reserved_pages") >= _RECORDS)
    asid = _asid(machine, task)
    machine.shell("hold")
    return asid


def _spawn(machine: TinyOS, program: str) -> int:
    answer = machine.shell(f"spawn {program}", 60)
    found = re.search(r"task (\d+) \(\w+\) started", answer)
    if found is None:
        raise MeasureError(f"the kernel does not start {program}: {answer!r}")
    return int(found[1])


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _FILL_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise MeasureError(f"TinyOS did not fill its memory within {_FILL_SECONDS:g} s")
        time.sleep(0.2)


def _figure(machine: TinyOS, name: str) -> int:
    answer = machine.shell("*l", 60)
    found = re.search(rf"^{name}: (\d+)", answer, re.MULTILINE)
    if found is None:
        raise MeasureError(f"the kernel does not tell its {name}: {answer!r}")
    return int(found[1])


def _asid(machine: TinyOS, task: int) -> int:
    answer = machine.shell("*c", 60)
    found = re.search(rf"^ *{task} \S+ +(\d+)", answer, re.MULTILINE)
    if found is None:
        raise MeasureError(f"the kernel does not tell the ASID of task {task}: {answer!r}")
    return int(found[1])
