"""The kernel's ELF, as far as a session must know it: is it TinyOS, can it be debugged, is it what runs."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from gdbplugin.layout import cache
from gdbplugin.layout.debug_file import find_debug_file, has_name
from gdbplugin.layout.elf import ElfError, ElfImage, read_image
from gdbplugin.layout.marks import Mark, read_marks
from gdbplugin.layout.types import Layout, LayoutError
from gdbplugin.session.errors import CommandFailedError, KernelUnusableError
from gdbplugin.session.gdb import Gdb

MANAGER_SYMBOL = b"DYNAMIC_MEMORY_MANAGER"
_BUILD = "build it with scripts/build"
_TOP = Path(__file__).resolve().parents[2]


def default_kernel() -> Path:
    """The ELF meant where none is named: $TINYOS_KERNEL, or in a checkout the one that scripts/build leaves.

    Raises `KernelUnusableError` where there is neither variable nor checkout.
    """
    named = os.environ.get("TINYOS_KERNEL")
    if named:
        return Path(named)
    if not (_TOP / "kernel" / "Cargo.toml").is_file():
        raise KernelUnusableError("no kernel is named: give TinyOS's kernel.elf, or set TINYOS_KERNEL to it")
    return _TOP / "build" / "kernel.elf"


@dataclass(frozen=True)
class KernelFile:
    """A TinyOS ELF, and the file with its symbols and debug information: itself, or a separate one."""

    image: ElfImage
    debug: Path

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.image.path)

    @functools.cached_property
    def layout(self) -> Layout:
        """How its types lie in memory; raises `KernelUnusableError`."""
        try:
            return cache.load(self.path)
        except LayoutError as error:
            raise KernelUnusableError(f"{error}: {_BUILD}") from error

    @functools.cached_property
    def marks(self) -> tuple[Mark, ...]:
        """Where in its code things happen that can be waited for; raises `KernelUnusableError`."""
        try:
            return read_marks(self.path, self.debug)
        except LayoutError as error:
            raise KernelUnusableError(f"{error}: {_BUILD}") from error

    @classmethod
    def open(cls, path: Path) -> KernelFile:
        """Look at the file; raises `KernelUnusableError`, saying what is wrong and what to do."""
        if not path.exists():
            raise KernelUnusableError(f"no kernel at {path}: {_BUILD}")
        try:
            image = read_image(path)
            if not image.is_aarch64:
                raise KernelUnusableError(
                    f"{path} is not an AArch64 ELF: give TinyOS's kernel.elf, or {_BUILD}"
                )
            debug = _debug_file(path)
            image.fingerprint()
        except ElfError as error:
            raise KernelUnusableError(f"{error}: give TinyOS's kernel.elf, or {_BUILD}") from error
        return cls(image, debug)

    def require_running(self, gdb: Gdb) -> None:
        """Raise `KernelUnusableError` if the machine that GDB is stopped at runs something else.

        Compares what lies in its memory at the ELF's physical addresses, or, for a gdbstub that knows no
        physical memory, at the virtual ones.
        """
        address, expected = self.image.fingerprint()
        physical = "OK" in gdb.execute("maint packet Qqemu.PhyMemMode:1")
        try:
            found = _read(gdb, address if physical else self._virtual(address), len(expected))
        finally:
            if physical:
                gdb.execute("maint packet Qqemu.PhyMemMode:0")
        if found != expected:
            raise KernelUnusableError(
                f"{self.path} is not the kernel that is running: what identifies it is not in the machine's "
                "memory; give the ELF that was booted, or boot this one"
            )

    def _virtual(self, physical: int) -> int:
        """The virtual address of a physical one of the file's own."""
        for segment in self.image.segments:
            if segment.physical <= physical < segment.physical + segment.memory_size:
                return segment.virtual + physical - segment.physical
        raise KernelUnusableError(f"{self.path} has no segment at {physical:#x}: {_BUILD}")


def _debug_file(path: Path) -> Path:
    """The file with the kernel's debug information; raises `KernelUnusableError`."""
    try:
        debug = find_debug_file(path)
        named = [has_name(file, MANAGER_SYMBOL) for file in dict.fromkeys((path, debug))]
    except LayoutError as error:
        raise KernelUnusableError(f"{error}, or {_BUILD}") from error
    # Where no file has a table of symbols, the debug information itself will tell.
    if True not in named and False in named:
        lack = f"it has no {MANAGER_SYMBOL.decode()}"
        raise KernelUnusableError(f"{path} is not TinyOS ({lack}): give kernel.elf, or {_BUILD}")
    return debug


def _read(gdb: Gdb, address: int, length: int) -> bytes | None:
    """Memory as GDB reads it; None where nothing can be read."""
    try:
        answer = gdb.mi(f"-data-read-memory-bytes {address:#x} {length}")
    except CommandFailedError:
        return None
    return bytes.fromhex(answer.payload["memory"][0]["contents"])
