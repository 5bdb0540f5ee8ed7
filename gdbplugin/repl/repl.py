"""The REPL without its prompt: starts a session, and carries out lines on it."""

from __future__ import annotations

import contextlib
import enum
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gdbplugin.commands.descriptor import JSON, Parameter, to_json
from gdbplugin.commands.parsing import WordError, split
from gdbplugin.commands.parsing import parse as parse_words
from gdbplugin.kernel.diagnostics import Diagnosed
from gdbplugin.repl.command_line import (
    BY_WORD,
    OWN,
    Action,
    ConsoleInput,
    Continue,
    GdbCommand,
    Help,
    Interrupt,
    Live,
    Nothing,
    PluginCommand,
    Quit,
    Refused,
    Restart,
    Step,
    Submenu,
    help_text,
    overview,
    parse,
    runs_command,
    watches,
)
from gdbplugin.repl.output import Output
from gdbplugin.repl.target import RefusedError, TargetControl
from gdbplugin.session import CommandFailedError, QemuOptions, SessionError, TinyOS
from gdbplugin.session.connection import registers_in
from gdbplugin.session.kernel_file import default_kernel
from gdbplugin.session.process import find_gdb
from gdbplugin.session.recorder import DEFAULT_RECORDS
from gdbplugin.session.streams import escaped
from gdbplugin.words import nearest

_Shown = TypeVar("_Shown", bound=Diagnosed)

# Actions that print nothing, or a JSON object of their own.
_WITHOUT_TEXT = (Nothing, Submenu, Quit, Restart, Refused, PluginCommand)


class Outcome(enum.Enum):
    """The result of a line."""

    DONE = enum.auto()
    FAILED = enum.auto()
    QUIT = enum.auto()


@dataclass(frozen=True)
class SessionOptions:
    """The kernel to boot, or the running one to attach to."""

    kernel: Path | None = None
    """The kernel's ELF; None for the default one."""
    image: Path | None = None
    """Boot this flat image instead of the ELF."""
    port: int | None = None
    """The port of QEMU's gdbstub on the loopback; None for a socket."""
    address: str | None = None
    """Attach to the gdbstub at this address, and boot nothing."""
    manager: str = ""
    """The path of the kernel's memory manager, if several statics could be it."""
    dump: Path | None = None
    """Open this dump, and boot nothing."""
    registers: Sequence[str] = ()
    """Registers that the dump lacks, as `NAME=VALUE`."""
    records: int = 0
    """Record the guest, with room for so many records; 0 for no recording."""
    host_clock: bool = False
    """With a recording: leave the guest the host's clock. Then it cannot go back."""

    def start(self) -> TinyOS:
        """Start a session with GDB attached. Raises a `SessionError`."""
        # GDB is needed last; if it is missing, say so before anything is started.
        find_gdb()
        if self.dump is not None:
            given = registers_in(self.registers)
            return TinyOS.open_dump(self.dump, self.kernel, registers=given, manager=self.manager)
        if self.address is not None:
            return TinyOS.attach(self.address, self.kernel, manager=self.manager)
        kernel = self.kernel or default_kernel()
        options = QemuOptions(
            kernel=self.image or kernel,
            gdb_port=self.port,
            record=self.records > 0,
            records=self.records or DEFAULT_RECORDS,
            host_clock=self.host_clock,
        )
        session = TinyOS.boot(kernel, options=options, manager=self.manager)
        try:
            # This compares the ELF with what runs: an image may belong to another ELF.
            session.debugger  # noqa: B018
        except BaseException:
            session.close()
            raise
        return session


@dataclass(frozen=True)
class ReplOptions:
    """Who uses the REPL, and the form of its output."""

    interactive: bool = False
    """A person uses it: a running target stays running, and commands have no time limit."""
    json: bool = False
    """Print one JSON object for each line."""
    timeout: float = 60.0
    """The time limit of a line in seconds, if not interactive."""
    dumps: Path | None = None
    """The folder for a dump of a kernel that has failed; None for no dumps."""


class Repl:
    """Starts a session and carries out lines on it. `close` it, or use it in a `with`."""

    def __init__(self, session_options: SessionOptions, output: Output, options: ReplOptions) -> None:
        self.output = output
        self.in_submenu = False
        self._session_options = session_options
        self._options = options
        self._start_error: str | None = None
        self._warnings = ""  # GDB's warnings since the line began.
        self._columns = 0  # The width that the plugin was told.
        self._start()

    def __enter__(self) -> Repl:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session. What GDB prints then is not shown."""
        self._dump_failure()
        with self.output.captured():
            self.session.close()

    @property
    def end_reason(self) -> str | None:
        """Why the session cannot go on, and the remedy; None if it can."""
        lost = self.session.ended
        reason = self._start_error or (lost.message if lost is not None else None)
        return None if reason is None else f"{reason}; `restart` starts a new session"

    def run(self, text: str) -> Outcome:
        """Carry out one line and show its errors. Ctrl-C ends the line's command."""
        action = parse(text, in_submenu=self.in_submenu)
        self._warnings = ""
        try:
            self._set_width()
            with self._as_json(action):
                outcome = self._carry_out(action)
            if not self._options.interactive:
                self.output.complain(self._warnings)
            return outcome
        except CommandFailedError as error:
            reason = error.reason
            if reason.startswith("Undefined command: "):
                reason += nearest(text.split()[0], (*BY_WORD, *OWN))
            return self._fail(text, self.end_reason or reason, error.output)
        except RefusedError as error:
            return self._fail(text, str(error))
        except SessionError as error:
            return self._fail(text, self.end_reason or error.message)
        except KeyboardInterrupt:
            if not self._options.interactive:
                raise
            self.output.end_line()
            return Outcome.FAILED
        finally:
            self._dump_failure()
            self.output.end_line()
            self.output.flush()

    def complete(self, command: str) -> list[str]:
        """The whole lines that complete the beginning of a GDB command; empty if GDB cannot say."""
        if self.end_reason is not None:
            return []
        try:
            return self.target.complete(command)
        except SessionError:
            return []  # The next command reports it; a message would disturb the line being typed.

    def offered_values(self, parameter: Parameter) -> list[str]:
        """The values that complete a parameter of a plugin command; empty if they are not known."""
        return [] if self.end_reason is not None else self.target.offered_values(parameter)

    def _set_width(self) -> None:
        """Tell the plugin the width of the terminal, if it has changed."""
        columns = self.output.columns
        if self._options.interactive and self.end_reason is None and columns != self._columns:
            with self.output.captured():
                self.session.gdb(f"set tinyos width {columns}")
            self._columns = columns

    def _carry_out(self, action: Action) -> Outcome:
        match action:
            case Nothing():
                return Outcome.DONE
            case Quit():
                return Outcome.QUIT
            case Submenu(entered):
                self.in_submenu = entered
            case Refused(reason):
                raise RefusedError(reason)
            case Restart():
                self._restart()
            case Help(topic):
                self._help(topic)
            case _:
                if self.end_reason is not None:
                    raise RefusedError(self.end_reason)
                self._act_on_target(action)
        return Outcome.DONE

    def _act_on_target(self, action: Action) -> None:
        match action:
            case PluginCommand(text) if watches(text):
                self._by_session(text, lambda file, seconds: self.session.timeline(file, seconds=seconds))
            case PluginCommand(text) if runs_command(text):
                found = self._by_session(text, self.target.during)
                if found.error is not None and not self._options.interactive:
                    raise RefusedError(found.error)
            case PluginCommand(text) if text and (self._options.json or "--json" in text.split()):
                self.output.gdb(self.target.json(text) + "\n")
            case PluginCommand(text):
                self.target.gdb(f"tinyos {text}".strip(), makes_own_stops=True)
            case GdbCommand(text):
                self.target.gdb(text)
            case Continue(text):
                self.target.resume(text)
            case Step(text):
                self.target.step(text)
            case Interrupt():
                self.target.interrupt()
            case ConsoleInput(text):
                self.output.gdb(self.target.console(text))
            case Live(view):
                self._live(view)

    @contextlib.contextmanager
    def _as_json(self, action: Action) -> Iterator[None]:
        """With --json, print text as an object. The plugin's commands print objects of their own."""
        if not self._options.json or isinstance(action, _WITHOUT_TEXT):
            yield
            return
        with self.output.captured() as printed:
            yield
        self.output.gdb(json.dumps({"output": "".join(printed)}) + "\n")

    def _fail(self, command: str, reason: str, output: str = "") -> Outcome:
        command = escaped(command.strip())
        if self._options.json:
            self.output.gdb(json.dumps({"command": command, "error": reason, "output": output}) + "\n")
        reason = reason.strip()
        if not self._options.interactive:
            # GDB may have given the reason as a warning too.
            self.output.complain(self._warnings.replace(f"{reason}\n", ""))
            self.output.complain(f"tinyos: error: {command}: {reason}")
        elif reason not in self._warnings:
            self.output.complain(reason, bad=True)
        return Outcome.FAILED

    def _take_warning(self, text: str) -> None:
        """Take a warning of GDB: show it to a person now, to others after the output."""
        if self.output.is_capturing and not self._options.json:
            return  # It is about a command of our own.
        self._warnings += text
        if self._options.interactive:
            self.output.warning(text)

    def _help(self, topic: str) -> None:
        style = self.output.style_now
        text = help_text(topic, style) if topic else overview(style)
        self.output.gdb(text if text is not None else self.target.text(f"help {topic}"))

    def _by_session(self, text: str, run: Callable[..., _Shown]) -> _Shown:
        """Carry out a command of the plugin by this process's session; `run` takes its words."""
        word, *words = split(text)
        command = BY_WORD[word]
        try:
            values = parse_words(command, words)
        except WordError as error:
            raise RefusedError(str(error)) from error
        with self.output.progress(text):
            found = run(**command.words(values))
        if self._options.json or JSON.key in values:
            self.output.gdb(to_json(command.form.schema, found) + "\n")
        else:
            self.output.gdb(command.form.show(found, self.output.style_now))
        return found

    def _live(self, view: str) -> None:
        if not self._options.interactive:
            raise RefusedError("live needs a terminal, and a person at it")
        # Not at the top: only this needs prompt_toolkit.
        from gdbplugin.repl.live import run_live

        held_back: list[str] = []
        try:
            # The view fills the screen: other output is shown after it.
            with self.output.prompting(held_back.append), self.target.core_kept():
                run_live(self.session, view)
        finally:
            self.output.write_now("".join(held_back))

    def _start(self) -> None:
        self.session: TinyOS = self._session_options.start()
        try:
            self._set_up()
        except BaseException:
            self.session.close()
            raise

    def _set_up(self) -> None:
        output, options = self.output, self._options
        self._columns = 0
        self.target = TargetControl(
            self.session, output, interactive=options.interactive, timeout=options.timeout
        )
        output.complain(self.session.debugger_complaints)
        opened = self.session.opened_dump
        for note in opened.notes if opened is not None else ():
            output.complain(note)
        gdb = self.session.debugger
        with output.captured():
            gdb.execute("set width 0")  # GDB does not wrap lines; the terminal may.
            gdb.execute(f"set tinyos unicode {'off' if output.style.plain else 'on'}")
            gdb.execute(f"set tinyos color {'on' if output.style.colour else 'off'}")
        gdb.on_output, gdb.on_warning = output.gdb, self._take_warning
        # Only our kernel has a record of its failure.
        watched = options.dumps and not self.session.is_attached and self.session.kernel.is_ours
        self._failures = self.session.watch() if watched else None
        if options.interactive and not self.session.is_attached:
            console = self.session.console
            # The console serves one program: a second one is refused at once instead of waiting.
            self.session.qemu.console_socket.unlink()
            output.kernel(console.transcript.rpartition("\n")[2])  # Its prompt: the next line begins with it.
            console.on_text = output.kernel

    def _dump_failure(self) -> None:
        """Write a dump, once, if the kernel has failed. It stays as it was then: it has halted."""
        folder, watch = self._options.dumps, self._failures
        if folder is None or watch is None or self.session.ended is not None or not watch.has_failed():
            return
        self._failures = None
        place = folder / time.strftime("tinyos-%Y-%m-%d-%H%M%S.dump")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.session.dump(place)
        except (OSError, SessionError) as error:
            self.output.complain(f"the kernel has failed, and its dump cannot be written: {error}")
        else:
            self.output.complain(f"the kernel has failed; its dump is {place}")

    def _restart(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            kept = self._save_breakpoints(Path(folder) / "breakpoints")
            self.close()
            self.in_submenu = False
            self._start_error = "no session"
            with self.output.progress("restart"):
                self._start()
            self._start_error = None
            if kept is not None:
                with self.output.captured():
                    self.target.gdb(f"source {kept}")
        if self._options.interactive:
            self.output.say("a new session, with the breakpoints of the last" if kept else "a new session")

    def _save_breakpoints(self, file: Path) -> Path | None:
        """Save the user's breakpoints as commands of GDB; None if there are none, or GDB has ended."""
        if self.end_reason is not None:
            return None
        with self.output.captured(), contextlib.suppress(SessionError):
            self.session.gdb(f"save breakpoints {file}")
        return file if file.exists() else None
