"""A session with TinyOS: boot it or attach to it, then read it, stop it and watch it from Python."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdbplugin.commands import timeline
from gdbplugin.commands.descriptor import Parameter
from gdbplugin.dump.foreign import OpenedDump
from gdbplugin.dump.write import Dump
from gdbplugin.kernel.events import Event
from gdbplugin.kernel.moment import Moment
from gdbplugin.kernel.spaces import AddressSpace
from gdbplugin.kernel.translation_watch import TranslationChange
from gdbplugin.machine import MachineError
from gdbplugin.records import fields
from gdbplugin.session import mi
from gdbplugin.session.breakpoints import TRANSLATION, EventBreakpoint, event_filter
from gdbplugin.session.connection import DumpFile, RemoteTarget
from gdbplugin.session.console import Console
from gdbplugin.session.directory import ANSWER
from gdbplugin.session.errors import CommandFailedError, ReadFailedError, SessionError, WaitTimeoutError
from gdbplugin.session.following import Following
from gdbplugin.session.gdb import CONNECT_SECONDS
from gdbplugin.session.kernel_file import KernelFile, default_kernel
from gdbplugin.session.mi import COMMAND_SECONDS, Result
from gdbplugin.session.objects import Objects
from gdbplugin.session.process import PLUGIN, Pump
from gdbplugin.session.qemu import Qemu, QemuOptions
from gdbplugin.session.ram import Watch
from gdbplugin.session.translation_breakpoint import TranslationBreakpoint, watch_words
from gdbplugin.timeline.write import Timeline

if TYPE_CHECKING:
    from gdbplugin.html.page import ReportFile

_BOOT_SECONDS = 30.0
_EVENT_SECONDS = 20.0
# Not a plain "|", which an expression may contain.
_PIPE = "|to-a-shell|"
_LOOK_SECONDS = 0.005
# The whole ring, so that events between two snapshots are missed only if the kernel overwrote them.
_ALL_EVENTS = 4096
_DRAIN_SECONDS = 0.02


class TinyOS(Objects):
    """A session. The target runs unless it is stopped; `close`, or the end of the `with`, ends QEMU and GDB.

    GDB is started when it is first needed: a session that only types on the kernel's console does not wait
    for it.

    The methods that are named like a `tinyos` command return the object that the command shows, as a frozen
    dataclass; their arguments are the command's. A running target is stopped for a moment. An address may be
    a GDB expression. The object's `findings` and `notes` are those that the command prints; lists can be
    iterated. They raise `ReadFailedError` if there is no such object, and the session's other errors.
    """

    def __init__(
        self, host: Qemu | RemoteTarget, kernel: KernelFile, pump: Pump, *, plugin: Path | None
    ) -> None:
        super().__init__(host, kernel, pump, plugin=plugin)
        self._console = None
        if isinstance(host, Qemu):
            self._console = Console(host.console, pump, host.end_error, host.early_output)
            host.pump = pump

    @classmethod
    def boot(
        cls,
        elf: str | os.PathLike[str] | None = None,
        *,
        options: QemuOptions | None = None,
        plugin: Path | None = PLUGIN,
        timeout: float = _BOOT_SECONDS,
        manager: str = "",
        record: bool = False,
    ) -> TinyOS:
        """Boot `elf`, or `options.kernel` with `elf`'s symbols, and wait for the kernel's prompt.

        The default for `elf` is $TINYOS_KERNEL, or the one that scripts/build makes in the checkout. With
        `options.paused` the kernel does not run, and nothing is waited for. Another kernel of TinyOS's design
        need not have that prompt: then its memory manager is waited for, if the guest's RAM is mapped.
        `manager` is the path of the manager, if several statics might be it. `record` is that of the options:
        `history` and `writer` answer from the recording. Raises a `SessionError`.
        """
        kernel = KernelFile.open(Path(elf) if elf is not None else default_kernel(), manager)
        options = options or QemuOptions(kernel=kernel.path)
        options = replace(options, record=options.record or record)
        qemu = Qemu.start(options, tuple(kernel.recorded_places()) if options.record else ())
        pump = Pump()
        session = cls(qemu, kernel, pump, plugin=plugin)
        try:
            pump.add_source("QEMU", qemu.log)
            session._runs_without_gdb = not options.paused
            if not options.paused:
                session._wait_until_up(timeout)
        except BaseException:
            session.close()
            raise
        return session

    @classmethod
    def attach(
        cls,
        address: str,
        elf: str | os.PathLike[str] | None = None,
        *,
        plugin: Path | None = PLUGIN,
        timeout: float = CONNECT_SECONDS,
        manager: str = "",
    ) -> TinyOS:
        """Attach to a gdbstub that already exists: `HOST:PORT`, or a socket's path.

        It has `timeout` seconds to answer; one in use by another debugger never answers. `elf`, with the
        default of `boot`, is the kernel that it runs; `manager` is as for `boot`. Attaching a debugger stops
        the target: `resume` lets it run. It runs on after `close`. Raises a `SessionError`.
        """
        kernel = KernelFile.open(Path(elf) if elf is not None else default_kernel(), manager)
        session = cls(RemoteTarget(address), kernel, Pump(), plugin=plugin)
        try:
            session._debugger = session._attach(timeout)
        except BaseException:
            session.close()
            raise
        return session

    @classmethod
    def open_dump(
        cls,
        file: str | os.PathLike[str],
        elf: str | os.PathLike[str] | None = None,
        *,
        registers: Mapping[str, int] | None = None,
        plugin: Path | None = PLUGIN,
        manager: str = "",
    ) -> TinyOS:
        """Open a dump that `dump` or something else has written, as `tinyos open` does.

        Nothing runs: what only reads works as on the live machine. `registers` are those that the dump lacks,
        for all cores. `elf` and `manager` are as for `attach`. Raises a `SessionError`.
        """
        kernel = KernelFile.open(Path(elf) if elf is not None else default_kernel(), manager)
        host = DumpFile(Path(file).absolute(), registers or {}, kernel)
        session = cls(host, kernel, Pump(), plugin=plugin)
        try:
            session._debugger = session._attach()
        except BaseException:
            session.close()
            raise
        return session

    @property
    def qemu(self) -> Qemu:
        """The QEMU that was booted; raises `SessionError` in an attached session."""
        if isinstance(self._host, RemoteTarget):
            raise SessionError(f"this session has no QEMU of its own: it is attached to {self.address}")
        return self._host

    @property
    def console(self) -> Console:
        """The kernel's serial line; raises `SessionError` in an attached session."""
        if self._console is None:
            raise SessionError(
                f"this session has no console: it is attached to {self.address}; boot a kernel instead"
            )
        return self._console

    @property
    def opened_dump(self) -> OpenedDump | None:
        """What kind of dump was opened; None for a machine."""
        return self._host.opened if isinstance(self._host, DumpFile) else None

    def shell(self, command: str, timeout: float = 10.0) -> str:
        """Type a command on the kernel's own console and return its answer.

        Raises `SessionError` at once if the target is stopped, and so cannot answer.
        """
        console = self.console
        if not self.kernel.is_ours:
            raise SessionError("this kernel does not have TinyOS's shell: use console, its serial line")
        if not self.running:
            self._require_machine()
            raise SessionError(
                f"the kernel cannot answer {command!r}, as the target is stopped: resume it first"
            )
        return console.command(command, timeout)

    def gdb(
        self,
        command: str,
        timeout: float = COMMAND_SECONDS,
        show: Callable[[str], None] | None = None,
    ) -> str:
        """What GDB prints for a command; `show` is called with each piece of it as it arrives."""
        with self.translated_errors():
            return self.debugger.execute(command, timeout, show)

    def mi(self, command: str, timeout: float = COMMAND_SECONDS) -> Result:
        """GDB's result for an MI command."""
        with self.translated_errors():
            return self.debugger.mi(command, timeout)

    def json(self, command: str, timeout: float = COMMAND_SECONDS) -> Any:
        """The object that one of the plugin's commands prints as JSON: `json("report")`.

        The target is stopped for it. The JSON goes through a file: GDB writes a command's output to its
        machine interface with one system call per character, which took 14 s for 33,000 lazy pages.
        """
        answer = self._host.directory / ANSWER
        with self.stopped() as gdb:
            writer = f"cat >{shlex.quote(str(answer))}"
            try:
                gdb.execute(f"pipe -d {_PIPE} tinyos {command} --json {_PIPE} {writer}", timeout)
            except CommandFailedError as error:
                raise CommandFailedError(f"tinyos {command}", error.reason, error.output) from error
        return json.loads(mi.piped(answer.read_bytes()))

    def dump(self, file: str | os.PathLike[str], timeout: float = 60.0) -> Dump:
        """Write a dump of the machine, which is stopped for it. Raises `CommandFailedError`."""
        found = self.json(f"dump {shlex.quote(str(Path(file).absolute()))}", timeout)
        return Dump(**{field.name: found[field.name] for field in fields(Dump) if field.name in found})

    def timeline(
        self, file: str | os.PathLike[str], *, seconds: float | None = None, pause: float = 0.01
    ) -> Timeline:
        """Write what the kernel did to a file, as a trace for https://ui.perfetto.dev.

        Without `seconds`, the target is stopped for a moment, and the event ring and the recording are
        written, if there is one. With `seconds`, the kernel is watched for so long while it runs, and never
        stopped; `pause` is the time in seconds between two snapshots. To do something meanwhile, use
        `timeline_of`. Raises a `SessionError`.
        """
        if seconds is None:
            with self.stopped_target() as target:
                return timeline.read(target, os.fspath(file))
        if not self.running:
            self._require_machine()
            raise SessionError("the target is stopped, and does nothing to watch: resume it first")
        deadline = time.monotonic() + seconds
        with self.timeline_of(file, pause=pause) as following:
            while not following.has_ended and (left := deadline - time.monotonic()) > 0:
                self.pump.drain()
                time.sleep(min(_DRAIN_SECONDS, left))
        assert following.written is not None
        return following.written

    def timeline_of(self, file: str | os.PathLike[str], *, pause: float = 0.01) -> Following:
        """A timeline of what happens in its `with`: the running kernel is watched, and not stopped for it.

        At the end of the `with` it is written to the file, and `written` says what was. `pause` is the time
        in seconds between two snapshots. Raises a `SessionError`.
        """
        return Following(lambda: self.watch(events=_ALL_EVENTS), os.fspath(file), pause)

    def report_file(
        self, file: str | os.PathLike[str], *, since: str | os.PathLike[str] | Moment | None = None
    ) -> ReportFile:
        """Write a report as one page of HTML, which needs no other file and no network.

        It has the findings, every task's backtrace, stacks and frames as pictures, the timeline, and the
        difference from the moment `since`, as `diff` takes it, by default from the last checkpoint of the
        recording: for it the machine goes to the checkpoint, and comes back by replaying. With "none" there
        is no difference. The target is stopped only while it is read. Raises a `SessionError`.
        """
        # Not at the top: few sessions need it, and all would wait for it.
        from gdbplugin.html.contents import read_contents
        from gdbplugin.html.page import write_page

        source = self._in_words()
        with self.stopped_target() as target:
            contents = read_contents(target, source, since)
        try:
            return write_page(contents, os.fspath(file))
        except MachineError as error:
            raise ReadFailedError(str(error)) from error

    def _in_words(self) -> str:
        if isinstance(self._host, DumpFile):
            return f"the dump {self._host.path.name}"
        return "a running machine" if self.running else "a stopped machine"

    def offered_values(self, parameter: Parameter) -> list[str]:
        """The values to offer when a parameter of a command is completed, such as the IDs of stacks."""
        if parameter.complete is None:
            return list(parameter.choices)
        with self.stopped_target() as target:
            return [str(value) for value in parameter.complete(target)]

    def break_on(
        self,
        what: str,
        *,
        stack: int | None = None,
        range: tuple[int, int] | None = None,  # noqa: A002 (as `maps` calls it)
        address: int | str | None = None,
        level: str | None = None,
        asid: int | None = None,
        task: int | None = None,
        any: str | None = None,  # noqa: A002 (as `tinyos watch` calls it)
        flags: bool | None = None,
    ) -> EventBreakpoint | TranslationBreakpoint:
        """Stop the target at every event of a kind, until the breakpoint is deleted or its `with` ends.

        The events are those of `run_until`. The target stays as it is now: running or stopped.
        """
        words: dict[str, object] = {"stack": stack, "range": range, "address": address}
        words |= {"level": level, "asid": asid, "task": task, "any": any, "flags": flags}
        if what == TRANSLATION:
            return TranslationBreakpoint(self, watch_words(words))
        return EventBreakpoint(self, event_filter(what, words))

    def run_until(
        self, what: str, *, timeout: float = _EVENT_SECONDS, **words: Any
    ) -> Event | AddressSpace | TranslationChange:
        """Let the target run until an event; returns it, or for a switch the new address space.

        | what | event | filter |
        | --- | --- | --- |
        | `stack-growth`, `stack-shrink` | a stack grew, or returned pages | `stack=ID` |
        | `lazy-fault` | first read or first write of a lazy page | `range=(START, END)`, `address=A` |
        | `pressure` | the pressure level changed | `level="High"` |
        | `switch` | TTBR0 holds another address space | `asid=N`, `task=N` |
        | `task-ended` | a task ended | `task=N` |
        | `translation` | the translation of an address changed | `address=A`, `asid=N`, `flags=True` |
        | | a page got permissions | `any="w+x"`, `asid=N`, `range=(START, END)` |

        Then the target is stopped, after the kernel has finished its change; for `translation`, after the
        instruction that wrote the descriptor, and a `TranslationChange` is returned. Raises
        `WaitTimeoutError` after `timeout` seconds, with the target as it was before: running or stopped.
        Leaves no breakpoint.
        """
        was_running = self.running
        with self.break_on(what, **words) as breakpoint_:
            try:
                return breakpoint_.wait(timeout)
            except BaseException:
                if not was_running and self.running and self.ended is None:
                    self.interrupt()
                raise

    def watch(self, *, events: int = 256) -> Watch:
        """Snapshots of the kernel while it runs, each with the newest `events` events; no stop, no packet.

        They are read from the guest's mapped RAM. Raises `SessionError` if it is not mapped.
        """
        host = self._host
        if host.ram is None:
            said = "a running kernel can be watched only by its mapped RAM"
            raise SessionError(f"{said}: {host.no_ram_reason}")
        return Watch(
            host.ram,
            self.kernel.image,
            self.kernel.layout,
            events=events,
            ended=lambda: host.end_error() if host.has_ended() else None,
            is_stopped=lambda: not self.running,
        )

    def close(self) -> None:
        """End GDB and QEMU; a machine that the session is attached to runs on. A second call does nothing."""
        with contextlib.ExitStack() as ending:
            ending.callback(super().close)
            if self._console is not None:
                ending.callback(self._console.close)

    def __enter__(self) -> TinyOS:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_until_up(self, timeout: float) -> None:
        """Wait for the prompt of the kernel's shell; for a kernel without that shell, for its manager."""
        if self.kernel.is_ours:
            self.console.wait_for_prompt(timeout)
            return
        ram, deadline = self._host.ram, time.monotonic() + timeout
        while ram is not None and not self.kernel.is_set_up(ram):
            self.pump.drain()
            if self._host.has_ended():
                raise self._host.end_error()
            if time.monotonic() >= deadline:
                said = f"waited {timeout:g} s for the kernel to set up its memory manager"
                raise WaitTimeoutError(said, self.pump.evidence())
            time.sleep(_LOOK_SECONDS)
