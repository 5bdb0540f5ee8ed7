"""The kernel's ELF: whether it is TinyOS, whether it can be debugged, whether it is what runs; its probes."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gdbplugin.kernel.call_frames import CallFrameTable, read_call_frames
from gdbplugin.kernel.design import DesignLayout, ManagerUnclearError
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel, KernelNotReadyError
from gdbplugin.kernel.snapshot import NoMachine
from gdbplugin.layout import cache
from gdbplugin.layout.code import CodeMap
from gdbplugin.layout.debug_file import find_debug_file, has_name
from gdbplugin.layout.elf import ElfError, ElfImage, read_image, read_sections
from gdbplugin.layout.types import (
    Array,
    Layout,
    LayoutError,
    Static,
    in_one_line,
    locate,
    locate_path,
    unwrap,
)
from gdbplugin.machine import MachineError
from gdbplugin.session import mi
from gdbplugin.session.errors import CommandFailedError, KernelUnusableError
from gdbplugin.session.gdb import Gdb
from gdbplugin.session.ram import Ram

_SPACES = "context_switcher.spaces"
MANAGER_SYMBOL = b"DYNAMIC_MEMORY_MANAGER"
_BUILD = "build it with scripts/build"
_TOP = Path(__file__).resolve().parents[2]


def default_kernel() -> Path:
    """The default ELF: $TINYOS_KERNEL, or in a checkout the one that scripts/build makes.

    Raises `KernelUnusableError` if there is neither the variable nor a checkout.
    """
    named = os.environ.get("TINYOS_KERNEL")
    if named:
        return Path(named)
    if not (_TOP / "kernel" / "Cargo.toml").is_file():
        raise KernelUnusableError("no kernel is named: give TinyOS's kernel.elf, or set TINYOS_KERNEL to it")
    return _TOP / "build" / "kernel.elf"


@dataclass(frozen=True)
class KernelFile:
    """A TinyOS ELF, and the file with its symbols and debug information: the ELF, or a separate one."""

    image: ElfImage
    debug: Path
    manager: str = ""
    """The path of the static that is TinyOS's memory manager; empty to search for it."""

    @property
    def path(self) -> Path:
        """The path of the ELF."""
        return Path(self.image.path)

    @functools.cached_property
    def layout(self) -> Layout:
        """How its types lie in memory; raises `KernelUnusableError`."""
        try:
            return DesignLayout(cache.load(self.path), self._search, self.manager)
        except LayoutError as error:
            raise KernelUnusableError(f"{error}: {_BUILD}") from error

    @functools.cached_property
    def code(self) -> CodeMap:
        """Its functions and lines; raises `KernelUnusableError`."""
        try:
            return cache.load_code(self.path)
        except LayoutError as error:
            raise KernelUnusableError(f"{error}: {_BUILD}") from error

    @functools.cached_property
    def call_frames(self) -> CallFrameTable:
        """Its call frame information; what could not be read is among its problems."""
        return read_call_frames(self.debug)

    def _search(self, names: frozenset[str]) -> Mapping[str, Static]:
        """Every static of the file whose last name is one of these."""
        table = cache.load(self.path, crates=None, names=names)
        if table.problems and not table.statics:
            raise LayoutError(in_one_line(table.problems))
        return table.statics

    @functools.cached_property
    def is_ours(self) -> bool:
        """Whether it is TinyOS itself, with its shell, and not another kernel of the same design.

        True if its debug information cannot be read: what needs that reports it.
        """
        try:
            return Kernel(NoMachine(), self.layout).has_debugger_interface
        except ManagerUnclearError:
            return False
        except (KernelUnusableError, LayoutError, MachineError):
            return True

    def is_set_up(self, ram: Ram) -> bool:
        """Whether the memory manager exists yet in a machine's RAM; True if that cannot be seen.

        A kernel may hold its manager in an enum that tells. If several statics fit and none was named, the
        first command says so. Raises `KernelUnusableError`, also if the static named is not a manager.
        """
        kernel = Kernel(NoMachine(), self.layout)
        try:
            kernel.require_manager(_Loaded(self.image, ram))
        except KernelNotReadyError:
            return False
        except ManagerUnclearError as error:
            if not self.manager:
                return True
            raise KernelUnusableError(str(error)) from error
        except MachineError as error:
            raise KernelUnusableError(str(error)) from error
        return True

    def recorded_places(self) -> Iterator[str]:
        """What the recorder records beside translation tables, as its arguments.

        It is all of the memory manager and of the scheduler, which has the tasks' contexts. The roots of the
        tasks' tables are in the manager. Of a kernel of which this is not known, it is the tables alone.
        Raises `KernelUnusableError`.
        """
        for name in (MANAGER, SCHEDULER):
            try:
                static = self.layout.static(name)
            except (LayoutError, MachineError) as error:
                raise KernelUnusableError(str(error)) from error
            start = None if static is None else self.image.physical(static.address)
            if static is None or start is None:
                continue
            yield f"watch={start:x}-{start + static.type.size:x}"
            spaces = locate_path(static.type, _SPACES) if name == MANAGER else None
            array = None if spaces is None else unwrap(spaces.type)
            table = locate(array.element, "table") if isinstance(array, Array) else None
            if spaces is not None and isinstance(array, Array) and table is not None:
                first, size = start + spaces.offset + table.offset, array.element.size
                yield f"roots={first:x}-{first + array.count * size:x}/{size:x}"

    @functools.cached_property
    def probes(self) -> tuple[Probe, ...]:
        """The places in its code where something happens that can be waited for.

        Raises `KernelUnusableError` if there are none.
        """
        try:
            return read_probes(self.path, self.debug)
        except LayoutError as error:
            if not self.is_ours:
                lack = "this kernel has no probes for debuggers, so nothing can be waited for"
                raise KernelUnusableError(lack) from error
            raise KernelUnusableError(f"{error}: {_BUILD}") from error

    @classmethod
    def open(cls, path: Path, manager: str = "") -> KernelFile:
        """Examine the file; raises `KernelUnusableError`, which says what is wrong and what to do."""
        if not path.exists():
            raise KernelUnusableError(f"no kernel at {path}: {_BUILD}")
        try:
            image = read_image(path)
            if not image.is_aarch64:
                raise KernelUnusableError(
                    f"{path} is not an AArch64 ELF: give TinyOS's kernel.elf, or {_BUILD}"
                )
            debug = _debug_file(path, manager)
            image.fingerprint()
        except ElfError as error:
            raise KernelUnusableError(f"{error}: give TinyOS's kernel.elf, or {_BUILD}") from error
        return cls(image, debug, manager)

    def require_running(self, gdb: Gdb) -> None:
        """Raise `KernelUnusableError` if the machine that GDB has stopped runs something else.

        Compares memory at the ELF's physical addresses; at the virtual ones if the gdbstub cannot read
        physical memory.
        """
        physical = "OK" in gdb.execute("maint packet Qqemu.PhyMemMode:1")
        try:
            difference = self.image.difference(
                lambda address, length: _read(gdb, address if physical else self._virtual(address), length)
            )
        finally:
            if physical:
                gdb.execute("maint packet Qqemu.PhyMemMode:0")
        if difference:
            raise KernelUnusableError(difference)

    def _virtual(self, physical: int) -> int:
        """The virtual address of one of the file's physical addresses."""
        for segment in self.image.segments:
            if segment.physical <= physical < segment.physical + segment.memory_size:
                return segment.virtual + physical - segment.physical
        raise KernelUnusableError(f"{self.path} has no segment at {physical:#x}: {_BUILD}")


class _Loaded:
    """Memory by virtual address: the file says at which physical address it is loaded."""

    def __init__(self, image: ElfImage, ram: Ram) -> None:
        self._image = image
        self._ram = ram

    def read(self, address: int, length: int) -> bytes:
        """Bytes from a virtual address; raises `MachineError`."""
        physical = self._image.physical(address)
        if physical is None:
            raise MachineError(f"{self._image.path} does not say where {address:#x} lies in RAM")
        return self._ram.read(physical, length)


def _debug_file(path: Path, manager: str) -> Path:
    """The file with the kernel's debug information; raises `KernelUnusableError`."""
    try:
        debug = find_debug_file(path)
        words = {MANAGER_SYMBOL, manager.rpartition("::")[2].encode() or MANAGER_SYMBOL}
        named = [has_name(file, word) for file in dict.fromkeys((path, debug)) for word in words]
    except LayoutError as error:
        raise KernelUnusableError(f"{error}, or {_BUILD}") from error
    # If no file has a symbol table, `layout` finds out from the debug information.
    if True not in named and False in named:
        lack = f"it has no {MANAGER_SYMBOL.decode()}"
        raise KernelUnusableError(f"{path} is not TinyOS ({lack}): give kernel.elf, or {_BUILD}")
    return debug


def _read(gdb: Gdb, address: int, length: int) -> bytes | None:
    """Memory as GDB reads it; None if it cannot be read."""
    try:
        answer = gdb.mi(f"-data-read-memory-bytes {mi.address(address)} {length}")
    except CommandFailedError:
        return None
    return bytes.fromhex(answer.payload["memory"][0]["contents"])


SWITCH = 0x100
"""The kind of a probe where TTBR0 was given another address space; other kinds are those of events."""

_SECTION = ".debugger_probes"
_ENTRY = struct.Struct("<QQ8s8s")


@dataclass(frozen=True)
class Probe:
    """A place in the code. `first` and `second` are the registers that hold its two figures there."""

    address: int
    kind: int
    first: str
    second: str


def read_probes(path: Path, debug: Path | None = None) -> tuple[Probe, ...]:
    """The probes of an ELF file, or of its separate debug file: tools move them there with the DWARF.

    Raises `LayoutError` where there are none, or where they cannot be read.
    """
    try:
        data = read_sections(path).text(_SECTION)
        if not data and debug is not None:
            data = read_sections(debug).text(_SECTION)
    except ElfError as error:
        raise LayoutError(f"cannot read the probes of {path}: {error}") from error
    if not data or len(data) % _ENTRY.size:
        raise LayoutError(f"{path} has no probes for debuggers (section {_SECTION}): build a newer kernel")
    return tuple(
        Probe(address, kind, _register(first), _register(second))
        for address, kind, first, second in _ENTRY.iter_unpack(data)
    )


def _register(name: bytes) -> str:
    return name.rstrip(b"\0").decode("ascii", errors="replace")
