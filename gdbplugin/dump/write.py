"""Writes a dump of the stopped machine, whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path

from gdbplugin.dump import compressed
from gdbplugin.dump.contents import read_contents
from gdbplugin.dump.core_file import DumpError, write_core
from gdbplugin.dump.machine import FIRST_TASK_NUMBER
from gdbplugin.dump.whole_file import whole_file
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.kernel.target import Target
from gdbplugin.machine import MachineError
from gdbplugin.records import dataclass

WRITER = "tinyos-gdb"


@dataclass(frozen=True)
class Dump(Diagnosed):
    """A dump that was written."""

    path: str
    """The file."""
    memory_size: int
    """Bytes of the machine's memory."""
    stored_size: int
    """Bytes that the file takes on the disk."""
    cores: int
    """Number of cores in it."""
    tasks: int
    """Number of tasks in it that do not run on a core."""


def write_dump(target: Target, path: str) -> Dump:
    """Write a dump of the stopped machine, with the end of what its console said.

    It is compressed if the name ends in `.zst`. Raises a `MachineError` in one line if memory cannot be read,
    or the file cannot be written.
    """
    place = Path(path).expanduser()
    size, parts = target.memory_parts()
    written = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    contents = read_contents(target, size, WRITER, written, target.console_text())
    try:
        with whole_file(place) as file:
            if place.suffix == compressed.SUFFIX:
                stream = compressed.ZstdWriter(file)
                write_core(stream, contents, parts)
                stream.finish()
            else:
                write_core(file, contents, parts)
    except DumpError as error:
        raise MachineError(f"cannot write {path}: {error}") from error
    stored = place.stat().st_blocks * 512
    tasks = sum(thread.number >= FIRST_TASK_NUMBER for thread in contents.threads)
    cores = len(contents.threads) - tasks
    return Dump(str(place), size, stored, cores, tasks, diagnostics=target.diagnostics)
