"""What a command is: its words and help, how its object is read, and how that is shown.

GDB's commands, those of GDB/MI, the REPL, the library's methods, the JSON schemas and the documentation are
made from these descriptors. They are imported while GDB starts, so neither this module nor a descriptor
imports anything that GDB's own Python has not loaded already; `read` and `show` import what they need when
they are called.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from gdbplugin.kernel.journal import Noticed
    from gdbplugin.kernel.target import Target
    from gdbplugin.render.style import Style

    Address = int | str
    """An address, or a GDB expression that gives one: `"kernel_main"`, `"$pc"`."""
    Complete = Callable[[Target], Iterable[object]]
    """Returns the values to offer now, such as the IDs of stacks."""


class Parameter:
    """Something that can be typed after a command: an option, or an argument.

    `kind` is how it is parsed:

    - `flag`: an option without a value;
    - `number`: a non-negative integer, decimal or hexadecimal (0x);
    - `address`: a number or a GDB expression; an argument of this kind takes all words up to the next option;
    - `range`: addresses as `START..END` (END exclusive) or `START+SIZE`;
    - `text`: the word as it is.

    `choices` are the only values allowed. `complete` returns values to offer on completion.
    """

    kinds = ("flag", "number", "address", "range", "text")

    def __init__(
        self,
        name: str,
        meaning: str,
        kind: str,
        metavar: str,
        choices: tuple[str, ...],
        complete: Complete | None,
    ) -> None:
        self.name = name
        self.meaning = meaning
        self.kind = kind
        self.metavar = metavar
        self.choices = choices
        self.complete = complete

    @property
    def usage(self) -> str:
        """How it looks in a usage line."""
        return self.name

    @property
    def key(self) -> str:
        """The keyword by which `read` takes the value: `find_physical` for `--find-physical`."""
        return self.name.lstrip("-").lower().replace("-", "_")


class Argument(Parameter):
    """A parameter given by its position."""

    def __init__(
        self,
        name: str,
        meaning: str,
        kind: str,
        *,
        choices: tuple[str, ...] = (),
        complete: Complete | None = None,
        required: bool = False,
    ) -> None:
        super().__init__(name, meaning, kind, name, choices, complete)
        self.required = required

    @property
    def usage(self) -> str:
        """How it looks in a usage line."""
        return self.name if self.required else f"[{self.name}]"


class Form:
    """What a command shows: `read` returns the object, `show` its text.

    `schema` names the JSON object that `encoding.to_json` makes of it, and its version. With `runs_target`
    reading lets the target run.
    """

    def __init__(
        self,
        schema: str,
        read: Callable[..., Noticed],
        show: Callable[[Any, Style], str],
        *,
        runs_target: bool = False,
    ) -> None:
        self.schema = schema
        self.read = read
        self.show = show
        self.runs_target = runs_target


class Option(Parameter):
    """A parameter given by name: `--limit 5`, `--limit=5`, or `--json` alone.

    GDB/MI reserves --thread, --frame, --language, --thread-group and --all. With a `form` the option selects
    what is read in place of the command's own object; it then goes with no other option but --json.
    """

    def __init__(
        self,
        name: str,
        meaning: str,
        kind: str = "flag",
        metavar: str = "",
        *,
        choices: tuple[str, ...] = (),
        complete: Complete | None = None,
        form: Form | None = None,
    ) -> None:
        metavar = metavar or name.lstrip("-").upper().replace("-", "_")
        super().__init__(name, meaning, kind, metavar, choices, complete)
        self.form = form

    @property
    def usage(self) -> str:
        """How it looks in a usage line."""
        return f"[{self.name}]" if self.kind == "flag" else f"[{self.name} {self.metavar}]"


JSON = Option("--json", "print one JSON object, for programs")
STRICT = Option("--strict", "fail if there are findings, for scripts")
_OUTPUT = {JSON.key, STRICT.key}


class Command:
    """A `tinyos` command.

    `help` is its help text: one line that sums it up, an empty line, and the rest. `letter` is what the
    kernel's own shell calls it. `read` takes a `Target` and the values of the parameters by their keys;
    what was not given is left out.
    """

    def __init__(
        self,
        word: str,
        form: Form,
        *,
        help: str,  # noqa: A002 (GDB's word for it)
        letter: str = "",
        arguments: tuple[Argument, ...] = (),
        options: tuple[Option, ...] = (),
    ) -> None:
        self.word = word
        self.letter = letter
        self.form = form
        self.summary, _, self.description = help.strip().partition("\n\n")
        self.arguments = arguments
        self.options = (*options, JSON)

    @property
    def usage(self) -> str:
        """The usage line."""
        words = [parameter.usage for parameter in (*self.arguments, *self.options)]
        return " ".join(["tinyos", self.word, *words])

    @property
    def help(self) -> str:
        """The help text: summary, usage, description, and what each parameter means."""
        meanings = [
            f"  {parameter.usage.strip('[]')}: {parameter.meaning}"
            + (f" ({', '.join(parameter.choices)})" if parameter.choices else "")
            for parameter in (*self.arguments, *self.options)
        ]
        return "\n\n".join([self.summary, f"Usage: {self.usage}", self.description, "\n".join(meanings)])

    def form_for(self, values: dict[str, Any]) -> Form:
        """The form that the values ask for."""
        for option in self.options:
            if option.form is not None and option.key in values:
                return option.form
        return self.form

    def read(self, target: Target, values: dict[str, Any]) -> Noticed:
        """The object that the values ask for, with what was noticed while it was read."""
        form = self.form_for(values)
        selecting = {option.key for option in self.options if option.form is not None}
        words = {key: value for key, value in values.items() if key not in _OUTPUT | selecting}
        return form.read(target, **words)
