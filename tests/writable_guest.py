"""TinyOS with its memory as a file that tests write."""

from __future__ import annotations

import contextlib
import mmap

from gdbplugin.session import QemuOptions, TinyOS
from gdbplugin.session.qemu import ram_arguments
from gdbplugin.session.ram import RAM_BYTES


@contextlib.contextmanager
def writable_guest(elf, directory):
    """TinyOS, stopped, and its memory, which can be written behind GDB's back."""
    ram = directory / "ram"
    options = QemuOptions(kernel=elf, extra=ram_arguments(ram, RAM_BYTES), share_ram=False)
    with TinyOS.boot(elf, options=options) as machine, ram.open("r+b") as file:
        machine.shell("hold")
        with mmap.mmap(file.fileno(), RAM_BYTES) as memory, machine.stopped():
            machine.gdb("thread 1")
            yield machine, memory
