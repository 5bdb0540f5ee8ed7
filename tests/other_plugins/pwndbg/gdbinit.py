"""Runs inside GDB: a stand-in that does what pwndbg's file of this name is known to do to others.

It takes the system's packages out of Python's path, puts its own folder and packages first there, sets
settings, and registers commands, functions, settings, printers, an unwinder, event handlers and a prompt.
"""

import os
import site
import sys

here = os.path.dirname(os.path.abspath(__file__))
for path in site.getsitepackages():
    if path in sys.path:
        sys.path.remove(path)
sys.path[:0] = [os.path.dirname(here), os.path.join(here, "site-packages")]

import gdb  # noqa: E402 (the path is made first)
import names  # noqa: E402
import registering  # noqa: E402

for setting in (
    "confirm off",
    "verbose off",
    "pagination off",
    "height 0",
    "print pretty on",
    "backtrace past-main on",
    "step-mode on",
    "follow-fork-mode child",
    "width 80",
):
    gdb.execute(f"set {setting}", to_string=True)
gdb.execute("handle SIGALRM nostop print nopass", to_string=True)
registering.register(names.read("pwndbg"))
events = registering.watch_events()
registering.printers_and_unwinders("pwndbg")
registering.prompt("pwndbg> ")
