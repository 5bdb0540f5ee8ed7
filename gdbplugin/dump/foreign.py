"""Dumps of others: what QEMU's `dump-guest-memory` writes, kdump files, and plain copies of RAM.

They lack system registers. So they are converted: into a dump as `gdbplugin.dump.write` writes it, with the
registers that the user gives, or that the kernel has saved in its memory. Then everything works on them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gdbplugin.aarch64.regime import TRANSLATION_REGISTERS
from gdbplugin.dump import compressed, kdump
from gdbplugin.dump.contents import SAVED_REGISTERS, read_contents
from gdbplugin.dump.core_file import PAGE_BYTES, CoreFile, DumpError, Thread, data_of, opened, write_core
from gdbplugin.dump.machine import STATUS_NAMES
from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.selection import SubstitutedMachine
from gdbplugin.kernel.spaces import read_spaces
from gdbplugin.kernel.target import Target
from gdbplugin.layout.decode import value
from gdbplugin.layout.elf import ElfError
from gdbplugin.layout.types import Layout, LayoutError
from gdbplugin.machine import CachedMachine, Machine, MachineError, PhysicalReadError, SelectionError
from gdbplugin.records import Protocol, dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from gdbplugin.layout.elf import ElfImage

KERNEL_REGISTERS = "tinyos::debugger::DEBUGGER_REGISTERS"
"""The static in which TinyOS saves the system registers of translation."""
# Without these nothing can be translated.
_NEEDED = ("SCTLR_EL1", "TCR_EL1", "TTBR0_EL1", "TTBR1_EL1")


@dataclass(frozen=True)
class OpenedDump(Diagnosed):
    """A dump that was opened."""

    path: str
    """The file."""
    kind: str
    """What it is: a dump of tinyos-gdb, an ELF core, a kdump file, or a copy of RAM."""
    memory_size: int
    """Bytes of physical memory in it."""
    cores: int
    """Number of cores in it; a copy of RAM has none, and gets one."""
    given_registers: tuple[str, ...]
    """The registers that the user gave."""
    saved_registers: tuple[str, ...]
    """The system registers that were found in the kernel's own memory."""
    console: str
    """The end of what the kernel had printed, at most 64 KiB; empty where the dump does not say."""


class Source(Protocol):
    """A dump of others."""

    @property
    def kind(self) -> str:
        """What it is, in words."""

    @property
    def threads(self) -> Sequence[Thread]:
        """Its cores, in order."""

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges of physical memory in it: start and size."""

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from a physical address; raises `PhysicalReadError`."""

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """Its memory that may not be zero, by address: address and bytes."""


class RamFile:
    """A copy of RAM, from physical address 0 on, and nothing else."""

    kind = "copy of RAM"
    threads: Sequence[Thread] = ()

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        if not self._size or self._size % PAGE_BYTES:
            raise DumpError(
                f"{path} is not a dump: neither an ELF core nor a kdump file, and with {self._size:,} bytes "
                "no copy of whole pages of RAM"
            )

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The whole file."""
        return ((0, self._size),)

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes; raises `PhysicalReadError`."""
        self._file.seek(min(address, self._size))
        data = self._file.read(length)
        if len(data) != length:
            raise PhysicalReadError(address, length, "the dump has no such memory")
        return data

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """Its parts that are not holes."""
        return data_of(self._file.fileno(), self._size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def ram_file(path: Path) -> RamFile:
    """A copy of RAM; raises `DumpError`."""
    return RamFile(opened(path), path)


def stored_memory(core: Path | None, ram: str | None) -> CoreFile | RamFile | None:
    """A dump, or else the RAM that a session shares, as a file; None without. Raises `MachineError`."""
    try:
        if core is not None:
            return CoreFile(core)
        return ram_file(Path(ram)) if ram else None
    except DumpError as error:
        raise MachineError(str(error)) from error


def source_of(path: Path) -> tuple[Source, BinaryIO | None]:
    """What a file is, by its first bytes, and the file that it is read from if that is not itself.

    Raises `DumpError`, `OSError`.
    """
    first = file = opened(path)
    head = file.read(16)
    if head.startswith(compressed.MAGIC):
        file = _next(file, compressed.decompressed(file, path))
        head = file.read(16)
    if head.startswith(kdump.FLATTENED):
        file = _next(file, kdump.unflattened(file, path))
        head = file.read(16)
    source: Source
    if head.startswith(kdump.MAGIC):
        source = kdump.KdumpFile(file, path)
    elif head.startswith(b"\x7fELF"):
        source = CoreFile(path, file)
    else:
        source = RamFile(file, path)
    return source, None if file is first else file


def _next(file: BinaryIO, better: BinaryIO) -> BinaryIO:
    file.close()
    better.seek(0)
    return better


class ForeignMachine:
    """A dump of others as a machine; satisfies `gdbplugin.machine.Machine`.

    `given` are registers that hold for every core, and come before those of the dump.
    """

    def __init__(self, source: Source, given: Mapping[str, int]) -> None:
        self.source = source
        self.given = given
        own = source.information.get("cores") if isinstance(source, CoreFile) else None
        self._cores: list[Mapping[str, int]] = own or [
            dict(zip(STATUS_NAMES, one.registers, strict=True)) for one in source.threads
        ]
        self._cores = self._cores or [{}]

    @property
    def cores(self) -> Sequence[int]:
        """The numbers of the cores."""
        return range(len(self._cores))

    def read_physical(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes; raises `PhysicalReadError`."""
        return self.source.read(address, length)

    def register(self, name: str, core: int) -> int | None:
        """The value of a core's register; None if it is not known."""
        if core not in self.cores:
            return None
        return self.given.get(name, self._cores[core].get(name))

    def add(self, core: int, registers: Mapping[str, int]) -> None:
        """Let a core have these registers too, where nothing else is known."""
        self._cores[core] = {**registers, **self._cores[core]}


def given_registers(settings: Sequence[str]) -> dict[str, int]:
    """The registers in words `NAME=VALUE`; raises `SelectionError`."""
    found: dict[str, int] = {}
    known = {name.upper(): name for name in SAVED_REGISTERS}
    for setting in settings:
        name, equals, text = setting.partition("=")
        register = known.get(name.strip().upper())
        if register is None:
            likely = ", ".join(TRANSLATION_REGISTERS[1:6])
            raise SelectionError(f'"{name}" is not a register of a dump (some that are: {likely})')
        try:
            number = int(text.strip(), 0) if equals else -1
        except ValueError:
            number = -1
        if not 0 <= number < 1 << 64:
            raise SelectionError(f'"{setting}" is not NAME=VALUE with a number of at most 64 bits')
        found[register] = number
    return found


def open_dump(
    path: Path, given: Mapping[str, int], kernel: tuple[ElfImage, Layout] | None
) -> tuple[OpenedDump, BinaryIO | None]:
    """What a file is, and the dump to read in its place: an unnamed file; None if it is one of ours itself.

    `kernel` is the ELF file of the kernel that ran, and its layout, if they are known. Raises `DumpError` or
    `SelectionError`.
    """
    try:
        source, plain = source_of(path)
        if isinstance(source, CoreFile) and source.information and not given:
            return _described(path, "dump of tinyos-gdb", source, Diagnostics()), plain
        return _converted(path, source, given, kernel)
    except OSError as error:
        raise DumpError(f"{path} cannot be opened: {error.strerror or error}") from error


def _converted(
    path: Path, source: Source, given: Mapping[str, int], kernel: tuple[ElfImage, Layout] | None
) -> tuple[OpenedDump, BinaryIO]:
    if not any(size for _, size in source.ranges):
        raise DumpError(f"{path} has no memory")
    diagnostics = Diagnostics()
    machine = ForeignMachine(source, given)
    difference = "" if kernel is None else difference_from(kernel[0], machine)
    if difference:
        diagnostics.add_note(difference)
        kernel = None
    saved = _add_saved(machine, kernel, diagnostics)
    missing = [name for name in _NEEDED if machine.register(name, machine.cores[0]) is None]
    if missing:
        diagnostics.add_note(
            f"this dump does not have {', '.join(missing)}, and no address can be translated without: "
            "give values by --register NAME=VALUE"
        )
    if saved:
        diagnostics.add_note(f"{', '.join(saved)} are as the kernel has saved them in its memory")
    if not source.threads:
        diagnostics.add_note("a copy of RAM has no registers of cores: where they were is not known")
    end = max(start + size for start, size in source.ranges)
    contents = read_contents(_target(machine, kernel), end, source.kind, "", "")
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (the caller keeps it)
    write_core(file, replace(contents, ranges=source.ranges), source.parts())
    file.flush()
    found = _described(path, source.kind, source, diagnostics)
    return replace(found, given_registers=tuple(given), saved_registers=tuple(saved)), file


def difference_from(image: ElfImage, machine: Machine) -> str:
    """Why a dump is not of the kernel in an ELF file, in one line; empty if it is."""

    def read(address: int, length: int) -> bytes | None:
        try:
            return machine.read_physical(address, length)
        except PhysicalReadError:
            return None

    try:
        return image.difference(read)
    except (ElfError, OSError) as error:
        return str(error)


def _described(path: Path, kind: str, source: Source, diagnostics: Diagnostics) -> OpenedDump:
    size = sum(size for _, size in source.ranges)
    cores = len(ForeignMachine(source, {}).cores)
    said = source.information.get("console") if isinstance(source, CoreFile) else None
    console = said if isinstance(said, str) else ""
    return OpenedDump(str(path), kind, size, cores, (), (), console, diagnostics=diagnostics)


def _target(machine: ForeignMachine, kernel: tuple[ElfImage, Layout] | None) -> Target:
    cached, diagnostics = CachedMachine(machine), Diagnostics()

    def find() -> Kernel:
        if kernel is None:
            raise MachineError("no kernel is loaded")
        return Kernel(cached, kernel[1], diagnostics)

    return Target(cached, machine.cores[0], diagnostics, find)


def _add_saved(
    machine: ForeignMachine, kernel: tuple[ElfImage, Layout] | None, diagnostics: Diagnostics
) -> list[str]:
    """Give the cores the registers that TinyOS has saved in its memory; returns the names of those used."""
    if kernel is None:
        return []
    image, layout = kernel
    core = machine.cores[0]
    before = {name for name in _NEEDED if machine.register(name, core) is not None}
    try:
        static = layout.static(KERNEL_REGISTERS)
        physical = image.physical(static.address) if static is not None else None
        if static is None or physical is None:
            return []
        found = value(static.type, machine.read_physical(physical, static.type.size))
        values = {name.upper(): number for name, number in found.items()}
        if not values.get("TTBR1_EL1"):
            return []  # The kernel has no tables of its own yet.
        idle = values.pop("IDLE_TTBR0_EL1", None)
        for each in machine.cores:
            machine.add(each, values)
        machine.add(core, _current_table(machine, layout))
        for each in machine.cores[1:]:
            machine.add(each, {} if idle is None else {"TTBR0_EL1": idle})
    except (MachineError, LayoutError) as error:
        diagnostics.add_note(f"what the kernel has saved of its registers cannot be used: {error}")
    return [name for name in _NEEDED if name not in before and machine.register(name, core) is not None]


def _current_table(machine: ForeignMachine, layout: Layout) -> dict[str, int]:
    """TTBR0 of core 0, which runs the tasks, by the kernel's records."""
    probe = SubstitutedMachine(machine, machine.cores[0], {"TTBR0_EL1": 0})
    spaces = read_spaces(Kernel(CachedMachine(probe), layout))
    space = spaces.of(spaces.current)
    if space is None or space.table is None:
        return {}
    return {"TTBR0_EL1": space.table | (space.asid or 0) << 48}
