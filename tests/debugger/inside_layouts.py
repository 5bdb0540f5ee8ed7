"""Run inside GDB: prints both layouts of the kernel's statics, GDB's and the DWARF's, as JSON."""

import json
import os
from pathlib import Path

import gdb

from gdbplugin.debugger.layout import GdbLayout
from gdbplugin.kernel.failure import FAILURE_RECORD
from gdbplugin.kernel.interface import INTERFACE
from gdbplugin.kernel.target import MANAGER, SCHEDULER
from gdbplugin.layout import cache

statics = cache.load(Path(gdb.current_progspace().filename), directory=Path(os.environ["TINYOS_TEST_CACHE"]))
asked = []
layout = GdbLayout(asked.append)
found = {}
for name in (MANAGER, SCHEDULER, INTERFACE, FAILURE_RECORD):
    pair = (layout.static(name), statics.static(name))
    found[name] = [None if static is None else cache.dumps({name: static}) for static in pair]
print(json.dumps({"layouts": found, "asked": asked}))
