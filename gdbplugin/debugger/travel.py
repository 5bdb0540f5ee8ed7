"""Brings the live machine to another moment, and has GDB forget what it knew of the one before."""

from __future__ import annotations

import sys
from collections.abc import Callable

import gdb

from gdbplugin.debugger import current
from gdbplugin.debugger.progress import ProgressLine
from gdbplugin.machine import MachineError

# WFE and WFI.
_WAITS = (0xD503205F, 0xD503207F)


def travel(bring: Callable[[Callable[[str], None]], None], quiet: bool) -> None:
    """Let `bring` take the machine to another moment; Ctrl-C ends it on the way."""
    progress = ProgressLine()
    try:
        bring((lambda _: None) if quiet else progress.show)
    finally:
        progress.erase()
        moved()


def moved() -> None:
    """The machine is at another moment: forget registers, memory, and what was read."""
    for cache in ("register-cache", "dcache"):
        try:
            gdb.execute(f"maintenance flush {cache}", to_string=True)
        except gdb.error as error:
            raise MachineError(f"GDB keeps its {cache}: {error}") from error
    current.moved()
    _select_busy_core()
    shown = sys.modules.get("gdbplugin.debugger.task_threads")
    if shown is not None:
        shown.moved()


def _select_busy_core() -> None:
    """Select the first core that does not wait, if the selected one does.

    A step of one that waits would not end; with `-icount` the machine would then stand still (QEMU 10).
    """
    selected = gdb.selected_thread()
    if selected is None:
        return
    threads = sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num)
    for thread in (selected, *threads):
        thread.switch()
        if not _waits():
            return
    selected.switch()


def _waits() -> bool:
    """Whether the selected core's last instruction made it wait."""
    try:
        frame = gdb.newest_frame()
        code = bytes(gdb.selected_inferior().read_memory(frame.pc() - 4, 4))
    except gdb.error:
        return False
    return int.from_bytes(code, "little") in _WAITS
