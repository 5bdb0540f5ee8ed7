"""Runs a command: parses its arguments, reads its object, shows it, and turns errors into one line.

`GdbTarget` is what it reads from: the stopped machine, and GDB's symbols, expressions and disassembler.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import gdb

from gdbplugin.commands import parsing
from gdbplugin.commands.descriptor import Command, Parameter, to_json
from gdbplugin.debugger import current, layout
from gdbplugin.debugger.guards import errors_in_one_line, failure, fitted, printed, write
from gdbplugin.kernel.diagnostics import Diagnosed, Diagnostics
from gdbplugin.kernel.physical_map import MemoryMap
from gdbplugin.kernel.target import CommandRun, Symbols, Target
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import Machine, MachineError, SelectionError
from gdbplugin.render import Style, is_dumb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.aarch64.unwind import CallFrames
    from gdbplugin.dump.foreign import OpenedDump
    from gdbplugin.dump.task_cores import TaskThreads
    from gdbplugin.kernel.kernel_test import KernelTest
    from gdbplugin.kernel.target import StoredMemory
    from gdbplugin.kernel.translation_watch import Watching
    from gdbplugin.layout.code import CodeMap
    from gdbplugin.layout.elf import ElfImage
    from gdbplugin.layout.types import Layout

_COMPLETERS = {
    parsing.EXPRESSION.command: gdb.COMPLETE_EXPRESSION,
    parsing.FILE.command: gdb.COMPLETE_FILENAME,
    parsing.COMMAND.command: gdb.COMPLETE_COMMAND,
}
_PLAIN = Style()
# The width of the widest view.
_WIDEST = _PLAIN.width


def run(command: Command, argument: str) -> None:
    """Run a command for a user; errors of the target or the arguments become a `gdb.GdbError`."""
    with _errors_in_one_line(command), current.live_target_selected():
        values = parsing.parse(command, parsing.split(argument))
        if "python" in values:
            write(_python(command, values), style())
            return
        values = _with_limit(command, values)
        if command.asks(values):
            _answer(command, values)
            return
        shown = command.read(GdbTarget(quiet="json" in values), values)
        if "json" in values:
            gdb.write(_json(command, values, shown) + "\n")
        else:
            chosen = style()
            write(command.form_for(values).show(shown, chosen), chosen)
        _be_strict(command, values, shown)


def _answer(command: Command, values: dict[str, Any]) -> None:
    """Answer a question about a command's list. The notes of CSV go to the error output."""
    from gdbplugin.commands import answers

    asked, chosen = answers.question(command, values), style()
    shown = command.read(GdbTarget(quiet=_for_program(values)), values)
    write(answers.printed(asked, values, shown, chosen), chosen)
    if "csv" in values:
        gdb.write(fitted(chosen.diagnostics(shown), chosen.encoding), gdb.STDERR)
    _be_strict(command, values, shown)


def as_fields(command: Command, words: Sequence[str]) -> dict[str, object]:
    """A command's object as JSON in one field, `json`, or what else was asked for; errors as in `run`."""
    with _errors_in_one_line(command), current.live_target_selected():
        values = parsing.parse(command, words)
        if "python" in values:
            return {"python": _python(command, values)}
        if not command.asks(values):
            shown = command.read(GdbTarget(quiet=True), values)
            _be_strict(command, values, shown)
            return {"json": _json(command, values, shown)}
        from gdbplugin.commands import answers

        asked = answers.question(command, values)
        shown = command.read(GdbTarget(quiet=True), values)
        _be_strict(command, values, shown)
        name = "csv" if "csv" in values else "json"
        return {name: answers.printed(asked, {name: True, **values}, shown, _PLAIN).rstrip("\n")}


def _python(command: Command, values: dict[str, Any]) -> str:
    from gdbplugin.commands import library

    return library.lines(command, values, GdbTarget(quiet=True))


def complete(command: Command, text: str, word: str) -> list[str] | int:
    """The completions of `word`, the last part of `text`, in the form that `gdb.Command.complete` returns."""
    offered = parsing.complete(command, text, offered_values)
    if isinstance(offered, parsing.GdbWords):
        return _COMPLETERS[offered.command]
    # GDB also breaks words at dashes and equals signs: `word` may be only the end of what was typed. After an
    # open quote it is all from there on.
    typed = len(text.rpartition(" ")[2])
    before = text[len(text) - len(word) : len(text) - typed] if len(word) > typed else ""
    return [before + value[max(0, typed - len(word)) :] for value in offered]


def offered_values(parameter: Parameter) -> list[str]:
    """The values to offer for a parameter; none if the target cannot tell."""
    if parameter.choices or parameter.complete is None:
        return list(parameter.choices)
    try:
        return [str(value) for value in parameter.complete(GdbTarget())]
    except (MachineError, LayoutError, gdb.error):
        return []  # Nothing is stopped, or it is not TinyOS.


def style() -> Style:
    """What the terminal shows, according to `set tinyos`, GDB's own settings and NO_COLOR."""
    encoding = {"on": "utf-8", "off": "ascii"}.get(_setting("unicode"), gdb.host_charset())
    colour = {"on": True, "off": False}.get(_setting("color"))
    if colour is None:
        colour = (
            bool(gdb.parameter("style enabled"))
            and not os.environ.get("NO_COLOR")
            and not is_dumb(os.environ)
            and os.isatty(1)
        )
    # Unlimited is 0 in GDB and None in Python. Without a terminal GDB assumes 80 columns.
    width = int(gdb.parameter("tinyos width") or (os.isatty(1) and gdb.parameter("width")) or 0)
    return Style(encoding, colour, width) if 0 < width < _WIDEST else Style(encoding, colour)


def _setting(name: str) -> str:
    return str(gdb.parameter(f"tinyos {name}"))


def _with_limit(command: Command, values: dict[str, Any]) -> dict[str, Any]:
    """The values, with the user's `set tinyos limit` if the command takes a limit and none was given."""
    limit = gdb.parameter("tinyos limit")
    takes_one = any(option.key == "limit" for option in command.options)
    return {"limit": limit, **values} if limit and takes_one and not _for_program(values) else values


def _for_program(values: dict[str, Any]) -> bool:
    """Whether the output is for a program."""
    return not values.keys().isdisjoint(("json", "csv"))


def _be_strict(command: Command, values: dict[str, Any], shown: Diagnosed) -> None:
    count = shown.diagnostics.finding_count
    if "strict" in values and count:
        raise failure(f"tinyos {command.word}: {count:,} finding{'s' if count > 1 else ''}")


def _json(command: Command, values: dict[str, Any], shown: Diagnosed) -> str:
    return to_json(command.form_for(values).schema, shown)


@contextlib.contextmanager
def _errors_in_one_line(command: Command) -> Iterator[None]:
    with errors_in_one_line():
        try:
            yield
        except parsing.WordError as error:
            raise failure(str(error)) from error
        except SelectionError as error:
            raise failure(f"tinyos {command.word}: {error}. Usage: {command.usage}") from error


class GdbTarget(Target):
    """GDB's selected target, for one command; `quiet` if its output is for a program.

    Its first use raises `NoTargetError` if nothing is stopped.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        diagnostics = Diagnostics()
        super().__init__(None, None, diagnostics, lambda: current.kernel(diagnostics))
        self._quiet = quiet

    @property
    def machine(self) -> Machine:
        """The stopped machine."""
        return current.machine()

    @property
    def core(self) -> int:
        """The core of the selected thread."""
        current.machine()
        return current.selected_core()

    @property
    def symbols(self) -> Symbols:
        """The symbols of the loaded program."""
        from gdbplugin.debugger.symbols import GdbSymbols

        return GdbSymbols()

    @property
    def code(self) -> CodeMap | None:
        """The functions and lines of the loaded program; None, and a note, if they cannot be read."""
        try:
            return layout.code()
        except (LayoutError, layout.WrongProgramError) as error:
            self.diagnostics.add_note(str(error))
            return None

    @property
    def call_frames(self) -> CallFrames | None:
        """The call frame information of the loaded program; None if it cannot be read."""
        try:
            return layout.call_frames()
        except (LayoutError, layout.WrongProgramError):
            return None  # `code` notes it.

    @property
    def how_to_keep_stops(self) -> str:
        """What keeps stops in GDB, and why it did not if it is on."""
        from gdbplugin.debugger import stops

        return stops.advice()

    @property
    def session_code(self) -> str:
        """The call of the library that begins a session with this target."""
        from gdbplugin.debugger import begun

        return begun.session_code()

    def program(self) -> tuple[ElfImage, Layout]:
        """The program that GDB has loaded, as `Target` says."""
        layout.add_packages()  # A dump may be compressed.
        return current.required_program()

    def disassemble(self, core: int, address: int, word: int) -> str | None:
        """The disassembly of the instruction `word` at a virtual address."""
        from gdbplugin.debugger.symbols import disassemble

        return disassemble(core, address, word)

    def memory_parts(self) -> tuple[int, Iterator[tuple[int, bytes]]]:
        """The live machine's memory, as `Target` says."""
        if current.is_dump():
            return super().memory_parts()
        from gdbplugin.debugger import dumps

        return dumps.memory_parts(self.machine)

    @property
    def memory_map(self) -> MemoryMap:
        """QEMU's map of physical memory, as `Target` says."""
        current.machine()
        return current.memory_map()

    def stored_memory(self) -> StoredMemory | None:
        """The RAM that a session shares, or the dump, as `Target` says."""
        from gdbplugin.debugger import dumps

        return dumps.stored_memory(self.machine)

    @property
    def is_interactive(self) -> bool:
        """Whether the answer is text, as `Target` says."""
        return not self._quiet

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """A line on the terminal, as `Target` says."""
        from gdbplugin.debugger.progress import ProgressLine

        line = ProgressLine()
        try:
            yield (lambda _: None) if self._quiet else line.show
        finally:
            line.erase()

    def open_dump(self, file: str, registers: Mapping[str, int]) -> OpenedDump:
        """Open a dump in GDB, as `Target` says."""
        from gdbplugin.debugger import dumps

        return dumps.open_dump(file, registers)

    def show_task_threads(self, wanted: bool | None) -> TaskThreads:
        """Show each task as a thread in GDB, as `Target` says."""
        from gdbplugin.debugger import task_threads

        return task_threads.switch(wanted)

    def console_text(self) -> str:
        """The end of what the kernel has printed, in a session with a console."""
        from gdbplugin.debugger import dumps

        return dumps.console_text()

    def recording_path(self) -> str:
        """The session's recording, as `Target` says."""
        from gdbplugin.programs import RECORDED_VARIABLE, RECORDING_VARIABLE

        path = os.environ.get(RECORDING_VARIABLE)
        if (
            not path
            or current.is_dump()
            or not current.is_connected_to(os.environ.get(RECORDED_VARIABLE, ""))
        ):
            return super().recording_path()
        return path

    def travel(self, bring: Callable[[Callable[[str], None]], None]) -> Machine:
        """Let the machine be brought to another moment, as `Target` says."""
        from gdbplugin.debugger import travel

        current.machine()
        travel.travel(bring, self._quiet)
        self._kernel = None
        return self.machine

    def translation_watches(self) -> Watching:
        """What watches translations in GDB, as `Target` says."""
        current.machine()
        if current.is_dump():
            return super().translation_watches()
        from gdbplugin.debugger import watches

        return watches.WATCHES

    def run_command(self, command: str) -> CommandRun:
        """Carry out a command, as `Target` says; its output is kept if it is for a program."""
        output, error = "", None
        try:
            if self._quiet:
                output = printed(command)
            else:
                gdb.execute(command, True)
        except gdb.error as failed:
            error = str(failed)
        except KeyboardInterrupt:
            error = "interrupted"
        current.forget()
        current.machine()  # Raises if the target is gone, or runs.
        self._kernel = self._reason = None
        return CommandRun(output, error)

    def run_test(self, test: KernelTest) -> Any:
        """Make the target run one of the kernel's own tests."""
        from gdbplugin.debugger import request

        return request.run(test, self.diagnostics, self._quiet)

    def last_test(self, test: KernelTest) -> Any:
        """What the last run of a test on this connection changed."""
        from gdbplugin.debugger import request

        return request.latest(test)

    def _evaluate(self, expression: str) -> int:
        from gdbplugin.debugger.symbols import evaluate

        return evaluate(expression)
