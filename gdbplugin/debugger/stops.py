"""Keeps what `tinyos diff` compares at each stop, if the user asked for it: `set tinyos keep-stops N`."""

from __future__ import annotations

import gdb

from gdbplugin.debugger import current
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import MachineError
from gdbplugin.moments import read_now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_count = 0
_problem = ""


def keep(count: int) -> None:
    """Keep the last `count` stops from now on, with the present one if the target is stopped; 0 for none."""
    global _count, _problem
    if bool(count) != bool(_count):
        if count:
            gdb.events.stop.connect(_stopped)
        else:
            gdb.events.stop.disconnect(_stopped)
    _count, _problem = count, ""
    thread = gdb.selected_thread()
    if count and thread is not None and thread.is_valid() and not thread.is_running():
        _stopped(None)


def advice() -> str:
    """How stops are kept, or why the last one was not."""
    if _problem:
        return f"the last stop could not be kept: {_problem}"
    if _count:
        return f"`set tinyos keep-stops` is {_count}, and the target has not stopped again since"
    return "`set tinyos keep-stops 5` keeps the last five from now on"


def _stopped(_: Any) -> None:
    """Called by GDB at each stop."""
    global _problem
    from gdbplugin.debugger.execution import GdbTarget

    try:
        with current.live_target_selected():
            target = GdbTarget(quiet=True)
            read_now(target)
            target.required_kernel().history.keep_most(_count)
        _problem = ""
    except (MachineError, LayoutError, gdb.error, gdb.MemoryError) as error:
        # It is said when the stop is asked for: most stops are never looked at.
        _problem = str(error)
