"""The status line below the prompt: what it says, and how that is found out.

The status of a running target is read from the mapped RAM and from QEMU's monitor, so the target need not be
stopped. At a stop the session is asked once. An attached session has no mapped RAM: while its target runs,
the line shows the figures of the last stop.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gdbplugin.kernel.pressure import PressureState
from gdbplugin.kernel.spaces import Context
from gdbplugin.kernel.tasks import Tasks, task_names
from gdbplugin.render import Style
from gdbplugin.session import SessionError, Snapshot, TinyOS, WaitTimeoutError, qmp
from gdbplugin.session.mi import Stop
from gdbplugin.session.target import SessionSymbols

_GAUGE = 6
_SHORTEST_PLACE = 8
_WIDE = 100
_MODULE = re.compile(r"^(\w+::)+(?=\w)")
# The prompt waits for this.
_SNAPSHOT_SECONDS = 0.05
_QEMU_SECONDS = 2.0
_REGISTERS = re.compile(r"PC=([0-9a-f]+).*?PSTATE=\S+ .*?EL([0-3])", re.DOTALL)


@dataclass(frozen=True)
class Status:
    """What is known of the target; None for what is not known. Of a running target less is known."""

    running: bool
    place: str = ""
    """The function and its source line."""
    core: int | None = None
    exception_level: int | None = None
    asid: int | None = None
    task: str | None = None
    tasks: str = ""
    """How many tasks live, and how many of them are ready."""
    pressure: str | None = None
    free: int | None = None
    """Available frames, of `limit`."""
    limit: int | None = None
    event_rate: float | None = None
    """Events of the memory management per second."""
    problem: str = ""
    """Why something is not known."""


def status_line(status: Status, width: int, style: Style) -> str:
    """The line, at most `width` wide: first the place is shortened, then parts are dropped from the end."""
    separator = " | " if style.plain else " · "
    parts = [_state(status), *_parts(status, style, width >= _WIDE)]
    room = width - len(separator.join(parts)) - len(" in ")
    if status.place:
        parts[0] += " in " + _shortened(status.place, max(_SHORTEST_PLACE, room), style)
    while len(parts) > 1 and len(separator.join(parts)) > width:
        parts.pop()
    return separator.join(parts)[:width]


def _state(status: Status) -> str:
    return "running" if status.running else "stopped"


def _parts(status: Status, style: Style, is_wide: bool) -> list[str]:
    if status.problem:
        return [status.problem]
    parts = []
    where = [f"core {status.core}"] if status.core is not None else []
    where += [f"EL{status.exception_level}"] if status.exception_level is not None else []
    if where:
        parts.append(" ".join(where))
    parts.append(f"ASID {style.text(status.asid)}")
    parts.append(f"task {style.text(status.task)}")
    if status.tasks and is_wide:
        parts.append(status.tasks)
    if status.pressure is not None:
        gauge = style.gauge(status.free, status.limit, _GAUGE)
        parts.append(f"{status.pressure} {gauge}{_share(status) if is_wide else ''}")
    if status.event_rate is not None:
        parts.append(f"{status.event_rate:,.0f} ev/s")
    return parts


def _share(status: Status) -> str:
    return f" {100 * status.free // status.limit}%" if status.free is not None and status.limit else ""


def _shortened(place: str, room: int, style: Style) -> str:
    """A place that fits in `room`: without the function's modules or, if still too long, only its end."""
    if len(place) <= room:
        return place
    place = _MODULE.sub("", place)
    if len(place) <= room:
        return place
    return style.ellipsis + place[len(place) - room + 1 :]


class StatusReader:
    """Reads the status of one session's target."""

    def __init__(self, session: TinyOS, style: Style) -> None:
        self.session = session
        self._style = style
        # Only our kernel can be watched: others have no sequence counter.
        can_watch = not session.is_attached and session.kernel.is_ours
        self._watch = session.watch() if can_watch else None
        self._seen: tuple[Stop | None, int] | None = None
        self._at_stop = Status(running=False)
        self._kernel: tuple[Context, PressureState] | None = None
        self._counted: tuple[float, int] | None = None
        self._from_qemu = Status(running=True)

    def read(self) -> Status:
        """The status now; `problem` says what could not be read."""
        if self.session.ended is not None:
            return Status(running=False, problem=self.session.ended.message)
        if not self.session.running:
            self._counted, self._from_qemu = None, Status(running=True)
            return self._at_this_stop()
        if self._watch is None:
            return replace(
                self._at_stop, running=True, place="", core=None, exception_level=None, task=None, asid=None
            )
        try:
            return self._running(self._watch.snapshot(_SNAPSHOT_SECONDS))
        except WaitTimeoutError:
            return replace(self._from_qemu, problem="in the middle of a change")
        except SessionError as error:
            return Status(running=True, problem=error.message)

    async def ask_qemu(self) -> None:
        """Ask QEMU where core 0 is, which runs TinyOS's tasks, for the next `read`.

        QEMU gives the registers that its emulation saved last; the core keeps running.
        """
        if self._watch is None or self.session.ended is not None or not self.session.running:
            return
        socket, arguments = self.session.qemu.qmp_socket, {"command-line": "info registers"}
        try:
            said = await qmp.ask(socket, "human-monitor-command", arguments, _QEMU_SECONDS)
            found = _REGISTERS.search(str(said))
            if found is not None and self.session.ended is None:
                place, level = self._function(int(found[1], 16)), int(found[2])
                self._from_qemu = Status(running=True, place=place, core=0, exception_level=level)
        except SessionError:  # Another program uses the monitor, or one has ended, which `read` reports.
            self._from_qemu = Status(running=True)

    def _function(self, address: int) -> str:
        """The name of the function at an address, from GDB; the address if there is none."""
        name = SessionSymbols(self.session.debugger).name(address)
        return name.partition(" + ")[0] if name else f"{address:#x}"

    def _running(self, snapshot: Snapshot) -> Status:
        tasks, spaces = snapshot.tasks, snapshot.spaces
        current = tasks.current if tasks else spaces.current
        space = spaces.of(current)
        return replace(
            self._from_qemu,
            asid=space.asid if space else None,
            task=self._style.owner(current, task_names(tasks)),
            tasks=_counted(tasks),
            pressure=snapshot.pressure.pressure.level,
            free=snapshot.pressure.free,
            limit=snapshot.pressure.pressure.limit_frames,
            event_rate=self._rate(snapshot.events.recorded),
            problem=f"failed: {snapshot.failure.kind_name}" if snapshot.failure else "",
        )

    def _rate(self, recorded: int | None) -> float | None:
        """Events per second since the last `read`."""
        if recorded is None:
            return None
        now, before = time.monotonic(), self._counted
        self._counted = (now, recorded)
        if before is None or now <= before[0] or recorded < before[1]:
            return None
        return (recorded - before[1]) / (now - before[0])

    def _at_this_stop(self) -> Status:
        """The status at a stop, read again only after a command, which may have selected another frame."""
        stop, changes = self.session.last_stop, self.session.debugger.changes
        if self._seen is None or self._seen[0] is not stop:
            self._kernel = None
        if self._seen != (stop, changes):
            self._seen = (stop, changes)
            self._at_stop = self._selected()
        return self._at_stop

    def _selected(self) -> Status:
        """The status of the core that is selected in GDB."""
        gdb = self.session.debugger
        try:
            frame = gdb.ask("-stack-info-frame").payload["frame"]
            number = int(gdb.ask("-data-evaluate-expression $_thread").payload["value"]) - 1
            core = number if gdb.is_target_selected() else None
            found = Status(running=False, place=_place(frame), core=core)
        except SessionError as error:
            return Status(running=False, problem=error.message)
        try:
            if self._kernel is None:
                self._kernel = self.session.context(), self.session.pressure()
        except SessionError as error:
            return replace(found, problem=error.message)
        return self._with_kernel(found, *self._kernel)

    def _with_kernel(self, found: Status, context: Context, state: PressureState) -> Status:
        core = next((core for core in context.cores if core.core == found.core), None)
        space = context.space_on(core) if core else None
        in_register = core.ttbr0.asid if core and core.ttbr0 else None
        return replace(
            found,
            exception_level=core.exception_level if core else None,
            asid=space.asid if space else in_register,
            task=self._style.owner(space.number, task_names(context.scheduler)) if space else None,
            tasks=_counted(context.scheduler),
            pressure=state.pressure.level,
            free=state.free,
            limit=state.pressure.limit_frames,
        )


def _counted(tasks: Tasks | None) -> str:
    """The tasks that live, and those that wait for their turn: `7 tasks, 2 ready`."""
    if tasks is None:
        return ""
    living = [task for task in tasks.tasks if task.is_alive]
    ready = sum(task.state == "Ready" and task.id != tasks.current for task in living)
    return f"{len(living)} task{'' if len(living) == 1 else 's'}" + (f", {ready} ready" if ready else "")


def _place(frame: Mapping[str, Any]) -> str:
    """The function and the source line of a frame, or its address."""
    function = frame.get("func") or frame.get("addr") or ""
    if "line" not in frame:
        return str(function)
    return f"{function} {str(frame.get('file', '')).rpartition('/')[2]}:{frame['line']}"
