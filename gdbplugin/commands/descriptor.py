"""What a command is: its words and help, how its object is read, shown, and made JSON.

GDB's commands, those of GDB/MI, the REPL, the library's methods, the JSON schemas and the documentation are
made from these descriptors. They are imported while GDB starts, so neither this module nor a descriptor
imports anything that GDB's own Python has not loaded already; `read` and `show` import what they need when
they are called.

JSON is made by rules that hold for all objects. A dataclass or named tuple becomes an object of its fields;
those that `json_fields` names instead, if its class has that, which may be properties too: `"text"`, or
`"exception_class as class"` where the member has another name. What `json_merged` names has no member of its
own: its members join those around it. What `json_optional` names is left out where it is None. A tuple, list
or set becomes an array, an enumeration its value. A large array may have a method `json` that returns its
text; `json_item` is then the class of its items. The JSON schemas are made by the same rules, from the types
(`scripts/schemas`).
"""

from __future__ import annotations

from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from gdbplugin.kernel.diagnostics import Diagnosed
    from gdbplugin.kernel.target import Target
    from gdbplugin.render import Style

    Address = int | str
    'An address, or a GDB expression that gives one: `"kernel_main"`, `"$pc"`.'
    Complete = Callable[[Target], Iterable[object]]
    "Returns the values to offer now, such as the IDs of stacks."
    Shown = TypeVar("Shown", bound=Diagnosed)


class Parameter:
    """Something that can be typed after a command: an option, or an argument.

    `kind` is how it is parsed:

    - `flag`: an option without a value;
    - `number`: a non-negative integer, decimal or hexadecimal (0x);
    - `address`: a number or a GDB expression; an argument of this kind takes all words up to the next option;
    - `range`: addresses as `START..END` (END exclusive) or `START+SIZE`;
    - `file`: the path of a file;
    - `expression`: an expression over the fields of the command's list; it takes all words up to the next
      option;
    - `fields`: names of such fields, with commas between them;
    - `command`: a command of GDB, with all words after it;
    - `text`: the word as it is.

    `choices` are the only values allowed; of a range, words that may stand in its place. `complete` returns
    values to offer on completion.
    """

    kinds = ("flag", "number", "address", "range", "file", "expression", "fields", "command", "text")

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
        """The keyword by which `read` takes the value: `find_physical` for `--find-physical`.

        A word of Python's own gets an underscore: `in_` for `--in`.
        """
        key = self.name.lstrip("-").lower().replace("-", "_")
        return f"{key}_" if key == "in" else key


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

    `schema` names the JSON object that `to_json` makes of it, and its version. With `runs_target`
    reading lets the target run, or changes what the debugger shows.

    `rows` picks the object's main list, if it has one: that makes its fields known to `--where` and the other
    options of `ASKING`. `count` picks the number of its rows, if the object has that too. Both only name
    attributes, `lambda found: found.pages`: the schema gets their path. `first` is the parameter that says
    how many of the rows, `last` the one that says how many of the last: both are applied after `--where`.
    `most` bounds the rows that are read for them, where reading all could take too long. `title` is what the
    rows are called in text if not as their list. With `rows_are_findings` they are the object's findings,
    which text does not show a second time.
    """

    def __init__(
        self,
        schema: str,
        read: Callable[..., Shown],
        show: Callable[[Shown, Style], str],
        *,
        runs_target: bool = False,
        rows: Callable[[Shown], object] | None = None,
        count: Callable[[Shown], int] | None = None,
        first: Parameter | None = None,
        last: Parameter | None = None,
        most: int | None = None,
        title: str = "",
        rows_are_findings: bool = False,
    ) -> None:
        self.schema = schema
        self.read: Callable[..., Diagnosed] = read
        self.show: Callable[[Any, Style], str] = show
        self.runs_target = runs_target
        self.rows: Callable[[Any], object] | None = rows
        self.count: Callable[[Any], int] | None = count
        self.first = first
        self.last = last
        self.most = most
        self.title = title
        self.rows_are_findings = rows_are_findings

    def asked(self, words: dict[str, Any]) -> dict[str, Any]:
        """The words for `read` when the list is asked about: all rows are read, the limits are for later."""
        found = {key: value for key, value in words.items() if self.first is None or key != self.first.key}
        if self.first is not None and self.most is not None:
            found[self.first.key] = self.most
        return found if self.last is None else {**found, self.last.key: _ALL}

    def read_asked(self, target: Target, words: dict[str, Any]) -> Diagnosed:
        """The object whose list is asked about, with a note if not all of its rows were read."""
        shown = self.read(target, **self.asked(words))
        rows: Any = () if self.rows is None else self.rows(shown)
        if self.most is not None and len(rows) >= self.most:
            said = f"only the first {self.most:,} rows were read: there may be more, which the answer lacks"
            shown.diagnostics.add_note(said)
        return shown


_ALL = 1 << 32


class Option(Parameter):
    """A parameter given by name: `--limit 5`, `--limit=5`, or `--json` alone.

    GDB/MI reserves --thread, --frame, --language, --thread-group and --all. With a `form` the option selects
    what is read in place of the command's own object; it then goes with no other option but --json. One that
    is `repeated` can be given several times: `read` gets a tuple.
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
        repeated: bool = False,
    ) -> None:
        metavar = metavar or name.lstrip("-").upper().replace("-", "_")
        super().__init__(name, meaning, kind, metavar, choices, complete)
        self.form = form
        self.repeated = repeated

    @property
    def usage(self) -> str:
        """How it looks in a usage line."""
        if self.repeated:
            return f"[{self.name} {self.metavar}]..."
        return f"[{self.name}]" if self.kind == "flag" else f"[{self.name} {self.metavar}]"


JSON = Option("--json", "print one JSON object, for programs")
STRICT = Option("--strict", "fail if there are findings, for scripts")
WHERE = Option(
    "--where",
    "only the rows of the list for which this is true: 'owner == 2 and size > 4K'",
    "expression",
    "EXPRESSION",
)
SORT = Option("--sort", "sort the rows by these fields; - before one reverses it", "fields", "FIELDS")
GROUP = Option("--group", "a row for each value of these fields: how many rows, and sums", "fields", "FIELDS")
COLUMNS = Option("--columns", "only these fields, as A,B,C; with --group, sums of these", "fields", "FIELDS")
CSV = Option("--csv", "print the rows as CSV, for spreadsheets")
ASKING = (WHERE, SORT, GROUP, COLUMNS, CSV)
"""The options of every command that shows a list. `gdbplugin/query` carries them out."""
PYTHON = Option("--python", "print the lines of Python that give the same, and read nothing")
_OUTPUT = (JSON, STRICT, PYTHON, *ASKING)


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
        asking = () if form.rows is None else ASKING
        self.options: tuple[Option, ...] = (*options, *asking, *((PYTHON,) if self.only_reads else ()), JSON)

    @property
    def only_reads(self) -> bool:
        """Whether it changes nothing: neither the target, nor what the debugger shows, nor a file."""
        return not self.form.runs_target and not any(
            argument.kind == "file" and argument.required for argument in self.arguments
        )

    @property
    def usage(self) -> str:
        """The usage line."""
        parameters: tuple[Parameter, ...] = (*self.arguments, *self.options)
        if any(argument.kind == "command" for argument in self.arguments):
            parameters = (*self.options, *self.arguments)  # It takes all words after it.
        words = [parameter.usage for parameter in parameters]
        return " ".join(["tinyos", self.word, *words])

    @property
    def help(self) -> str:
        """The help text: summary, usage, description, and what each parameter means."""
        meanings = [
            f"  {parameter.usage.replace('...', '').strip('[]')}: {parameter.meaning}"
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

    def asks(self, values: dict[str, Any]) -> bool:
        """Whether the values ask about the command's list, and not for its whole object."""
        return self.form.rows is not None and any(option.key in values for option in ASKING)

    def words(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values that are for `read`."""
        others = {option.key for option in self.options if option.form is not None or option in _OUTPUT}
        return {key: value for key, value in values.items() if key not in others}

    def read(self, target: Target, values: dict[str, Any]) -> Diagnosed:
        """The object that the values ask for, with the findings and notes made while it was read."""
        form, words = self.form_for(values), self.words(values)
        return form.read_asked(target, words) if self.asks(values) else form.read(target, **words)


def to_json(schema: str, shown: Diagnosed) -> str:
    """An object that a command has read, as one line of JSON; `schema` names what it conforms to."""
    return text_of({"schema": schema, "findings": shown.findings, "notes": shown.notes, **members(shown)})


def members(record: Any) -> dict[str, Any]:
    """The members of a record's JSON object."""
    kind: Any = type(record)
    merged, optional = getattr(kind, "json_merged", ()), getattr(kind, "json_optional", ())
    found: dict[str, Any] = {}
    for name, member in json_fields(kind).items():
        value = getattr(record, name)
        if name in merged:
            found.update(members(value))
        elif value is not None or name not in optional:
            found[member] = value
    return found


@cache
def json_fields(kind: Any) -> dict[str, str]:
    """The fields and properties of a class of records that are in its JSON, each with its member's name."""
    found: tuple[str, ...] | None = getattr(kind, "json_fields", None)
    if found is None:
        found = kind.__match_args__ if is_record(kind) else kind._fields
    parted = (entry.partition(" as ") for entry in found)
    return {name: member or name for name, _, member in parted}


def is_record(kind: Any) -> bool:
    """Whether a class is one of our dataclasses."""
    return hasattr(kind, "_record_fields")


def text_of(value: Any) -> str:
    """Any value as JSON text."""
    # Not at the top: text is asked for much more often.
    import json

    if hasattr(value, "json"):
        text: str = value.json()
        return text
    if is_record(type(value)) or hasattr(value, "_fields"):
        value = members(value)
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(str(name))}: {text_of(entry)}" for name, entry in value.items())
            + "}"
        )
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(map(text_of, value)) + "]"
    return json.dumps(getattr(value, "value", value) if hasattr(value, "name") else value)


def offered_cores(target: Target) -> list[int]:
    """The numbers of the cores."""
    from gdbplugin.kernel import selection

    return selection.cores(target)


def offered_asids(target: Target) -> list[int]:
    """The ASIDs of the address spaces."""
    from gdbplugin.kernel import selection

    return selection.asids(target)


CORE = Option(
    "--core", "use this core instead of the selected thread's", "number", "N", complete=offered_cores
)
SELECTION = (
    Option("--asid", "use the address space with this ASID", "number", "N", complete=offered_asids),
    Option(
        "--ttbr", "use this value of TTBR0, with its ASID; with --stage 2, of VTTBR_EL2", "number", "VALUE"
    ),
    Option("--el", "translate as this exception level does", "number", "N", choices=("0", "1", "2", "3")),
    Option(
        "--stage",
        "the stage to use: 2 is a hypervisor's, for intermediate addresses of EL1 and EL0",
        "number",
        "N",
        choices=("1", "2"),
    ),
    CORE,
)
SELECTION_OF_STAGE_1 = tuple(option for option in SELECTION if option.name != "--stage")
"""The selection for what stage 2 has no part in."""
