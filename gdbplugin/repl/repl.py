"""The REPL but for its prompt: a session, and lines carried out on it one after the other."""

from __future__ import annotations

import contextlib
import enum
import json
from collections.abc import Iterator
from dataclasses import dataclass

from gdbplugin.commands.descriptor import Parameter
from gdbplugin.repl import explaining
from gdbplugin.repl import line as lines
from gdbplugin.repl.opening import Opening
from gdbplugin.repl.screen import Screen
from gdbplugin.repl.target import Target, TargetError
from gdbplugin.session import CommandFailedError, SessionError, TinyOS
from gdbplugin.session.streams import escaped

# What prints nothing, or an object of its own.
_WITHOUT_TEXT = (lines.Nothing, lines.Submenu, lines.Quit, lines.Restart, lines.Refused, lines.Ours)


class Outcome(enum.Enum):
    """How a line went."""

    DONE = enum.auto()
    FAILED = enum.auto()
    QUIT = enum.auto()


@dataclass(frozen=True)
class Manner:
    """For whom lines are carried out."""

    interactive: bool = False
    """For a person: a running target keeps running, and no time is too long."""
    json: bool = False
    """Each line's result is one JSON object."""
    timeout: float = 60.0
    """Seconds a line may take where no person waits."""


class Repl:
    """Carries lines out on a session that it opens; `close` it, or use it in a `with`."""

    def __init__(self, opening: Opening, screen: Screen, manner: Manner) -> None:
        self.screen = screen
        self.in_submenu = False
        self._opening = opening
        self._manner = manner
        self._unopened: str | None = None
        self._warnings = ""  # Of GDB's, since the line began.
        self._columns = 0  # How wide the plugin takes the terminal to be.
        self._open()

    def __enter__(self) -> Repl:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; what GDB says to that is of no interest."""
        with self.screen.caught():
            self.session.close()

    @property
    def lost(self) -> str | None:
        """What has ended that the session cannot be without, and why; None while all is well."""
        lost = self.session.ended
        reason = self._unopened or (lost.message if lost is not None else None)
        return None if reason is None else f"{reason}; `restart` begins a new session"

    def run(self, text: str) -> Outcome:
        """Carry out one line. Errors are shown; Ctrl-C ends what the line is doing."""
        action = lines.parse(text, in_submenu=self.in_submenu)
        self._warnings = ""
        try:
            self._fit()
            with self._as_json(action):
                outcome = self._carry_out(action)
            if not self._manner.interactive:
                self.screen.complain(self._warnings)
            return outcome
        except CommandFailedError as error:
            return self._failed(text, self.lost or error.reason, error.output)
        except TargetError as error:
            return self._failed(text, str(error))
        except SessionError as error:
            return self._failed(text, self.lost or error.message)
        except KeyboardInterrupt:
            if not self._manner.interactive:
                raise
            self.screen.end_line()
            return Outcome.FAILED
        finally:
            self.screen.end_line()
            self.screen.flush()

    def complete(self, command: str) -> list[str]:
        """The commands that GDB would make of the beginning of one; none where it cannot say."""
        if self.lost is not None:
            return []
        try:
            return self.target.complete(command)
        except SessionError:
            return []  # What has happened is told by the next command, not amid a line.

    def offered_values(self, parameter: Parameter) -> list[str]:
        """The values to offer for a parameter of a plugin's command; none where that cannot be said."""
        return [] if self.lost is not None else self.target.offered_values(parameter)

    def _fit(self) -> None:
        """Have the plugin write lines as wide as the terminal is now."""
        columns = self.screen.columns
        if self._manner.interactive and self.lost is None and columns != self._columns:
            with self.screen.caught():
                self.session.gdb(f"set tinyos width {columns}")
            self._columns = columns

    def _carry_out(self, action: lines.Action) -> Outcome:
        match action:
            case lines.Nothing():
                return Outcome.DONE
            case lines.Quit():
                return Outcome.QUIT
            case lines.Submenu(entered):
                self.in_submenu = entered
            case lines.Refused(reason):
                raise TargetError(reason)
            case lines.Restart():
                self._restart()
            case lines.Help(topic):
                self._help(topic)
            case _:
                if self.lost is not None:
                    raise TargetError(self.lost)
                self._on_target(action)
        return Outcome.DONE

    def _on_target(self, action: lines.Action) -> None:
        match action:
            case lines.Ours(text) if text and (self._manner.json or "--json" in text.split()):
                self.screen.gdb(self.target.json(text) + "\n")
            case lines.Ours(text):
                self.target.gdb(f"tinyos {text}".strip(), moves_on=True)
            case lines.ToGdb(text):
                self.target.gdb(text)
            case lines.Continue(text):
                self.target.resume(text)
            case lines.Step(text):
                self.target.step(text)
            case lines.Interrupt():
                self.target.interrupt()
            case lines.ToConsole(text):
                self.screen.gdb(self.target.console(text))
            case lines.Live(view):
                self._live(view)

    @contextlib.contextmanager
    def _as_json(self, action: lines.Action) -> Iterator[None]:
        """With --json, what is printed as text becomes an object's; the plugin's commands have their own."""
        if not self._manner.json or isinstance(action, _WITHOUT_TEXT):
            yield
            return
        with self.screen.caught() as printed:
            yield
        self.screen.gdb(json.dumps({"output": "".join(printed)}) + "\n")

    def _failed(self, command: str, reason: str, output: str = "") -> Outcome:
        command = escaped(command.strip())
        if self._manner.json:
            self.screen.gdb(json.dumps({"command": command, "error": reason, "output": output}) + "\n")
        reason = reason.strip()
        if not self._manner.interactive:
            # GDB has warned of its reason as well.
            self.screen.complain(self._warnings.replace(f"{reason}\n", ""))
            self.screen.complain(f"tinyos: error: {command}: {reason}")
        elif reason not in self._warnings:
            self.screen.complain(reason, bad=True)
        return Outcome.FAILED

    def _warned(self, text: str) -> None:
        """Take what GDB warns of: a person is to see it now, others behind the output."""
        if self.screen.is_catching and not self._manner.json:
            return  # Of a question of our own.
        self._warnings += text
        if self._manner.interactive:
            self.screen.warning(text)

    def _help(self, topic: str) -> None:
        text = explaining.about(topic)
        if text is None and not topic:
            text = explaining.overview(self.screen.style_now)
        self.screen.gdb(text if text is not None else self.target.text(f"help {topic}"))

    def _live(self, view: str) -> None:
        if not self._manner.interactive:
            raise TargetError("live needs a terminal: `live` is for a person")
        # Not at the top: of all that is done here, only this needs a terminal.
        from gdbplugin.repl.live import run_live

        said: list[str] = []
        try:
            # It fills the screen: whatever is said meanwhile waits for its end.
            with self.screen.prompting(said.append), self.target.core_kept():
                run_live(self.session, view)
        finally:
            self.screen.write_now("".join(said))

    def _open(self) -> None:
        self.session: TinyOS = self._opening.open()
        try:
            self._set_up()
        except BaseException:
            self.session.close()
            raise

    def _set_up(self) -> None:
        screen, manner = self.screen, self._manner
        self._columns = 0
        self.target = Target(self.session, screen, interactive=manner.interactive, timeout=manner.timeout)
        screen.complain(self.session.debugger_complaints)
        gdb = self.session.debugger
        with screen.caught():
            gdb.execute("set width 0")  # A line is broken by the terminal, if at all.
            gdb.execute(f"set tinyos unicode {'off' if screen.style.plain else 'on'}")
            gdb.execute(f"set tinyos color {'on' if screen.style.colour else 'off'}")
        gdb.on_output, gdb.on_warning = screen.gdb, self._warned
        if manner.interactive and not self.session.is_attached:
            console = self.session.console
            # One program at a time may be connected: another is told so at once, in place of waiting.
            self.session.qemu.console_socket.unlink()
            screen.kernel(console.transcript.rpartition("\n")[2])  # Its prompt: the next line begins with it.
            console.on_text = screen.kernel

    def _restart(self) -> None:
        self.close()
        self.in_submenu = False
        self._unopened = "there is no session"
        with self.screen.progress("restart"):
            self._open()
        self._unopened = None
        if self._manner.interactive:
            self.screen.say("a new session")
