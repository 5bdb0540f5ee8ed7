"""Run inside GDB: prints the layouts of the kernel's statics as GDB has them, as JSON."""

import json

from gdbplugin.debugger.layout import GdbLayout
from gdbplugin.kernel.interface import FAILURE_RECORD, INTERFACE
from gdbplugin.kernel.kernel import MANAGER, SCHEDULER
from gdbplugin.layout import cache

asked = []
layout = GdbLayout(asked.append)
found = {}
for name in (MANAGER, SCHEDULER, INTERFACE, FAILURE_RECORD):
    static = layout.static(name)
    found[name] = None if static is None else cache.dumps({name: static})
print(json.dumps({"layouts": found, "asked": asked}))
