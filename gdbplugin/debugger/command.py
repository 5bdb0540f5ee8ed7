"""What a command is: words, help, the object it asks for, and the view that shows it.

Loaded while GDB starts: only what GDB's own Python has loaded already may be imported here, and the
rest when a command first runs.
"""

from __future__ import annotations

import importlib

import gdb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class Command(gdb.Command):
    """A `tinyos` command, declared by subclassing; its docstring is its help text in GDB.

    `reader` names the function that decodes the object from a `Kernel`, as `module:function`; `view`
    the module that shows it, with `text(object, journal, style)` and `content(object, journal)`, the
    latter what `--json` prints, under `schema`.
    """

    word: ClassVar[str] = ""
    letter: ClassVar[str] = ""
    reader: ClassVar[str] = ""
    view: ClassVar[str] = ""
    schema: ClassVar[str] = ""
    flags: ClassVar[tuple[str, ...]] = ("--json",)

    def __init__(self) -> None:
        super().__init__(f"tinyos {self.word}", gdb.COMMAND_DATA)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """GDB's call: read the object, show it."""
        execution = importlib.import_module("gdbplugin.debugger.execution")
        execution.run(self, argument)

    def complete(self, text: str, word: str) -> list[str]:
        """The options that may still come: those that begin as the word and are not there yet."""
        given = text.split()
        if word and given and not text.endswith(" "):
            given.pop()
        # GDB breaks words at dashes: what it calls the word may be the rest of an option.
        typed = text.rpartition(" ")[2]
        head = typed[: len(typed) - len(word)]
        return [flag[len(head) :] for flag in self.flags if flag.startswith(typed) and flag not in given]


class MachineInterface(gdb.MICommand):
    """A command for programs that speak GDB/MI: `-tinyos-report` returns one field, `json`.

    Large objects come much faster this way than as what a command prints, which GDB escapes and writes
    to its MI stream in small pieces.
    """

    def __init__(self, command: Command) -> None:
        super().__init__(f"-tinyos-{command.word}")
        self._command = command

    def invoke(self, arguments: list[str]) -> dict[str, object]:
        """GDB's call: read the object, return it as JSON."""
        execution = importlib.import_module("gdbplugin.debugger.execution")
        return {"json": execution.as_json(self._command, arguments)}


class Prefix(gdb.Command):
    """Show what TinyOS's memory management and the AArch64 MMU beneath it are doing.

    The letters of the kernel's own shell work here as well: `tinyos *r` and `tinyos r` mean `tinyos report`.
    Each command takes --json, for programs.
    """

    def __init__(self) -> None:
        super().__init__("tinyos", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)
        self.commands: list[Command] = []

    def invoke(self, argument: str, from_tty: bool) -> None:
        """GDB's call for whatever is no subcommand: a shell letter with its star, nothing, or a mistake."""
        first, _, rest = argument.strip().partition(" ")
        if not first:
            gdb.execute("help tinyos", from_tty)
            return
        for command in self.commands:
            if command.letter and first == f"*{command.letter}":
                command.invoke(rest, from_tty)
                return
        known = ", ".join(command.word for command in self.commands)
        raise gdb.GdbError(f'tinyos: there is no "{first}"; the commands are: {known}')
