"""Registers what the plugin adds to GDB: a CLI and an MI command for each descriptor, settings, functions.

Imported while GDB starts: it may import only what GDB's own Python has imported already. Everything else is
imported before the first prompt with a target, or when a command is first run.
"""

from __future__ import annotations

import gdb

from gdbplugin.commands import COMMANDS
from gdbplugin.debugger import functions, preferences, printers
from gdbplugin.debugger.guards import failure, sigint_deferred

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gdbplugin.commands.descriptor import Command


class CliCommand(gdb.Command):
    """A `tinyos` command at GDB's prompt."""

    def __init__(self, command: Command) -> None:
        # GDB takes the help text from here.
        self.__doc__ = command.help
        super().__init__(f"tinyos {command.word}", gdb.COMMAND_DATA)
        self._command = command

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """Called by GDB: read the object and show it."""
        from gdbplugin.debugger import execution

        execution.run(self._command, argument)

    def complete(self, text: str, word: str | None) -> list[str] | int:
        """Called by GDB: what can come next; for an address, what GDB itself would offer.

        GDB 14 and later first ask without a `word` how words are broken: in an address as in expressions.
        """
        from gdbplugin.debugger import execution

        offered = execution.complete(self._command, text, word or "")
        return [] if word is None and isinstance(offered, list) else offered


class MiCommand(gdb.MICommand):
    """A command for programs that speak GDB/MI: `-tinyos-report` returns one field, `json`.

    With --csv or --python the field is named like that. It takes the same arguments. Large objects arrive
    much faster than as the output of a CLI command, which GDB escapes and sends in small pieces.
    """

    def __init__(self, command: Command) -> None:
        super().__init__(f"-tinyos-{command.word}")
        self._command = command

    def invoke(self, arguments: list[str]) -> dict[str, object]:
        """Called by GDB: read the object and return it as `json`; with --csv or --python those."""
        from gdbplugin.debugger import execution

        return execution.as_fields(self._command, arguments)


class MachineMiCommand(gdb.MICommand):
    """Answers one query about the stopped machine: its name, then its arguments. Returns one field, `json`.

    For `gdbplugin.session`, which decodes TinyOS in its own process. `debugger/symbols.py` has the queries.
    """

    def __init__(self) -> None:
        super().__init__("-tinyos-machine")

    def invoke(self, arguments: list[str]) -> dict[str, object]:
        """Called by GDB: answer the query as JSON."""
        from gdbplugin.debugger import symbols

        return {"json": symbols.answer(arguments)}


class Prefix(gdb.Command):
    """Show what TinyOS's memory management and the AArch64 MMU beneath it are doing.

    The letters of the kernel's own shell work too: `tinyos *r` and `tinyos r` mean `tinyos report`.
    Every command takes --json, for programs. What was read is kept until the target runs or is written to, or
    gets a command such as monitor, restore or load. Changes made in other ways, such as by QMP, are not
    noticed.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        super().__init__("tinyos", gdb.COMMAND_DATA, prefix=True)
        self._commands = commands

    def complete(self, text: str, word: str | None) -> list[str]:
        """Called by GDB if no subcommand starts with `text`: offer the letters with a star."""
        if word is None:
            return []  # GDB only asks how words are broken.
        letters = [f"*{command.letter}" for command in self._commands if command.letter]
        head = len(text) - len(word)
        return [letter[head:] for letter in letters if letter.startswith(text)]

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Called by GDB for anything but a subcommand: a letter with its star, nothing, or a mistake."""
        first, _, rest = argument.strip().partition(" ")
        if not first:
            gdb.execute("help tinyos", from_tty)
            return
        for command in self._commands:
            if command.letter and first == f"*{command.letter}":
                from gdbplugin.debugger import execution

                execution.run(command, rest)
                return
        from gdbplugin.words import nearest

        words = [command.word for command in self._commands]
        known = f"known: {', '.join(words)}"
        raise failure(
            f'tinyos: no command "{first}"{nearest(first, words)} ({known}). Usage: tinyos COMMAND [WORDS]'
        )


def register() -> None:
    """Register everything that the plugin adds to GDB; doing so again replaces what was registered before."""
    Prefix(COMMANDS)
    for command in COMMANDS:
        CliCommand(command)
        MiCommand(command)
        if command.letter:
            # An alias, because GDB takes an abbreviation only while no other command starts with it.
            gdb.execute(f"alias -a tinyos {command.letter} = tinyos {command.word}", to_string=True)
    MachineMiCommand()
    preferences.register()
    functions.register()
    printers.register()
    gdb.events.before_prompt.connect(_import_what_commands_use)  # type: ignore[arg-type]  # It has no argument.


def _import_what_commands_use() -> None:
    """Called by GDB before each prompt: once there is a target, import what the first command would import.

    So the first command takes half the time. Nothing is asked of the target. A batch run has no prompt: there
    the first command imports what it needs itself.
    """
    if not gdb.selected_inferior().pid:
        return
    gdb.events.before_prompt.disconnect(_import_what_commands_use)  # type: ignore[arg-type]
    with sigint_deferred():
        from gdbplugin.debugger import execution
        from gdbplugin.kernel import snapshot

    del execution, snapshot
