"""TinyOS sessions from outside GDB: start QEMU and GDB, use them from Python, and end them.

>>> with TinyOS.boot() as tinyos:
...     print(tinyos.shell("*s"))
...     with tinyos.stopped():
...         assert all(stack.growth_count for stack in tinyos.stacks())
...         print(tinyos.gdb("tinyos report"))
...     tinyos.run_until("stack-growth", stack=3, timeout=5)
"""

from gdbplugin.kernel.snapshot import Snapshot
from gdbplugin.query.question import Table
from gdbplugin.session.breakpoints import EventBreakpoint
from gdbplugin.session.errors import (
    AddressInUseError,
    AttachError,
    CommandFailedError,
    EndedError,
    KernelUnusableError,
    ReadFailedError,
    SessionError,
    ToolMissingError,
    WaitTimeoutError,
)
from gdbplugin.session.following import Following
from gdbplugin.session.mi import Stop
from gdbplugin.session.qemu import Qemu, QemuOptions
from gdbplugin.session.ram import Watch
from gdbplugin.session.tinyos import TinyOS

__all__ = [
    "AddressInUseError",
    "AttachError",
    "CommandFailedError",
    "EndedError",
    "EventBreakpoint",
    "Following",
    "KernelUnusableError",
    "Qemu",
    "QemuOptions",
    "ReadFailedError",
    "SessionError",
    "Snapshot",
    "Stop",
    "Table",
    "TinyOS",
    "ToolMissingError",
    "WaitTimeoutError",
    "Watch",
]
