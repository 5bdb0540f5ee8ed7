"""Stop the target at a kernel event: breakpoints at the kernel's probes; GDB evaluates the conditions.

Nothing is polled, and events of other kinds do not stop the target: each kind has its own probes. A condition
is on registers, which GDB has read at the stop anyway.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

from gdbplugin.kernel.events import Event, kind_numbers, read_events
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.spaces import AddressSpace, read_spaces
from gdbplugin.layout.probes import SWITCH, Probe
from gdbplugin.session import mi
from gdbplugin.session.errors import (
    CommandFailedError,
    EndedError,
    KernelUnusableError,
    SessionError,
)
from gdbplugin.session.gdb import Gdb
from gdbplugin.session.kernel_file import KernelFile
from gdbplugin.session.mi import Stop
from gdbplugin.session.occurrences import SWITCH_KIND, Occurrence, occurrence
from gdbplugin.session.signals import deferred
from gdbplugin.session.target import SessionTarget

_WATCHPOINT = re.compile(r"atchpoint (\d+)")
_CHANGE_SECONDS = 10.0
_EVENT_SECONDS = 20.0


class Stoppable(Protocol):
    """A session, as far as it is stopped by a breakpoint; see `TinyOS`."""

    kernel: KernelFile

    @property
    def running(self) -> bool:
        """Whether the target runs."""

    @property
    def lost(self) -> EndedError | None:
        """How QEMU or GDB ended, if one of them has."""

    @property
    def debugger(self) -> Gdb:
        """GDB, attached."""

    def interrupt(self) -> Stop:
        """Stop the target."""

    def stopped(self) -> AbstractContextManager[Gdb]:
        """The target held still."""

    def break_on(self, what: str, **words: Any) -> EventBreakpoint:
        """See `Breakpoints`."""

    def reading(self) -> AbstractContextManager[SessionTarget]:
        """The stopped kernel."""

    def explained(self) -> AbstractContextManager[None]:
        """What fails because QEMU or GDB has died says so."""


class EventBreakpoint:
    """Stops the target whenever something happens, until it is deleted, or its `with` ends.

    It stops at the place in the kernel where it happens, amid the change that it is part of; `wait` goes on
    to the end of that change.
    """

    def __init__(self, session: Stoppable, wanted: Occurrence) -> None:
        self._session = session
        self._wanted = wanted
        self._numbers: list[str] = []
        try:
            with session.reading() as target:
                probes = _probes(session.kernel, target.required_kernel(), wanted)
                with deferred():  # One whose number nobody has noted could not be deleted.
                    for probe in probes:
                        self._numbers.append(_insert(session.debugger, probe, wanted.condition(probe)))
        except BaseException:
            with contextlib.suppress(SessionError):  # What went wrong says more than this.
                self.delete()
            raise

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numbers that GDB lists it under; none once it is deleted."""
        return tuple(self._numbers)

    def wait(self, timeout: float) -> Event | AddressSpace:
        """Let the target run until it happens; returns the event, or for a switch the address space.

        Where it has stopped the target already, and nobody waited for that, that is it. The target is
        stopped then, with the change over, so that what is read agrees with itself; where it happened
        several times in one change, the first is returned. Raises
        `WaitTimeoutError` after `timeout` seconds, the target left running; `SessionError` where something
        else stops it, at that place.
        """
        with self._session.explained():
            gdb = self._session.debugger
            stop = gdb.take_stop()
            if stop is None or not self._is_ours(stop):
                if not gdb.running:
                    gdb.resume()
                stop = gdb.wait_for_stop(timeout, self._wanted.text)
            if not self._is_ours(stop):
                raise SessionError(f"the target stopped ({stop}) while waiting for {self._wanted.text}")
            with self._session.reading() as target:
                happened = self._newest(target.required_kernel())
                sequence = _odd_sequence(target.required_kernel())
            if sequence is not None:
                self._finish_change(gdb, sequence)
            return happened

    def delete(self) -> None:
        """Remove it from the target; a second call does nothing."""
        if self._numbers:
            with deferred(), self._session.stopped() as gdb:
                _delete(gdb, self._numbers)

    def __enter__(self) -> EventBreakpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            self.delete()
        except SessionError:
            if kind is None:  # Else that says more than this.
                raise

    def _is_ours(self, stop: Stop) -> bool:
        return stop.reason == "breakpoint-hit" and stop.payload.get("bkptno") in self._numbers

    def _finish_change(self, gdb: Gdb, sequence: int) -> None:
        """Let the target run until the counter is written, which ends the change."""
        deadline = time.monotonic() + _CHANGE_SECONDS
        with _watchpoint(gdb, sequence):
            while True:
                gdb.resume()
                try:
                    left = max(0.0, deadline - time.monotonic())
                    stop = gdb.wait_for_stop(left, "the end of the change that it is part of")
                except EndedError:
                    raise
                except BaseException:  # The time is up; or what a signal's handler raises.
                    gdb.interrupt()
                    raise
                if not self._is_ours(stop):  # Else it has happened once more in the same change.
                    return

    def _newest(self, kernel: Kernel) -> Event | AddressSpace:
        """What has just happened: an event's entry is the newest of the ring already."""
        if SWITCH_KIND in self._wanted.kinds:
            spaces = read_spaces(kernel)
            space = spaces.of(spaces.current)
            if space is None:
                raise SessionError(f"the kernel has switched to space {spaces.current}, which is not active")
            return space
        return read_events(kernel, 1).events[-1]


class Breakpoints:
    """Stopping by meaning, as a session offers it."""

    def break_on(
        self: Stoppable,
        what: str,
        *,
        stack: int | None = None,
        range: tuple[int, int] | None = None,  # noqa: A002 (as `maps` calls it)
        address: int | None = None,
        level: str | None = None,
        asid: int | None = None,
        task: int | None = None,
    ) -> EventBreakpoint:
        """Have the target stop whenever something happens, until that is deleted, or its `with` ends.

        What can be waited for is as for `run_until`. The target runs or stands still as before.
        """
        words = {"stack": stack, "range": range, "address": address}
        return EventBreakpoint(self, occurrence(what, {**words, "level": level, "asid": asid, "task": task}))

    def run_until(
        self: Stoppable, what: str, *, timeout: float = _EVENT_SECONDS, **words: Any
    ) -> Event | AddressSpace:
        """Let the target run until something happens; returns the event, or for a switch the address space.

        | what | happens | of |
        | --- | --- | --- |
        | `stack-growth`, `stack-shrink` | a stack grew, gave pages back | `stack=ID` |
        | `lazy-fault` | a lazy page was read or written first | `range=(START, END)`, `address=A` |
        | `pressure` | the level became another | `level="High"` |
        | `switch` | another address space is in TTBR0 | `asid=N`, `task=N` |
        | `task-ended` | a task ended | `task=N` |

        The target is stopped then, with the change that it is part of over. Raises `WaitTimeoutError` after
        `timeout` seconds, the target as it was before: running, or stopped. Leaves no breakpoint behind.
        """
        was_running = self.running
        with self.break_on(what, **words) as breakpoint_:
            try:
                return breakpoint_.wait(timeout)
            except BaseException:
                if not was_running and self.running and self.lost is None:
                    self.interrupt()
                raise


def _probes(file: KernelFile, kernel: Kernel, wanted: Occurrence) -> list[Probe]:
    """The kernel's probes of what is wanted; raises `KernelUnusableError` for a kernel that has none."""
    known = {SWITCH_KIND: SWITCH, **kind_numbers(kernel)}
    numbers = {known.get(kind) for kind in wanted.kinds}
    found = [probe for probe in file.probes if probe.kind in numbers]
    if not found:
        raise KernelUnusableError(
            f"{file.path} has no probe for {' or '.join(wanted.kinds)}: build a newer one"
        )
    return found


def _insert(gdb: Gdb, probe: Probe, condition: str) -> str:
    """GDB's number of a breakpoint at a probe."""
    options = f"-c {mi.quote(condition)} " if condition else ""
    number: str = gdb.mi(f"-break-insert {options}*{mi.address(probe.address)}").payload["bkpt"]["number"]
    return number


def _delete(gdb: Gdb, numbers: list[str]) -> None:
    """Delete breakpoints of a stopped target."""
    while numbers:
        with contextlib.suppress(CommandFailedError):  # A user has deleted it already.
            gdb.mi(f"-break-delete {numbers[-1]}")
        numbers.pop()


def _odd_sequence(kernel: Kernel) -> int | None:
    """The address of the manager's sequence counter, if a change is under way."""
    place = kernel.place(MANAGER, "sequence")
    return place.address if place is not None and kernel.is_changing(MANAGER) else None


@contextlib.contextmanager
def _watchpoint(gdb: Gdb, address: int) -> Iterator[None]:
    # By the number alone: what a kernel's static is called, the language in use may not be able to say.
    said = gdb.execute(f"with language rust -- watch -location *({address:#x} as *mut u64)")
    found = _WATCHPOINT.search(said)
    if found is None:
        raise SessionError(f"GDB set no watchpoint: {said.strip()}")
    try:
        yield
    finally:
        _delete(gdb, [found[1]])
