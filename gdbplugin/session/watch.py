"""The kernel watched while it runs: decoded from the guest's mapped RAM, with no stop and no packet.

The kernel's statics lie where the ELF's program headers say. They are copied in bulk, and a copy counts only
if the kernel's sequence counters were even and the same before and after it: then no change was under way
(`kernel/src/debugger.rs`). A torn copy is thrown away and made again. What is decoded is the whole copy.

The guest's stores are seen in their order where the host orders loads as x86 does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from gdbplugin.kernel.events import event_names
from gdbplugin.kernel.exports import STRATEGY_UNITS
from gdbplugin.kernel.failure import FAILURE_RECORD, read_failure
from gdbplugin.kernel.interface import INTERFACE
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER, Kernel
from gdbplugin.kernel.snapshot import Copies, NoMachine, Snapshot, SnapshotReader
from gdbplugin.layout.elf import ElfImage
from gdbplugin.layout.types import Layout, Static, locate_path
from gdbplugin.machine import MachineError
from gdbplugin.session.errors import (
    EndedError,
    KernelUnusableError,
    ReadFailedError,
    SessionError,
    WaitTimeoutError,
)

__all__ = ["Snapshot", "Watch"]

_EVENTS = 256
_LOAD_SECONDS = 3.0
_LAZY_PAGES = "lazy_allocator.pages"
# Torn copies in a row after which the processor is given away, and after which for a while.
_PATIENCE = 64
_STUCK = 4096
_PAUSE_SECONDS = 0.0005


class Ram(Protocol):
    """The guest's RAM; `gdbplugin.session.ram.MappedRam` is one."""

    def read(self, address: int, length: int) -> bytes:
        """Bytes from a physical address."""

    def word(self, address: int) -> int:
        """The aligned eight bytes at a physical address, read at once."""


@dataclass(frozen=True)
class _Span:
    """A part of the kernel's statics to be copied: addresses and length in bytes."""

    virtual: int
    physical: int
    length: int


class Watch:
    """Snapshots of a running kernel. It holds nothing open: the RAM is the session's."""

    def __init__(
        self,
        ram: Ram,
        image: ElfImage,
        layout: Layout,
        *,
        events: int = _EVENTS,
        lost: Callable[[], EndedError | None] = lambda: None,
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
        self._lost = lost
        self._is_stopped = is_stopped
        self._reader = SnapshotReader(layout, events)
        self._require_machine()
        self._require_kernel(timeout)
        self._counters = tuple(self._counter(name) for name in (MANAGER, SCHEDULER))
        self._everything = [self._span(static) for static in self._statics()]
        self._all_but_lazy_pages = list(self._without_lazy_pages())
        self.torn = 0
        """Torn copies thrown away so far."""
        self.event_names = event_names(Kernel(NoMachine(), layout))
        """The names of the enums that events hold as numbers, by the enums' names."""

    def snapshot(self, timeout: float = 1.0, *, lazy: bool = False) -> Snapshot:
        """The kernel as it is now, or will be within `timeout` seconds, when no change is under way.

        One that is stopped, or has failed, in the middle of a change is taken as it is: `changing` says so.
        With `lazy` the record of each lazy page too. Raises `WaitTimeoutError` where no whole copy could be
        had in time, `ReadFailedError` before the kernel has set up its memory, and `EndedError` for a machine
        that has ended.
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
        """Nothing is to be given back."""

    def _copy(self, spans: Sequence[_Span], timeout: float) -> tuple[Copies, int]:
        """A whole copy of these parts of RAM, and how many torn ones came before it."""
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
                is_still = self._is_stopped() or self._has_failed()
                if time.monotonic() >= deadline and not is_still:
                    raise self._all_torn(before, torn, timeout)
                # The guest may need this processor to end its change.
                time.sleep(0 if torn < _STUCK else _PAUSE_SECONDS)

    def _read_counters(self) -> list[int]:
        return [self._ram.word(address) for address in self._counters]

    def _all_torn(self, before: Sequence[int], torn: int, timeout: float) -> SessionError:
        """The error for which there was no whole copy in time."""
        lost = self._lost()
        if lost is not None:
            return lost
        said = f"waited {timeout:g} s for a whole snapshot of the kernel"
        after = self._read_counters()
        if after == before:
            return WaitTimeoutError(
                f"{said}: it does not get on with a change that it has begun (its sequence counters stay at "
                f"{' and '.join(map(str, after))}); if a debugger has stopped it there, let it run on"
            )
        return WaitTimeoutError(f"{said}: each of {torn} was torn by a change")

    def _has_failed(self) -> bool:
        """Whether the kernel has stopped itself: then a change under way stays so."""
        static = self._layout.static(FAILURE_RECORD)
        if static is None:
            return False
        span = self._span(static)
        copies = Copies({span.virtual: self._ram.read(span.physical, span.length)})
        return read_failure(Kernel(NoMachine(), self._layout, memory=copies)) is not None

    def _require_machine(self) -> None:
        lost = self._lost()
        if lost is not None:
            raise lost

    def _require_kernel(self, timeout: float) -> None:
        # A machine that was just started has its RAM before QEMU loads the kernel into it.
        deadline = time.monotonic() + timeout
        address, expected = self._image.fingerprint()
        while self._ram.read(address, len(expected)) != expected:
            self._require_machine()
            if time.monotonic() >= deadline:
                raise KernelUnusableError(
                    f"{self._image.path} is not the kernel that is running: what identifies it is not in the "
                    "machine's RAM; give the ELF that was booted"
                )
            time.sleep(_PAUSE_SECONDS)

    def _statics(self) -> Iterator[Static]:
        """What a snapshot is decoded from."""
        for name in (MANAGER, SCHEDULER, INTERFACE, FAILURE_RECORD, STRATEGY_UNITS):
            static = self._layout.static(name)
            if static is not None:
                yield static

    def _span(self, part: Static) -> _Span:
        """Where a static, or a part of one, lies in RAM."""
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
                "only a TinyOS that has can be watched"
            )
        return self._span(Static(field.name, static.address + field.offset, field.type)).physical

    def _without_lazy_pages(self) -> Iterator[_Span]:
        """All that is decoded but the records of the lazy pages: they are most of it."""
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
