"""Stop the target at a kernel event: breakpoints at the kernel's probes; GDB evaluates the conditions.

Nothing is polled, and events of other kinds do not stop the target: each kind has its own probes. A condition
is on registers, which GDB has read at the stop anyway.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeVar

from gdbplugin.kernel.events import Event, kind_numbers, read_events
from gdbplugin.kernel.kernel import MANAGER, Kernel
from gdbplugin.kernel.lazy_table import PAGE_BYTES
from gdbplugin.kernel.pressure import LEVELS
from gdbplugin.kernel.spaces import AddressSpace, read_spaces
from gdbplugin.session import mi
from gdbplugin.session.connection import Connection
from gdbplugin.session.errors import (
    CommandFailedError,
    EndedError,
    KernelUnusableError,
    SessionError,
)
from gdbplugin.session.gdb import Gdb
from gdbplugin.session.kernel_file import SWITCH, KernelFile, Probe
from gdbplugin.session.mi import Stop
from gdbplugin.session.process import deferred_signals

TRANSLATION = "translation"
"""The word of `break_on` for what `translation_breakpoint.py` stops at, which is no event."""
_SWITCH_KIND = "Switch"
"""The kind, among those of events, of the probes where another address space is put into TTBR0."""
_WATCHPOINT = re.compile(r"atchpoint (\d+)")
_CHANGE_SECONDS = 10.0

Words = Mapping[str, object]
"""Filter arguments of `break_on`, such as `stack=3`."""


@dataclass(frozen=True)
class EventFilter:
    """Which events to stop at."""

    text: str
    """For the error of a wait: what did not happen."""
    kinds: tuple[str, ...]
    """Kinds of events, or `_SWITCH_KIND`."""
    condition: Callable[[Probe], str]
    """GDB's expression for the condition at a probe; empty for every event of the kind."""


class _Deletable(Protocol):
    def delete(self) -> None: ...


_Self = TypeVar("_Self")


class DeletedAtEnd:
    """What is deleted when its `with` ends."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self: _Deletable, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            self.delete()
        except SessionError:
            if kind is None:  # Otherwise the exception of the `with` says more.
                raise


class EventBreakpoint(DeletedAtEnd):
    """Stops the target at each event that a filter matches, until it is deleted or its `with` ends.

    The target stops where the event happens, in the middle of the kernel's change; `wait` goes on to the end
    of the change.
    """

    def __init__(self, connection: Connection, wanted: EventFilter) -> None:
        self._connection = connection
        self._wanted = wanted
        self._numbers: list[str] = []
        try:
            with connection.stopped_target() as target:
                probes = _probes(connection.kernel, target.required_kernel(), wanted)
                with deferred_signals():  # A breakpoint whose number is not noted could not be deleted.
                    for probe in probes:
                        self._numbers.append(_insert(connection.debugger, probe, wanted.condition(probe)))
        except BaseException:
            with contextlib.suppress(SessionError):  # The first error says more.
                self.delete()
            raise

    @property
    def numbers(self) -> tuple[str, ...]:
        """GDB's numbers for it; none after it is deleted."""
        return tuple(self._numbers)

    def wait(self, timeout: float) -> Event | AddressSpace:
        """Let the target run until the event; returns the event, or for a switch the new address space.

        If it has already stopped the target, and nobody has waited for that stop, that event counts. Then the
        target is stopped after the kernel has finished its change, so that what is read is consistent; of
        several events in one change, the first is returned. Raises `WaitTimeoutError` after `timeout`
        seconds, with the target left running; `SessionError` if something else stops it, with the target
        left there.
        """
        with self._connection.translated_errors():
            gdb = self._connection.debugger
            stop = gdb.take_stop()
            if stop is None or not self._is_ours(stop):
                if not gdb.running:
                    gdb.resume()
                stop = gdb.wait_for_stop(timeout, self._wanted.text)
            if not self._is_ours(stop):
                raise SessionError(f"the target stopped ({stop}) while waiting for {self._wanted.text}")
            with self._connection.stopped_target() as target:
                event = self._newest(target.required_kernel())
                sequence = _odd_sequence(target.required_kernel())
            if sequence is not None:
                self._finish_change(gdb, sequence)
            return event

    def delete(self) -> None:
        """Remove it from the target; a second call does nothing."""
        if self._numbers:
            with deferred_signals(), self._connection.stopped() as gdb:
                _delete(gdb, self._numbers)

    def _is_ours(self, stop: Stop) -> bool:
        return stop.reason == "breakpoint-hit" and stop.payload.get("bkptno") in self._numbers

    def _finish_change(self, gdb: Gdb, sequence: int) -> None:
        """Let the target run until the sequence counter is written, which ends the change."""
        deadline = time.monotonic() + _CHANGE_SECONDS
        with _watchpoint(gdb, sequence):
            while True:
                gdb.resume()
                try:
                    left = max(0.0, deadline - time.monotonic())
                    stop = gdb.wait_for_stop(left, "the kernel to finish its change")
                except EndedError:
                    raise
                except BaseException:  # A timeout, or what a signal handler raises.
                    gdb.interrupt()
                    raise
                if not self._is_ours(stop):  # Otherwise a further event in the same change.
                    return

    def _newest(self, kernel: Kernel) -> Event | AddressSpace:
        """What has just happened: at a probe, the event is already the newest in the ring."""
        if _SWITCH_KIND in self._wanted.kinds:
            spaces = read_spaces(kernel)
            space = spaces.of(spaces.current)
            if space is None:
                raise SessionError(f"the kernel has switched to space {spaces.current}, which is not active")
            return space
        return read_events(kernel, 1).events[-1]


def _probes(file: KernelFile, kernel: Kernel, wanted: EventFilter) -> list[Probe]:
    """The kernel's probes for the events wanted; raises `KernelUnusableError` if it has none."""
    known = {_SWITCH_KIND: SWITCH, **kind_numbers(kernel)}
    numbers = {known.get(kind) for kind in wanted.kinds}
    found = [probe for probe in file.probes if probe.kind in numbers]
    if not found:
        raise KernelUnusableError(
            f"{file.path} has no probe for {' or '.join(wanted.kinds)}: build a newer kernel"
        )
    return found


def _insert(gdb: Gdb, probe: Probe, condition: str) -> str:
    """Set a breakpoint at a probe; returns GDB's number for it."""
    options = f"-c {mi.quote(condition)} " if condition else ""
    number: str = gdb.mi(f"-break-insert {options}*{mi.address(probe.address)}").payload["bkpt"]["number"]
    return number


def _delete(gdb: Gdb, numbers: list[str]) -> None:
    """Delete breakpoints of a stopped target, and empty the list."""
    while numbers:
        with contextlib.suppress(CommandFailedError):  # A user has deleted it already.
            gdb.mi(f"-break-delete {numbers[-1]}")
        numbers.pop()


def _odd_sequence(kernel: Kernel) -> int | None:
    """The address of the manager's sequence counter during a change; None between changes."""
    place = kernel.locate_field(MANAGER, "sequence")
    return place.address if place is not None and kernel.is_changing(MANAGER) else None


@contextlib.contextmanager
def _watchpoint(gdb: Gdb, address: int) -> Iterator[None]:
    # By address: the current language may not be able to write the name of the kernel's static.
    said = gdb.execute(f"with language rust -- watch -location *({address:#x} as *mut u64)")
    found = _WATCHPOINT.search(said)
    if found is None:
        raise SessionError(f"GDB set no watchpoint: {said.strip()}")
    try:
        yield
    finally:
        _delete(gdb, [found[1]])


@dataclass(frozen=True)
class _EventType:
    """Something that can be waited for: the words it takes, and how they make a filter."""

    words: tuple[str, ...]
    make: Callable[[Words], EventFilter]


def event_filter(what: str, words: Words) -> EventFilter:
    """The filter for `what` and its words; raises `SessionError`, which lists the known ones."""
    event_type = EVENT_TYPES.get(what)
    if event_type is None:
        known = ", ".join([*EVENT_TYPES, TRANSLATION])
        raise SessionError(f'no event "{what}" to wait for (known: {known})')
    given = {name: value for name, value in words.items() if value is not None}
    for name in given:
        if name not in event_type.words:
            raise SessionError(f"{what} takes no {name}; it takes: {', '.join(event_type.words)}")
    if len(given) > 1:
        takes, were = ", ".join(event_type.words), " and ".join(given)
        raise SessionError(f"{what} takes one of: {takes}; {were} were given")
    return event_type.make(given)


def _stack_change(verb: str, kind: str) -> _EventType:
    def make(words: Words) -> EventFilter:
        which = f"stack {words['stack']}" if words else "any stack"
        return EventFilter(f"{which} to {verb}", (kind,), _equals("first", words, "stack"))

    return _EventType(("stack",), make)


def _lazy_fault(words: Words) -> EventFilter:
    kinds = ("LazyZero", "LazyAllocate")
    if not words:
        return EventFilter("a lazy fault", kinds, lambda _: "")
    if "address" in words:
        start = _integer(words, "address") & -PAGE_BYTES
        end = start + PAGE_BYTES
    else:
        start, end = _bounds(words["range"])
    return EventFilter(
        f"a lazy fault in {start:#x}..{end:#x}",
        kinds,
        lambda probe: f"${probe.first} >= {start:#x} && ${probe.first} < {end:#x}",
    )


def _bounds(value: object) -> tuple[int, int]:
    if not isinstance(value, Sequence) or len(value) != 2:
        raise SessionError(f"range must be (START, END), END exclusive, not {value!r}")
    start, end = (_integer({"range": edge}, "range") for edge in value)
    if end <= start:
        raise SessionError(f"empty range {start:#x}..{end:#x}: END must be greater than START")
    return start, end


def _pressure(words: Words) -> EventFilter:
    kinds = ("PressureChange",)
    if not words:
        return EventFilter("another level of memory pressure", kinds, lambda _: "")
    known = {name.lower(): number for number, name in enumerate(LEVELS)}
    level = str(words["level"])
    if level.lower() not in known:
        raise SessionError(f'no pressure level "{level}" (known: {", ".join(LEVELS)})')
    number = known[level.lower()]
    text = f"memory pressure to become {LEVELS[number]}"
    return EventFilter(text, kinds, _equals("second", {"level": number}, "level"))


def _switch(words: Words) -> EventFilter:
    if "asid" not in words:
        which = f"the address space of task {words['task']}" if words else "another address space"
        return EventFilter(f"a switch to {which}", (_SWITCH_KIND,), _equals("first", words, "task"))
    asid = _integer(words, "asid")
    return EventFilter(
        f"a switch to ASID {asid}",
        (_SWITCH_KIND,),
        lambda probe: f"((${probe.second} >> 48) & 0xffff) == {asid}",
    )


def _task_ended(words: Words) -> EventFilter:
    which = f"task {words['task']}" if words else "any task"
    return EventFilter(f"{which} to end", ("TaskEnded",), _equals("first", words, "task"))


def _equals(register: str, words: Words, name: str) -> Callable[[Probe], str]:
    """The condition that a probe's `first` or `second` register has the value of a word, if it is given."""
    if name not in words:
        return lambda _: ""
    number = _integer(words, name)
    return lambda probe: f"${getattr(probe, register)} == {number}"


def _integer(words: Words, name: str) -> int:
    value = words[name]
    if not isinstance(value, int):
        raise SessionError(f"{name} must be an integer, not {value!r}")
    return value


EVENT_TYPES = {
    "stack-growth": _stack_change("grow", "StackGrowth"),
    "stack-shrink": _stack_change("shrink", "StackShrink"),
    "lazy-fault": _EventType(("range", "address"), _lazy_fault),
    "pressure": _EventType(("level",), _pressure),
    "switch": _EventType(("asid", "task"), _switch),
    "task-ended": _EventType(("task",), _task_ended),
}
"""What can be waited for, by name."""
