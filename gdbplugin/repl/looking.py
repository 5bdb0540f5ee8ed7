"""Finds out what the status line says.

While the target runs, from its mapped RAM and by QEMU's monitor: it is neither stopped nor asked. Target,
once for each stop, by the session's own typed results. An attached session has no RAM of its target: then
the last stop's is shown.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gdbplugin.kernel.context import Context
from gdbplugin.kernel.pressure_state import PressureState
from gdbplugin.kernel.tasks import task_names
from gdbplugin.repl.screen import Screen
from gdbplugin.repl.status import Status
from gdbplugin.session import SessionError, TinyOS, WaitTimeoutError, qmp
from gdbplugin.session.mi import Stop
from gdbplugin.session.target import SessionSymbols
from gdbplugin.session.watch import Snapshot

# The prompt waits meanwhile.
_WHOLE_SECONDS = 0.05
_PEEK_SECONDS = 2.0
_REGISTERS = re.compile(r"PC=([0-9a-f]+).*?PSTATE=\S+ .*?EL([0-3])", re.DOTALL)


class Lookout:
    """Looks at one session's target."""

    def __init__(self, session: TinyOS, screen: Screen) -> None:
        self.session = session
        self._screen = screen
        # Another kernel of this design cannot be watched: it has no sequence counter.
        can_watch = not session.is_attached and session.kernel.is_ours
        self._watch = session.watch() if can_watch else None
        self._seen: tuple[Stop | None, int] | None = None
        self._at_stop = Status(running=False)
        self._kernel: tuple[Context, PressureState] | None = None
        self._counted: tuple[float, int] | None = None
        self._peeked = Status(running=True)

    def look(self) -> Status:
        """The status now. What cannot be found out is said in it."""
        if self.session.ended is not None:
            return Status(running=False, problem=self.session.ended.message)
        if not self.session.running:
            self._counted, self._peeked = None, Status(running=True)
            return self._stopped()
        if self._watch is None:
            return replace(
                self._at_stop, running=True, place="", core=None, exception_level=None, task=None, asid=None
            )
        try:
            return self._running(self._watch.snapshot(_WHOLE_SECONDS))
        except WaitTimeoutError:
            return replace(self._peeked, problem="in the middle of a change")
        except SessionError as error:
            return Status(running=True, problem=error.message)

    async def peek(self) -> None:
        """Find out from QEMU where core 0, which runs TinyOS's tasks, is now: for the next look.

        QEMU reads what its emulation last wrote down: the core goes on meanwhile.
        """
        if self._watch is None or self.session.ended is not None or not self.session.running:
            return
        socket, arguments = self.session.qemu.qmp_socket, {"command-line": "info registers"}
        try:
            said = await qmp.ask(socket, "human-monitor-command", arguments, _PEEK_SECONDS)
        except SessionError:  # Another program speaks with QEMU, or it has ended: `look` says so.
            self._peeked = Status(running=True)
            return
        found = _REGISTERS.search(str(said))
        if found is not None and self.session.ended is None:
            address, level = int(found[1], 16), int(found[2])
            place = self._function(address)
            self._peeked = Status(running=True, place=place, core=0, exception_level=level)

    def _function(self, address: int) -> str:
        """The function at an address, by GDB; the address where there is none."""
        name = SessionSymbols(self.session.debugger).name(address)
        return name.partition(" + ")[0] if name else f"{address:#x}"

    def _running(self, snapshot: Snapshot) -> Status:
        tasks, spaces = snapshot.tasks, snapshot.spaces
        current = tasks.current if tasks else spaces.current
        space = spaces.of(current)
        return replace(
            self._peeked,
            asid=space.asid if space else None,
            task=self._screen.style.owner(current, task_names(tasks)),
            pressure=snapshot.pressure.pressure.level,
            free=snapshot.pressure.free,
            limit=snapshot.pressure.pressure.limit_frames,
            event_rate=self._rate(snapshot.events.recorded),
            problem=f"failed: {snapshot.failure.kind_name}" if snapshot.failure else "",
        )

    def _rate(self, recorded: int | None) -> float | None:
        """Events a second since the look before."""
        if recorded is None:
            return None
        now, before = time.monotonic(), self._counted
        self._counted = (now, recorded)
        if before is None or now <= before[0] or recorded < before[1]:
            return None
        return (recorded - before[1]) / (now - before[0])

    def _stopped(self) -> Status:
        """The same until the target runs or a command is given: that may have selected another frame."""
        stop, changes = self.session.last_stop, self.session.debugger.changes
        if self._seen is None or self._seen[0] is not stop:
            self._kernel = None
        if self._seen != (stop, changes):
            self._seen = (stop, changes)
            self._at_stop = self._selected()
        return self._at_stop

    def _selected(self) -> Status:
        """What the core that is selected in GDB does."""
        gdb = self.session.debugger
        try:
            frame = gdb.ask("-stack-info-frame").payload["frame"]
            number = int(gdb.ask("-data-evaluate-expression $_thread").payload["value"]) - 1
            found = Status(running=False, place=_place(frame), core=number)
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
            task=self._screen.style.owner(space.number, task_names(context.tasks)) if space else None,
            pressure=state.pressure.level,
            free=state.free,
            limit=state.pressure.limit_frames,
        )


def _place(frame: Mapping[str, Any]) -> str:
    """The function and the source line of a frame, or its address."""
    function = frame.get("func") or frame.get("addr") or ""
    if "line" not in frame:
        return str(function)
    return f"{function} {str(frame.get('file', '')).rpartition('/')[2]}:{frame['line']}"
