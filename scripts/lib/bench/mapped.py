"""`maps` where the guest's RAM is mapped: as a session's typed result."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import table_set
from bench.figures import Figure, MeasureError
from gdbplugin.session import TinyOS

_GOAL_MS = 40.0
_MAPPED_BYTES = table_set.LEAVES * 4096


def measure(elf: Path, runs: int, progress: Callable[[str], None]) -> Iterator[Figure]:
    """The table set of `maps`, each time at a new stop."""
    with TinyOS.boot(elf) as machine, machine.stopped():
        for scattered, kind in ((False, "frames in runs"), (True, "frames scattered")):
            progress(f"mapped: maps of {table_set.LEAVES:,} leaves, {kind}")
            _write(machine, table_set.build(scattered))
            label = f"TinyOS.maps(), {table_set.LEAVES:,} leaves, {kind}, mapped RAM"
            times = [_timed(machine) for _ in range(runs)]
            yield Figure(label, 1e3 * statistics.median(times), "ms", _GOAL_MS)


def _write(machine: TinyOS, tables: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(tables)
        file.flush()
        _restore(machine, file.name)
    if machine.qemu.ram is None or machine.qemu.ram.read(table_set.BASE, len(tables)) != tables:
        raise MeasureError("the tables are not in the mapped RAM")


def _restore(machine: TinyOS, file: str) -> None:
    # By GDB, for the mapped RAM is only read here; at physical addresses.
    machine.gdb("maint packet Qqemu.PhyMemMode:1")
    try:
        machine.gdb(f"restore {file} binary {table_set.BASE:#x}", 120)
    finally:
        machine.gdb("maint packet Qqemu.PhyMemMode:0")


def _timed(machine: TinyOS) -> float:
    # What was read is kept until the target runs: an instruction is enough of that.
    machine.gdb("stepi")
    start = time.perf_counter()
    found = machine.maps(ttbr=table_set.BASE)
    took = time.perf_counter() - start
    # Beside them are the kernel's own mappings, in the upper half.
    if sum(mapping.end - mapping.start for mapping in found if not mapping.start >> 48) != _MAPPED_BYTES:
        raise MeasureError("maps does not find all leaves")
    return took
