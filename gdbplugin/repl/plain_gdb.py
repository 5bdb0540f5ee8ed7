"""GDB's own prompt on a kernel that we boot, for those who prefer it."""

from __future__ import annotations

import signal
import sys

from gdbplugin.session import TinyOS, process
from gdbplugin.session.gdb_program import PLUGIN, find_gdb, gdb_environment
from gdbplugin.session.process import passed_to_child


def run(session: TinyOS) -> int:
    """Give the terminal to a GDB with the plugin, attached; returns GDB's exit status."""
    qemu = session.qemu
    session.detach()
    # The kernel's console is now the user's: see the help of --console.
    session.console.close()
    _say(f"console: scripts/run --console {qemu.console_socket}   (its log: {qemu.console_log})")
    _say(f"gdbstub: {qemu.gdb_address}; the kernel is stopped at GDB's prompt: `continue` lets it run")
    attach = f"target remote {qemu.gdb_address}"
    with passed_to_child(signal.SIGINT):
        gdb = process.start(
            [find_gdb(), "--quiet", "-x", str(PLUGIN), "-ex", attach, str(session.kernel.path)],
            stdin=None,
            in_foreground=True,
            environment=gdb_environment(),
        )
        try:
            return gdb.wait()
        finally:
            process.end(gdb)


def _say(text: str) -> None:
    print(f"tinyos: {text}", file=sys.stderr, flush=True)
