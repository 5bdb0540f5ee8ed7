"""TinyOS sessions from outside GDB: QEMU and GDB started, spoken to, and ended.

>>> with TinyOS.boot(Path("build/kernel.elf")) as tinyos:
...     print(tinyos.shell("*s"))
...     with tinyos.stopped() as gdb:
...         print(gdb.execute("tinyos report"))
"""

from gdbplugin.session.errors import (
    AddressInUseError,
    CommandFailedError,
    EndedError,
    KernelUnusableError,
    SessionError,
    ToolMissingError,
    WaitTimeoutError,
)
from gdbplugin.session.qemu import Qemu, QemuOptions
from gdbplugin.session.tinyos import TinyOS

__all__ = [
    "AddressInUseError",
    "CommandFailedError",
    "EndedError",
    "KernelUnusableError",
    "Qemu",
    "QemuOptions",
    "SessionError",
    "TinyOS",
    "ToolMissingError",
    "WaitTimeoutError",
]
