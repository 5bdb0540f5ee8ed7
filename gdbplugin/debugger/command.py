"""What a command is: words, help, the object it asks for, and the view that shows it.

Loaded while GDB starts: only what GDB's own Python has loaded already may be imported here, and the
rest when a command first runs.
"""

from __future__ import annotations

import importlib

import gdb

from gdbplugin.debugger.text import failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class Word:
    """Something a user may type behind a command: an option, or an argument by its place.

    `kind` says what it stands for and how it is read:

    - `flag`: an option without a value;
    - `number`: an integer, decimal or 0x-hexadecimal, not negative;
    - `address`: a number, or a GDB expression, which is evaluated if it changes nothing;
    - `range`: addresses as `START..END` (END exclusive) or `START+SIZE`;
    - `text`: the word as it is.

    `choices` are the only values there are. `complete` names a function, as `module:function`, that gives the
    values worth offering now, such as the ids of stacks, from a `gdbplugin.kernel.stopped.Stopped`.
    """

    kinds = ("flag", "number", "address", "range", "text")

    def __init__(
        self,
        name: str,
        meaning: str,
        kind: str = "flag",
        metavar: str = "",
        choices: tuple[str, ...] = (),
        complete: str = "",
    ) -> None:
        self.name = name
        self.meaning = meaning
        self.kind = kind
        self.metavar = metavar or name.lstrip("-").upper().replace("-", "_")
        self.choices = choices
        self.complete = complete

    @property
    def usage(self) -> str:
        """As a usage line has it."""
        return self.name

    @property
    def key(self) -> str:
        """The reader's keyword for the value: `find_physical` for `--find-physical`."""
        return self.name.lstrip("-").lower().replace("-", "_")


class Argument(Word):
    """What is given by its place. An `address` takes all words up to the next option, any other one word."""

    def __init__(
        self,
        name: str,
        meaning: str,
        kind: str,
        choices: tuple[str, ...] = (),
        complete: str = "",
        required: bool = False,
    ) -> None:
        super().__init__(name, meaning, kind, name, choices, complete)
        self.required = required

    @property
    def usage(self) -> str:
        """As a usage line has it."""
        return self.name if self.required else f"[{self.name}]"


class Option(Word):
    """What is given by name: `--limit 5`, `--limit=5`, or `--json` alone.

    None may be called --thread, --frame, --language, --thread-group or --all: GDB/MI keeps those to itself.
    With `form`, what the command shows is of that other form when the option is given. With `reads` false
    the option is no business of the reader's; neither is one that selects a form, and that one goes with
    --json alone.
    """

    def __init__(
        self,
        name: str,
        meaning: str,
        kind: str = "flag",
        metavar: str = "",
        choices: tuple[str, ...] = (),
        complete: str = "",
        reads: bool = True,
        form: Form | None = None,
    ) -> None:
        super().__init__(name, meaning, kind, metavar, choices, complete)
        self.reads = reads
        self.form = form

    @property
    def usage(self) -> str:
        """As a usage line has it."""
        if self.kind == "flag":
            return f"[{self.name}]"
        return f"[{self.name} {self.metavar}]"


JSON = Option("--json", "print one JSON object, for programs", reads=False)
STRICT = Option("--strict", "fail if there are findings, for scripts", reads=False)


class Form:
    """Where an object comes from and how it is shown; a `Command`'s own attributes are one.

    - `reader`: the function that decodes the object, as `module:function`. It is called with what `needs`
      says, and with the words given as keywords; what was not given is left out.
    - `needs`: `kernel`, a `gdbplugin.kernel.target.Kernel`, so that anything but TinyOS is an error;
      `stopped`, a `gdbplugin.kernel.stopped.Stopped`: the machine as it is, whatever runs on it;
      `journal`, only a `Journal`, and whether to be quiet on the way, as only a program listens: for what
      has the target run, and stops and reads it itself.
    - `view`: the module that shows it, with `text(object, journal, style)` and `content(object, journal)`,
      the latter what `--json` prints, under `schema`.
    """

    def __init__(self, reader: str, view: str, schema: str, needs: str = "kernel") -> None:
        self.reader = reader
        self.view = view
        self.schema = schema
        self.needs = needs


class Command(gdb.Command):
    """A `tinyos` command, declared by subclassing; its docstring is its help text in GDB.

    The usage line and what each word means are added to it. `reader`, `view`, `schema` and `needs` are as
    in `Form`. Every command takes --json.
    """

    word: ClassVar[str] = ""
    letter: ClassVar[str] = ""
    reader: ClassVar[str] = ""
    view: ClassVar[str] = ""
    schema: ClassVar[str] = ""
    needs: ClassVar[str] = "kernel"
    arguments: ClassVar[tuple[Argument, ...]] = ()
    options: ClassVar[tuple[Option, ...]] = ()

    def __init__(self) -> None:
        # GDB takes the help from here.
        self.__doc__ = _help(self)
        super().__init__(f"tinyos {self.word}", gdb.COMMAND_DATA)

    @property
    def all_options(self) -> tuple[Option, ...]:
        """The command's own options, and --json."""
        return (*self.options, JSON)

    @property
    def usage(self) -> str:
        """The usage line."""
        words = [word.usage for word in (*self.arguments, *self.all_options)]
        return " ".join(["tinyos", self.word, *words])

    def form(self, given: dict[str, Any]) -> Form:
        """The form that the words given ask for."""
        for option in self.options:
            if option.form is not None and option.key in given:
                return option.form
        return Form(self.reader, self.view, self.schema, self.needs)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """GDB's call: read the object, show it."""
        execution = importlib.import_module("gdbplugin.debugger.execution")
        execution.run(self, argument)

    def complete(self, text: str, word: str | None) -> list[str] | int:
        """The words that may come next; for an address, whatever GDB itself would offer.

        GDB 14 and later ask first where words are broken, with no `word`: for an address as in expressions.
        """
        completion = importlib.import_module("gdbplugin.debugger.completion")
        offered: list[str] | int = completion.complete(self, text, word or "")
        return [] if word is None and isinstance(offered, list) else offered


def _help(command: Command) -> str:
    """The help text: summary, usage, the rest of the docstring, and the words."""
    lines = (type(command).__doc__ or "").strip().split("\n")
    # A docstring is indented as the class's body is.
    body = [line.removeprefix("    ") for line in lines[1:]]
    parts = [lines[0], "", f"Usage: {command.usage}", *body, ""]
    parts += [
        f"  {word.metavar if isinstance(word, Argument) else word.usage[1:-1]}: {word.meaning}"
        + (f" ({', '.join(word.choices)})" if word.choices else "")
        for word in (*command.arguments, *command.all_options)
    ]
    return "\n".join(parts)


class MachineInterface(gdb.MICommand):
    """A command for programs that speak GDB/MI: `-tinyos-report` returns one field, `json`.

    It takes the words that the command takes. Large objects come much faster this way than as what a
    command prints, which GDB escapes and writes to its MI stream in small pieces.
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
    Each command takes --json, for programs. What was read is kept until the target runs or is written to, or
    is given a command such as monitor, restore or load; of what others do to it meanwhile, such as by QMP,
    GDB knows nothing.
    """

    def __init__(self) -> None:
        super().__init__("tinyos", gdb.COMMAND_DATA, prefix=True)
        self.commands: list[Command] = []

    def complete(self, text: str, word: str | None) -> list[str]:
        """GDB's call for whatever begins no subcommand: a shell letter with its star."""
        if word is None:
            return []  # It asks only where words are broken.
        letters = [f"*{command.letter}" for command in self.commands if command.letter]
        head = text[: len(text) - len(word)]
        return [letter[len(head) :] for letter in letters if letter.startswith(text)]

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
        raise failure(
            f'tinyos: there is no "{first}"; the commands are: {known}. Usage: tinyos COMMAND [WORDS]'
        )
