"""Watches of translations: hardware watchpoints on the descriptors that the processor walks.

GDB calls `stop` of a watchpoint while the machine stands after the instruction that wrote. There the tables
are walked again: only if what is watched has changed, the target stops, and the lines about it are printed
after GDB's own. Watchpoints for tables that have come into use are made there too. Those that are not needed
any more are deleted at the next stop, as GDB may still use one that was hit.

A watchpoint is never left to GDB's software watchpoints, which step the whole machine instruction by
instruction.
"""

from __future__ import annotations

from collections.abc import Iterable

import gdb

from gdbplugin.commands.watch import stop_text
from gdbplugin.debugger import current
from gdbplugin.debugger.guards import write
from gdbplugin.debugger.machine import GdbMachine
from gdbplugin.kernel.table_places import WritablePlaces
from gdbplugin.kernel.translation_watch import Place, Subject, TranslationChange, Watch, WritingInstruction
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import CachedMachine, MachineError, SelectionError
from gdbplugin.records import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INSTRUCTION_BYTES = 4
_LARGEST = (1 << 64) - 1
# GDB reads 8 bytes as one number, and a table as many.
_WORD, _TABLE = "*(unsigned long *) {:#x}", "*(unsigned long (*)[{}]) {:#x}"


class _Descriptors:
    """Prints what a watchpoint is on: GDB would print all 512 descriptors of a table, in decimal."""

    def __init__(self, value: gdb.Value, is_table: bool) -> None:
        self._value = value
        self._is_table = is_table

    def to_string(self) -> str:
        """Called by GDB."""
        return "a translation table" if self._is_table else f"{int(self._value):#x}"


_printed: set[int] = set()
"""The addresses of watchpoints."""


def _printer(value: gdb.Value) -> _Descriptors | None:
    """Called by GDB for each value that it prints."""
    address = value.address
    if address is None or int(address) & _LARGEST not in _printed:
        return None
    # Not a static of the program that lies there, which has a type of the program's language.
    name, _, count = str(value.type).partition(" [")
    return _Descriptors(value, bool(count)) if name == "unsigned long" else None


class NoWatchpointError(MachineError):
    """There is no hardware watchpoint left, or none may be used."""


class _Watchpoint(gdb.Breakpoint):
    """A hardware watchpoint on a descriptor or a table."""

    def __init__(self, watch: _LiveWatch, place: Place, address: int) -> None:
        words = place.length // 8
        expression = _WORD.format(address) if words == 1 else _TABLE.format(words, address)
        with gdb.with_parameter("language", "c"):
            super().__init__(expression, type=gdb.BP_WATCHPOINT, wp_class=gdb.WP_WRITE, internal=True)
        self.watch = watch
        self.place = place
        self.address = address
        self.is_used = True
        _printed.add(address)

    def stop(self) -> bool:
        """Called by GDB after each write that changed the memory: whether to stop."""
        return self.is_used and self.watch.written(self.place)


class _LiveWatch:
    """A watch and its watchpoints, by virtual address."""

    def __init__(self, number: int, subject: Subject, places: WritablePlaces) -> None:
        self.number = number
        self.subject = subject
        self.hit_count = 0
        self.last: TranslationChange | None = None
        self.problem: str | None = None
        self.is_new = False
        """Whether it has something to say at the next stop."""
        self._pc = self._core = 0
        self._places = places
        self._points: dict[int, _Watchpoint] = {}
        self._unused: list[_Watchpoint] = []
        self._unwatched: list[Place] = []

    def begin(self) -> None:
        """Set its watchpoints; raises `NoWatchpointError`, with none left, if there are not enough."""
        try:
            self._arm()
        except BaseException:
            self.delete()
            raise
        if not self._points:
            listed = ", ".join(place.what for place in self.subject.places()[:3])
            raise NoWatchpointError(
                f"the kernel maps none of these tables where it could write them ({listed}): set a "
                "breakpoint in the function that changes them instead"
            )

    def state(self) -> Watch:
        """The watch as it is listed."""
        return Watch(
            self.number,
            self.subject.title,
            len(self._points),
            tuple(dict.fromkeys(place.table for place in self.subject.places())),
            tuple(place.address for place in self._unwatched),
            self.hit_count,
            self.last,
            self.problem,
        )

    def written(self, place: Place) -> bool:
        """Memory that is watched was written: whether to stop."""
        try:
            source = GdbMachine()
            changes = self.subject.look(CachedMachine(source), place)
            self._arm()
        except (MachineError, gdb.error, gdb.MemoryError) as error:
            self.problem, self.is_new = f"it cannot go on: {error}", True
            return True
        except KeyboardInterrupt:
            return True  # Ctrl-C stops the target here too.
        if changes:
            self._note(changes[0])
            self._pc = int(gdb.newest_frame().pc()) - _INSTRUCTION_BYTES
            self._core = source.selected_core
        return bool(changes)

    def look_again(self, machine: Any) -> None:
        """At a stop for another reason: what no watchpoint has seen."""
        changes = self.subject.look(machine, None)
        self._arm()
        if changes:
            self._note(changes[0])

    def _note(self, change: TranslationChange) -> None:
        self.last, self.is_new = change, True
        self.hit_count += 1

    def name_writer(self) -> None:
        """Add which instruction wrote, which needs the program's lines."""
        if self.last is not None and self._pc:
            self.last = replace(self.last, writer=_instruction(self._core, self._pc))
        self._pc = 0

    def _arm(self) -> None:
        """Set the watchpoints that are needed now; raises `NoWatchpointError` if there are not enough."""
        wanted: dict[int, Place] = {}
        self._unwatched = []
        for place in self.subject.places():
            addresses = self._places.of(place.address, place.length)
            if not addresses:
                self._unwatched.append(place)
            wanted.update(dict.fromkeys(addresses, place))
        outdated = [address for address, point in self._points.items() if wanted.get(address) != point.place]
        for address in outdated:
            point = self._points.pop(address)
            point.is_used = False
            self._unused.append(point)
        missing = {address: place for address, place in wanted.items() if address not in self._points}
        for point in [point for point in self._unused if missing.get(point.address) == point.place]:
            self._unused.remove(point)
            point.is_used = True
            self._points[point.address] = point
            del missing[point.address]
        if missing:
            _try(missing, len(self._points))
            for address, place in missing.items():
                self._points[address] = self._made(place, address)

    def _made(self, place: Place, address: int) -> _Watchpoint:
        try:
            point = _Watchpoint(self, place, address)
        except gdb.error as error:
            raise _run_out(place, len(self._points), str(error)) from error
        if point.type != gdb.BP_HARDWARE_WATCHPOINT:
            point.is_used = False
            point.delete()
            raise _run_out(place, len(self._points), "GDB's limit of hardware watchpoints is reached")
        return point

    def forget_unused(self, hit: Iterable[gdb.Breakpoint]) -> None:
        """Delete the watchpoints that are not needed any more, but for those that were hit just now."""
        kept = set(hit)
        for point in [point for point in self._unused if point not in kept]:
            self._unused.remove(point)
            if point.is_valid():
                point.delete()

    def delete(self) -> None:
        """Delete all its watchpoints."""
        for point in (*self._points.values(), *self._unused):
            point.is_used = False
            if point.is_valid():
                point.delete()
        self._points.clear()
        self._unused.clear()


def _run_out(place: Place, count: int, why: str) -> NoWatchpointError:
    return NoWatchpointError(
        f"no hardware watchpoint for {place.what}, after {count}: {why}; `tinyos watch --delete N` and "
        "`delete` give some back"
    )


def _try(wanted: dict[int, Place], count: int) -> None:
    """Have the stub insert all watchpoints at once, and remove them: GDB itself would only do so later.

    Raises `NoWatchpointError` for the first that it refuses.
    """
    connection = gdb.selected_inferior().connection
    if not isinstance(connection, gdb.RemoteTargetConnection):
        return
    inserted: list[str] = []
    try:
        for address, place in wanted.items():
            packet = f"2,{address:x},{place.length:x}"
            answer = connection.send_packet(f"Z{packet}")
            if answer != b"OK":
                why = "the debug stub has no watchpoints" if not answer else "the debug stub has no more"
                raise _run_out(place, count + len(inserted), why)
            inserted.append(packet)
    finally:
        for packet in inserted:
            connection.send_packet(f"z{packet}")


def _instruction(core: int, pc: int) -> WritingInstruction:
    """The function and line of an instruction."""
    from gdbplugin.debugger.execution import GdbTarget
    from gdbplugin.recording.history import place_of

    target = GdbTarget(quiet=True)
    # The debug information of another kernel may be large: GDB has read what it needs of it.
    place = place_of(target.code, pc) if target.kernel is not None else None
    if place is not None:
        return WritingInstruction(core, pc, place.function, place.file, place.line)
    name = target.symbols.name(pc)
    found = gdb.find_pc_line(pc)
    file = found.symtab.filename if found.symtab is not None else None
    return WritingInstruction(core, pc, name and name.partition(" + ")[0], file, found.line or None)


class LiveWatches:
    """The watches of one connection; satisfies `gdbplugin.kernel.translation_watch.Watching`."""

    def __init__(self) -> None:
        self._watches: dict[int, _LiveWatch] = {}
        self._connection: Any = None
        self._last = 0
        self._listens = False

    def add(self, subject: Subject, places: WritablePlaces) -> int:
        """See `Watching`; raises `NoWatchpointError`."""
        self._require_hardware()
        self._forget_others()
        watch = _LiveWatch(self._last + 1, subject, places)
        watch.begin()
        self._last += 1
        self._connection = gdb.selected_inferior().connection
        self._watches[self._last] = watch
        self._listen()
        return self._last

    def delete(self, number: int) -> None:
        """See `Watching`."""
        self._forget_others()
        watch = self._watches.pop(number, None)
        if watch is None:
            known = ", ".join(map(str, self._watches)) or "none"
            raise SelectionError(f"no watch {number} (known: {known})")
        watch.delete()
        self._listen()

    def listed(self) -> tuple[Watch, ...]:
        """See `Watching`."""
        self._forget_others()
        return tuple(watch.state() for watch in self._watches.values())

    def _forget_others(self) -> None:
        """Delete the watches of a machine that is gone."""
        if self._connection is not None and not self._connection.is_valid():
            self._connection = None
            for watch in self._watches.values():
                watch.delete()
            self._watches.clear()
            self._listen()

    def _listen(self) -> None:
        """Look at each stop while there is a watch."""
        if bool(self._watches) != self._listens:
            self._listens = bool(self._watches)
            if self._listens:
                gdb.events.stop.connect(self._stopped)
                gdb.pretty_printers.append(_printer)
            else:
                gdb.events.stop.disconnect(self._stopped)
                gdb.pretty_printers.remove(_printer)
                _printed.clear()

    def _require_hardware(self) -> None:
        if gdb.parameter("can-use-hw-watchpoints"):
            return
        from gdbplugin.debugger.execution import GdbTarget

        try:
            GdbTarget().recording_path()
        except MachineError:
            raise NoWatchpointError(
                "hardware watchpoints are switched off: `set can-use-hw-watchpoints 1` allows them"
            ) from None
        raise NoWatchpointError(
            "a recorded machine hangs at hardware watchpoints: `tinyos history --page ADDRESS` and `tinyos "
            "writer --page ADDRESS` show each change of a page's descriptors"
        )

    def _stopped(self, event: Any) -> None:
        """Called by GDB at each stop: say which translation has changed."""
        from gdbplugin.debugger.execution import style

        hit = list(event.breakpoints) if isinstance(event, gdb.BreakpointEvent) else []
        chosen = style()
        with current.live_target_selected():
            for watch in self._watches.values():
                problem = self._look(watch)
                watch.forget_unused(hit)
                if watch.is_new:
                    watch.is_new = False
                    write(stop_text(watch.state(), chosen), chosen)
                elif problem:
                    write(f"Watch {watch.number} could not be looked at: {problem}\n", chosen)

    def _look(self, watch: _LiveWatch) -> str | None:
        """Complete what a watch says about this stop; returns why that failed."""
        try:
            if watch.is_new:
                watch.name_writer()
            else:
                watch.look_again(current.machine())
        except (MachineError, LayoutError, gdb.error, gdb.MemoryError) as error:
            return str(error)
        return None


WATCHES = LiveWatches()
"""The watches of this GDB."""
