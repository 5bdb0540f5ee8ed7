"""Dumps in GDB: the core file that is loaded, as a machine; all memory of a live machine, for a new dump."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import gdb

from gdbplugin.debugger import current
from gdbplugin.debugger.guards import printed
from gdbplugin.debugger.layout import add_packages
from gdbplugin.debugger.machine import selecting
from gdbplugin.dump import foreign
from gdbplugin.dump.contents import MOST_CONSOLE_BYTES
from gdbplugin.dump.core_file import CoreFile, DumpError, data_of
from gdbplugin.dump.machine import DumpMachine
from gdbplugin.kernel.physical_map import MemoryMap
from gdbplugin.machine import Machine, MachineError, PhysicalReadError
from gdbplugin.programs import CONSOLE_VARIABLE, RAM_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from gdbplugin.dump.foreign import OpenedDump
    from gdbplugin.kernel.target import StoredMemory

# The kernel's image is there: whether a file is this machine's RAM.
_COMPARED = (0x8_0000, 4096)
_CORE = re.compile(r"^Local core dump file:\n\t`(.*)', file type", re.MULTILINE)


def _file() -> Path:
    """The core file that the selected inferior shows. Raises `MachineError`."""
    found = _CORE.search(printed("info files"))
    if found is None:
        raise MachineError("GDB does not say which core file it has loaded")
    return Path(found[1])


class GdbDump:
    """The dump that GDB has loaded; satisfies `gdbplugin.machine.Machine`."""

    def __init__(self) -> None:
        """Raises `MachineError` if the file is damaged."""
        path = _file()
        self._inferior = gdb.selected_inferior()
        try:
            self._machine = DumpMachine(path)
        except DumpError as error:
            raise MachineError(str(error)) from error

    def is_current(self) -> bool:
        """Whether GDB still has this dump selected."""
        return self._inferior.is_valid() and self._inferior == gdb.selected_inferior()

    @property
    def memory_map(self) -> MemoryMap:
        """QEMU's map of physical memory, as it was noted in the dump; without a range if it was not."""
        return MemoryMap.of_rows(self._machine.information.get("memory_map"))

    @property
    def cores(self) -> Sequence[int]:
        """The numbers of the cores."""
        return self._machine.cores

    @property
    def selected_core(self) -> int:
        """The core whose thread is selected in GDB; that which runs the tasks, for a task's thread."""
        thread = gdb.selected_thread()
        return 0 if thread is None else self._machine.core_of(thread.ptid[1])

    def selected(self, core: int) -> contextlib.AbstractContextManager[None]:
        """Select a core's thread in GDB for the length of a `with`, then the user's again."""
        cores = (thread for thread in self._inferior.threads() if self._machine.is_core(thread.ptid[1], core))
        thread = next(cores, None)
        return contextlib.nullcontext() if thread is None else selecting(thread)

    def read_physical(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes, as `Machine` says."""
        return self._machine.read_physical(address, length)

    def register(self, name: str, core: int) -> int | None:
        """The value of a core's register; None if the dump does not have it."""
        return self._machine.register(name, core)


# The unnamed file that GDB reads in place of a dump of others.
_converted: BinaryIO | None = None
# What GDB was given for a dump, then the dump and the registers that the user gave.
_given: tuple[str, str, dict[str, int]] = ("", "", {})


def open_dump(file: str, registers: Mapping[str, int]) -> OpenedDump:
    """Open a dump as GDB's core file. Raises a `MachineError` that says why it cannot be."""
    global _converted, _given
    if gdb.selected_inferior().pid and not current.is_dump():
        raise MachineError(
            "a live target is connected: end that first (disconnect), or open the dump beside it "
            "(add-inferior -no-connection, then inferior NUMBER)"
        )
    path = Path(file).expanduser()
    add_packages()
    try:
        opened, converted = foreign.open_dump(path, registers, current.program())
    except DumpError as error:
        raise MachineError(str(error)) from error
    place = f"/proc/self/fd/{converted.fileno()}" if converted is not None else str(path)
    try:
        open_core(place)
    except gdb.error as error:
        raise MachineError(f"GDB cannot open {path}: {error}") from error
    finally:
        _converted = converted
    _given = place, str(path), dict(registers)
    return opened


def opened_file() -> tuple[str, dict[str, int]]:
    """The file of the dump that is open, as the user named it, and the registers that they gave."""
    place, path, registers = _given
    here = str(_file())
    return (path, registers) if here == place else (here, {})


def open_core(path: str) -> None:
    """Load a core file; some versions of GDB take the path literally, others as a word."""
    try:
        gdb.execute(f"core-file {path}", to_string=True)
    except gdb.error:
        if not set(path) & set(" '\"\\"):
            raise
        gdb.execute(f"core-file {escaped(path)}", to_string=True)


def escaped(path: str) -> str:
    """A path as a word of a GDB command."""
    return re.sub(r"""([\s'"\\])""", r"\\\1", path)


def console_text() -> str:
    """The end of the session's console log; empty without one."""
    path = os.environ.get(CONSOLE_VARIABLE)
    if not path:
        return ""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_CONSOLE_BYTES))
            return file.read().decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError as error:
        raise MachineError(f"the console's log cannot be read: {error.strerror}") from error


def memory_parts(machine: Machine) -> tuple[int, Iterator[tuple[int, bytes]]]:
    """The size of the live machine's memory, and its parts that are not zero: address and bytes.

    From the RAM that a session shares with QEMU, else by QEMU's monitor. Raises `MachineError` otherwise.
    """
    add_packages()  # It may be compressed.
    path = _ram_of(machine)
    if path:
        return _of_file(path)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory, "memory")
        said = _asked(f"dump-guest-memory {place}")
        if not place.is_file():
            reason = f": {said.splitlines()[0]}" if said else ""
            raise MachineError(f"all of the memory can be read only from a QEMU on this host{reason}")
        try:
            core = CoreFile(place)
        except DumpError as error:
            raise MachineError(str(error)) from error
        size = max((physical + size for physical, size, _ in core.segments), default=0)
        # The directory is removed now, but the file stays open.
        return size, core.parts()


def ram(machine: Machine) -> Machine | None:
    """The live machine's RAM, to be read as a file; None if that is not possible."""
    path = _ram_of(machine)
    if not path:
        return None
    try:
        return foreign.ForeignMachine(foreign.ram_file(Path(path)), {})
    except DumpError:
        return None


def stored_memory(machine: Machine) -> StoredMemory | None:
    """All memory of the machine as a file: a dump, or the RAM that a session shares; None without."""
    if current.is_dump():
        return foreign.stored_memory(_file(), None)
    return foreign.stored_memory(None, _ram_of(machine))


def _ram_of(machine: Machine) -> str:
    """The file that a session shares with QEMU as RAM, if that is this machine's; else empty."""
    path = os.environ.get(RAM_VARIABLE, "")
    address, length = _COMPARED
    try:
        with open(path, "rb") as file:
            file.seek(address)
            return path if file.read(length) == machine.read_physical(address, length) else ""
    except (OSError, PhysicalReadError):
        return ""  # The user may have connected to another machine.


def _asked(command: str) -> str:
    try:
        return printed(f"monitor {command}").strip()
    except gdb.error as error:
        return str(error)


def _of_file(path: str) -> tuple[int, Iterator[tuple[int, bytes]]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise MachineError(f"the guest's memory cannot be read: {error.strerror}") from error
    size = os.fstat(descriptor).st_size

    def parts() -> Iterator[tuple[int, bytes]]:
        try:
            yield from data_of(descriptor, size)
        finally:
            os.close(descriptor)

    return size, parts()
