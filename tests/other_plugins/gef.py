"""Runs inside GDB: a stand-in that does what gef's one file is known to do to others.

It fills the user's own Python with its names, sets settings, one of which changes how GDB writes numbers, and
registers commands, aliases, functions, event handlers and a prompt.
"""

import os
import sys

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

import gdb
import names
import registering

r = w = gef = registry = "gef's"

for setting in (
    "confirm off",
    "verbose off",
    "pagination off",
    "step-mode on",
    "print elements 0",
    "output-radix 0x10",
    "print pretty on",
):
    gdb.execute(f"set {setting}", to_string=True)
gdb.execute("handle SIGALRM print nopass", to_string=True)
registering.register(names.read("gef"))
events = registering.watch_events()
registering.prompt("gef> ")
