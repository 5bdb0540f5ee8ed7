"""A TinyOS booted in QEMU, its console and a GDB with the plugin: one session."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gdbplugin.session.console import Console
from gdbplugin.session.errors import CommandFailedError
from gdbplugin.session.gdb import Gdb
from gdbplugin.session.kernel_file import KernelFile
from gdbplugin.session.mi import Result
from gdbplugin.session.pump import Pump
from gdbplugin.session.qemu import Qemu, QemuOptions

PLUGIN = Path(__file__).resolve().parents[1] / "tinyos.py"
_BOOT_SECONDS = 30.0


class TinyOS:
    """A session. It runs unless stopped; QEMU and GDB are gone after `close`, or the `with`.

    GDB is started when it is first asked for something: a session that only types at the kernel's console
    does not wait for it.
    """

    def __init__(self, qemu: Qemu, kernel: KernelFile, pump: Pump, *, plugin: Path | None) -> None:
        self.qemu = qemu
        self.kernel = kernel
        self.console = Console(qemu.console, pump, qemu.ended)
        self._pump = pump
        self._plugin = plugin
        self._debugger: Gdb | None = None
        self.debugger_complaints = ""
        """What GDB and the plugin wrote to standard error as they started."""

    @classmethod
    def boot(
        cls,
        elf: Path,
        *,
        options: QemuOptions | None = None,
        plugin: Path | None = PLUGIN,
        timeout: float = _BOOT_SECONDS,
    ) -> TinyOS:
        """Boot `elf`, or `options.kernel` with `elf`'s symbols, and wait for the kernel's prompt.

        With `options.paused` it does not run, and no prompt is waited for. Raises a `SessionError`.
        """
        kernel = KernelFile.open(elf)
        options = options or QemuOptions(kernel=elf)
        pump = Pump()
        qemu = Qemu.start(options)
        session = cls(qemu, kernel, pump, plugin=plugin)
        try:
            pump.witness("QEMU", qemu.log)
            if not options.paused:
                session.console.wait_for_prompt(timeout)
        except BaseException:
            session.close()
            raise
        return session

    @property
    def debugger(self) -> Gdb:
        """GDB, attached. The first use starts it, checks that the ELF is what runs, and lets it run on."""
        if self._debugger is None:
            self._debugger = self._attach()
            self._debugger.resume()
        return self._debugger

    def shell(self, command: str, timeout: float = 10.0) -> str:
        """Type a command on the kernel's own console and return its answer. The target must be running."""
        return self.console.command(command, timeout)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[Gdb]:
        """Hold the target still in the `with`; it runs again afterwards only if it ran before."""
        was_running = self._debugger is None or self._debugger.running
        if self._debugger is None:
            self._debugger = self._attach()
        with self._debugger.stopped(resume=was_running):
            yield self._debugger

    def gdb(self, command: str, timeout: float = 20.0) -> str:
        """What GDB prints for a command."""
        return self.debugger.execute(command, timeout)

    def mi(self, command: str, timeout: float = 20.0) -> Result:
        """GDB's result for an MI command."""
        return self.debugger.mi(command, timeout)

    def json(self, command: str, timeout: float = 20.0) -> Any:
        """The object that one of the plugin's commands prints as JSON: `json("report")`.

        The target is held still for it. Through a file: GDB writes what a command prints to its machine
        interface with a system call for each character, which took 14 s for 33,000 lazy pages.
        """
        answer = self.qemu.directory / "answer.json"
        with self.stopped() as gdb:
            gdb.execute(f"pipe tinyos {command} --json | cat >{shlex.quote(str(answer))}", timeout)
        return json.loads(answer.read_bytes())

    def detach(self) -> None:
        """End GDB and let the target run, so that another debugger may attach."""
        if self._debugger is not None:
            with contextlib.suppress(CommandFailedError):  # There may be nothing left to let go of.
                self._debugger.mi("-target-detach")
            self._debugger.close()
            self._debugger = None

    def close(self) -> None:
        """End GDB and QEMU. A second call does nothing."""
        with contextlib.ExitStack() as ending:
            ending.callback(self._pump.close)
            ending.callback(self.qemu.close)
            ending.callback(self.console.close)
            if self._debugger is not None:
                ending.callback(self._debugger.close)

    def __enter__(self) -> TinyOS:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attach(self) -> Gdb:
        gdb = Gdb.start(self._pump, elf=self.kernel.path, plugin=self._plugin)
        try:
            self.debugger_complaints = gdb.connect(self.qemu.gdb_address).log
            self.kernel.require_running(gdb)
        except BaseException:
            gdb.close()
            raise
        return gdb
