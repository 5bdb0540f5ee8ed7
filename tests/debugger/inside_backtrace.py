"""Run inside GDB, stopped: GDB's frames of the selected thread and those of `tinyos backtrace`, as JSON."""

import json

import gdb

from gdbplugin.debugger.guards import printed


def is_readable(address):
    try:
        gdb.selected_inferior().read_memory(address, 4)
    except gdb.MemoryError:
        return False
    return True


def frames():
    """PC, function, whether it is inlined, and line of each frame.

    Without those whose code cannot be read, as that of a task whose address space is not in use: there, GDB
    takes X30 for the caller.
    """
    frame, found = gdb.newest_frame(), []
    while frame is not None and len(found) < 100 and is_readable(frame.pc()):
        place = frame.find_sal()
        line = place.line if place.symtab is not None else 0
        found.append([frame.pc(), frame.name(), frame.type() == gdb.INLINE_FRAME, line])
        frame = frame.older()
    return found


ours = json.loads(printed("tinyos backtrace --json"))
print(json.dumps({"gdb": frames(), "ours": ours["backtraces"][0]}))
