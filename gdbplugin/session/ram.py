"""The guest's RAM, shared with QEMU and mapped here; and the kernel watched in it while it runs.

Reading takes neither a stop nor a packet. The RAM is an anonymous file in memory (a memfd): nothing is on
disk, nothing remains, and a page costs memory only after it was touched. A system without memfd uses a file
in the session's private directory.

The ELF's program headers say where the kernel's statics lie. They are copied in bulk. A copy is whole if the
kernel's sequence counters were even and the same before and after it: then no change was under way
(`kernel/src/debugger.rs`). A torn copy is made again; only a whole copy is decoded.

The guest's stores are seen in their order if the host orders loads as x86 does.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gdbplugin.kernel.events import event_names
from gdbplugin.kernel.interface import (
    CONSOLE_INPUT,
    FAILURE_RECORD,
    INTERFACE,
    STRATEGY_UNITS,
    read_failure,
    ticks_per_second,
)
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel
from gdbplugin.kernel.snapshot import Copies, NoMachine, Snapshot, SnapshotReader
from gdbplugin.layout.elf import ElfImage
from gdbplugin.layout.types import Layout, Static, locate_path
from gdbplugin.machine import MachineError, PhysicalReadError
from gdbplugin.session.directory import RAM
from gdbplugin.session.errors import (
    EndedError,
    KernelUnusableError,
    ReadFailedError,
    SessionError,
    WaitTimeoutError,
)

RAM_BYTES = 2 << 30
"""The RAM of the machine raspi4b, from physical address 0 on. QEMU has no other size for it."""
_WORD_BYTES = 8
_MEMFD = "tinyos-ram"


class RamUnavailableError(Exception):
    """RAM cannot be shared here; the message is one sentence. A session works without it."""


class Ram(Protocol):
    """The guest's RAM as it is read; `MappedRam` is one."""

    def read(self, address: int, length: int) -> bytes:
        """Bytes from a physical address."""

    def word(self, address: int) -> int:
        """The aligned eight bytes at a physical address, read at once."""


class MappedRam:
    """RAM from physical address 0 on, mapped for reading. `close` unmaps it."""

    def __init__(self, descriptor: int, path: str, size: int) -> None:
        self.size = size
        """In bytes."""
        self.path = path
        """The file's name for QEMU, which inherits `descriptor`."""
        self.descriptor = descriptor
        self._bytes = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._words = memoryview(self._bytes).cast("Q")

    @classmethod
    def create(cls, directory: Path, size: int = RAM_BYTES) -> MappedRam:
        """New RAM, all zero: a memfd if the system has them, else a file in `directory`.

        Raises `RamUnavailableError`.
        """
        reasons = []
        for make in (_make_memfd, _make_file):
            try:
                descriptor, path = make(directory, size)
            except (OSError, RamUnavailableError) as error:
                reasons.append(str(error))
                continue
            try:
                os.ftruncate(descriptor, size)
                return cls(descriptor, path, size)
            except OSError as error:
                os.close(descriptor)
                reasons.append(str(error))
        raise RamUnavailableError(f"{size} bytes for the guest cannot be mapped: {'; '.join(reasons)}")

    @property
    def mapped_name(self) -> str:
        """How the file is called in the list of a process's mappings, `/proc/PID/maps`."""
        return f"/memfd:{_MEMFD} (deleted)" if self.path.startswith("/proc/self/fd/") else self.path

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes from physical `address`; raises `PhysicalReadError` outside RAM.

        The guest may write meanwhile: more than a word may mix values of two moments.
        """
        if address < 0 or length < 0 or address + length > self.size:
            raise PhysicalReadError(address, length, "it is not all RAM")
        return self._bytes[address : address + length]

    def word(self, address: int) -> int:
        """The eight bytes at an aligned physical address, read at once; raises `PhysicalReadError`."""
        if address % _WORD_BYTES or not 0 <= address < self.size:
            raise PhysicalReadError(address, _WORD_BYTES, "it is not an aligned word of RAM")
        return int(self._words[address // _WORD_BYTES])

    def close_descriptor(self) -> None:
        """Close the descriptor, once QEMU has inherited it; the mapping stays."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def close(self) -> None:
        """Unmap it; a second call does nothing."""
        self.close_descriptor()
        self._words.release()
        self._bytes.close()

    def __enter__(self) -> MappedRam:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_memfd(_: Path, __: int) -> tuple[int, str]:
    if sys.platform != "linux":
        raise RamUnavailableError("only Linux has memfd")
    descriptor = os.memfd_create(_MEMFD, os.MFD_CLOEXEC)
    # /proc/self is the process that opens it: the name works in QEMU too, which inherits the descriptor.
    return descriptor, f"/proc/self/fd/{descriptor}"


def _make_file(directory: Path, size: int) -> tuple[int, str]:
    # A guest would die if the disk became full while it runs.
    there = os.statvfs(directory)
    if there.f_bavail * there.f_frsize < size:
        raise RamUnavailableError(f"{directory} has too little space")
    path = directory / RAM
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), str(path)


_EVENTS = 256
_LOAD_SECONDS = 3.0
_LAZY_PAGES = "lazy_allocator.pages"
# After so many torn copies in a row, yield the processor; after so many, sleep.
_PATIENCE = 64
_STUCK = 4096
_PAUSE_SECONDS = 0.0005


@dataclass(frozen=True)
class _Span:
    """A part of the kernel's statics to copy: addresses and length in bytes."""

    virtual: int
    physical: int
    length: int


class Watch:
    """Takes snapshots of a running kernel. It opens nothing itself: the RAM belongs to the session."""

    def __init__(
        self,
        ram: Ram,
        image: ElfImage,
        layout: Layout,
        *,
        events: int = _EVENTS,
        ended: Callable[[], EndedError | None] = lambda: None,
        is_stopped: Callable[[], bool] = lambda: False,
        timeout: float = _LOAD_SECONDS,
    ) -> None:
        """`ram` runs `image`, whose types `layout` has. Snapshots have the newest `events` of the events.

        `lost` says how the machine ended, if it did, and `is_stopped` whether a debugger holds it still for
        certain. Raises `KernelUnusableError` where the machine does not have this kernel in its RAM within
        `timeout` seconds, `EndedError` for one that has ended.
        """
        self._ram = ram
        self._image = image
        self._layout = layout
        self._ended = ended
        self._is_stopped = is_stopped
        self._reader = SnapshotReader(layout, events)
        self._require_machine()
        self._require_kernel(timeout)
        self._counters = tuple(self._counter(name) for name in (MANAGER, SCHEDULER))
        self._everything = [self._span(static) for static in self._statics()]
        self._all_but_lazy_pages = list(self._without_lazy_pages())
        self.torn = 0
        """The number of torn copies so far."""
        self.event_names = event_names(Kernel(NoMachine(), layout))
        """For each enum whose values are numbers in events: the names of its values."""

    def snapshot(self, timeout: float = 1.0, *, lazy: bool = False) -> Snapshot:
        """The kernel's objects at the next moment, within `timeout` seconds, when no change is under way.

        If the kernel is stopped, or has failed, in the middle of a change, the copy is used as it is, and
        `changing` is set. `lazy` adds the record of each lazy page. Raises `WaitTimeoutError` if there was no
        whole copy in time, `ReadFailedError` before the kernel has set up its memory, and `EndedError` if the
        machine has ended.
        """
        self._require_machine()
        copies, torn = self._copy(self._everything if lazy else self._all_but_lazy_pages, timeout)
        try:
            return self._reader.read(copies, lazy_pages=lazy, torn=torn)
        except MachineError as error:
            raise ReadFailedError(str(error)) from error

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def _copy(self, spans: Sequence[_Span], timeout: float) -> tuple[Copies, int]:
        """A whole copy of these parts of RAM, and the number of torn ones before it."""
        deadline = time.monotonic() + timeout
        torn = 0
        is_still = False
        while True:
            before = self._read_counters()
            if is_still or not any(number % 2 for number in before):
                parts = {span.virtual: self._ram.read(span.physical, span.length) for span in spans}
                if self._read_counters() == before:
                    return Copies(parts), torn
            torn += 1
            self.torn += 1
            if torn % _PATIENCE == 0:
                is_still = self._is_stopped() or self.has_failed()
                if time.monotonic() >= deadline and not is_still:
                    raise self._torn_error(before, torn, timeout)
                # The guest may need this processor to finish its change.
                time.sleep(0 if torn < _STUCK else _PAUSE_SECONDS)

    def _read_counters(self) -> list[int]:
        return [self._ram.word(address) for address in self._counters]

    def _torn_error(self, before: Sequence[int], torn: int, timeout: float) -> SessionError:
        """The error if there was no whole copy in time."""
        ended = self._ended()
        if ended is not None:
            return ended
        said = f"waited {timeout:g} s for a whole snapshot of the kernel"
        after = self._read_counters()
        if after == before:
            return WaitTimeoutError(
                f"{said}: it does not finish its change (its sequence counters stay at "
                f"{' and '.join(map(str, after))}); if a debugger has stopped it there, let it run on"
            )
        return WaitTimeoutError(f"{said}: each of {torn} was torn by a change")

    def has_failed(self) -> bool:
        """Whether the kernel has failed and stopped itself: then a change under way is never finished."""
        static = self._layout.static(FAILURE_RECORD)
        if static is None:
            return False
        span = self._span(static)
        copies = Copies({span.virtual: self._ram.read(span.physical, span.length)})
        return read_failure(Kernel(NoMachine(), self._layout, memory=copies)) is not None

    @property
    def ticks_per_second(self) -> int | None:
        """Ticks of the scheduler in a second; None if the kernel does not export it."""
        static = self._layout.static(INTERFACE)
        if static is None:
            return None
        span = self._span(static)
        copies = Copies({span.virtual: self._ram.read(span.physical, span.length)})
        return ticks_per_second(Kernel(NoMachine(), self._layout, memory=copies))

    def _require_machine(self) -> None:
        ended = self._ended()
        if ended is not None:
            raise ended

    def _require_kernel(self, timeout: float) -> None:
        # Just after the start, QEMU may not have loaded the kernel into RAM yet.
        deadline = time.monotonic() + timeout
        while difference := self._image.difference(self._ram.read):
            self._require_machine()
            if time.monotonic() >= deadline:
                raise KernelUnusableError(difference)
            time.sleep(_PAUSE_SECONDS)

    def _statics(self) -> Iterator[Static]:
        """The statics that a snapshot is decoded from."""
        for name in (MANAGER, SCHEDULER, INTERFACE, FAILURE_RECORD, STRATEGY_UNITS, CONSOLE_INPUT):
            static = self._layout.static(name)
            if static is not None:
                yield static

    def _span(self, part: Static) -> _Span:
        """Where a static, or a part of it, lies in RAM."""
        physical = self._image.physical(part.address)
        last = self._image.physical(part.address + part.type.size - 1)
        if physical is None or last != physical + part.type.size - 1:
            raise KernelUnusableError(f"{self._image.path} does not say where {part.name} lies in RAM")
        return _Span(part.address, physical, part.type.size)

    def _counter(self, name: str) -> int:
        """The physical address of a static's sequence counter."""
        static = self._layout.static(name)
        field = locate_path(static.type, "sequence") if static is not None else None
        if static is None or field is None:
            raise KernelUnusableError(
                f"{self._image.path} has no {name.rpartition('::')[2]} with a sequence counter: "
                "without one a kernel cannot be watched"
            )
        return self._span(Static(field.name, static.address + field.offset, field.type)).physical

    def _without_lazy_pages(self) -> Iterator[_Span]:
        """The parts without the records of the lazy pages, which are most of the bytes."""
        manager = self._layout.static(MANAGER)
        field = locate_path(manager.type, _LAZY_PAGES) if manager is not None else None
        for span in self._everything:
            if manager is None or field is None or span.virtual != manager.address:
                yield span
                continue
            yield _Span(span.virtual, span.physical, field.offset)
            end = field.offset + field.type.size
            if end < span.length:
                yield _Span(span.virtual + end, span.physical + end, span.length - end)
