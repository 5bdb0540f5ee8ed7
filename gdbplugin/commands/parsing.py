"""Parses and completes what is typed after a command. Pure: neither GDB nor a target is asked."""

from __future__ import annotations

import re

from gdbplugin.commands.descriptor import CSV, GROUP, JSON, PYTHON, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from gdbplugin.commands.descriptor import Command, Parameter

# Compiled when first used: most commands are given without any word.
_WORD = r"""(?:'[^']*'|"[^"]*"|\S)+"""
_NUMBER = r"(?:0[xX]_*[0-9a-fA-F][0-9a-fA-F_]{0,40}|[0-9][0-9_]{0,40})\Z"
_OUTPUTS = (PYTHON, CSV, JSON)
LARGEST = (1 << 64) - 1
"""The largest number and address that is accepted."""


class WordError(ValueError):
    """A word that the command does not take. The message names the command, the word, and the usage."""

    def __init__(self, command: Command, reason: str) -> None:
        super().__init__(f"tinyos {command.word}: {reason}. Usage: {command.usage}")


def split(text: str) -> list[str]:
    """The words of a command line. Quotes are kept: in an expression they have a meaning."""
    return re.findall(_WORD, text)


def number(text: str) -> int | None:
    """The value of a decimal or hexadecimal number; None for any other text."""
    if not re.match(_NUMBER, text):
        return None
    return int(text.replace("_", ""), 16 if text[:2] in ("0x", "0X") else 10)


def parse(command: Command, words: Sequence[str]) -> dict[str, Any]:
    """The values of the parameters given, by their keys.

    An address that is an expression stays text, for `Target` to evaluate; a range becomes a pair
    `(start, end)` or a triple `(start, None, size)` of addresses. Raises `WordError`.
    """
    options = {option.name: option for option in command.options}
    values: dict[str, Any] = {}
    positional: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            positional.append(word)
            if _begins_command(command, positional):
                positional[-1], rest = _rest_of_command(word, rest, values), []
            continue
        name, equals, value = word.partition("=")
        option = options.get(name)
        if option is None:
            from gdbplugin.words import nearest  # For mistakes only.

            raise WordError(command, f'"{word}" is not an option{nearest(name, options)}')
        if option.key in values and not option.repeated:
            raise WordError(command, f"{name} is given twice")
        found = _option_value(command, option, value if equals else None, rest)
        values[option.key] = (*values.get(option.key, ()), found) if option.repeated else found
    values.update(_arguments(command, positional))
    _require_alone(command, values)
    return values


def _begins_command(command: Command, positional: Sequence[str]) -> bool:
    """Whether the last word is the first one of a command of GDB, which takes all that follow."""
    place = len(positional) - 1
    return place < len(command.arguments) and command.arguments[place].kind == "command"


def _rest_of_command(word: str, rest: Sequence[str], values: dict[str, Any]) -> str:
    """A command of GDB; --json as the last word is not its own."""
    if rest and rest[-1] == "--json":
        values["json"] = True
        rest = rest[:-1]
    return " ".join([word, *rest])


def _option_value(command: Command, option: Option, attached: str | None, rest: list[str]) -> Any:
    if option.kind == "flag":
        if attached is not None:
            raise WordError(command, f'"{option.name}={attached}": {option.name} takes no value')
        return True
    if attached is None:
        if not rest or rest[0].startswith("--"):
            raise WordError(command, f"{option.name} needs a value, {option.metavar}")
        attached = rest.pop(0)
    if option.kind == "expression":
        while rest and not rest[0].startswith("--"):
            attached += f" {rest.pop(0)}"
    return _value(command, option, attached)


def _arguments(command: Command, positional: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for argument in command.arguments:
        if not positional:
            if argument.required:
                raise WordError(command, f"{argument.name} is missing")
            break
        word = " ".join(positional) if argument.kind == "address" else positional[0]
        positional = [] if argument.kind == "address" else positional[1:]
        values[argument.key] = _value(command, argument, word)
    if positional:
        raise WordError(command, f'"{positional[0]}" is one word too many')
    return values


def _require_alone(command: Command, values: dict[str, Any]) -> None:
    """An option that selects another form goes with no other word but --json; of outputs there is one."""
    outputs = [option.name for option in _OUTPUTS if option.key in values]
    if len(outputs) > 1:
        raise WordError(command, f"{outputs[0]} does not go with {outputs[1]}")
    for option in command.options:
        if option.form is not None and option.key in values and not values.keys() <= {option.key, "json"}:
            raise WordError(command, f"{option.name} goes with no other word but --json")


def _value(command: Command, parameter: Parameter, text: str) -> Any:
    if parameter.kind == "address":
        return _address(command, text)
    if parameter.kind == "command":
        return text
    text = _unquoted(text) if parameter.kind == "expression" else text.strip("'\"")
    if parameter.kind == "number":
        return _number(command, parameter, text)
    matching = [choice for choice in parameter.choices if choice.lower() == text.lower()]
    if parameter.kind == "range":
        return matching[0] if matching else _range(command, text)
    if not text:
        raise WordError(command, f"{parameter.metavar} is empty")
    if parameter.choices and text not in parameter.choices:
        if not matching:
            raise _not_a_choice(command, parameter, text)
        return matching[0]
    return text


def _unquoted(text: str) -> str:
    """An expression without the quotes around all of it: it may have others inside."""
    quoted = re.fullmatch(r"""\s*('[^']*'|"[^"]*")\s*""", text)
    return quoted[1][1:-1] if quoted else text


def _number(command: Command, parameter: Parameter, text: str) -> int:
    found = _address(command, text)
    if not isinstance(found, int):
        raise WordError(
            command, f'"{text}" is not a number: {parameter.metavar} is decimal, or hexadecimal as 0x1f'
        )
    if parameter.choices and str(found) not in parameter.choices:
        raise _not_a_choice(command, parameter, text)
    return found


def _address(command: Command, text: str, largest: int = LARGEST) -> int | str:
    """A number's value, or the text of an expression."""
    found = number(text)
    if found is not None and found > largest:
        raise WordError(command, f'"{text}" has more than 64 bits')
    return text if found is None else found


def _not_a_choice(command: Command, parameter: Parameter, text: str) -> WordError:
    return WordError(command, f'"{text}" is not one of {", ".join(parameter.choices)}')


def _range(command: Command, text: str) -> tuple[int | str | None, ...]:
    start, dots, end = text.partition("..")
    if dots and start and end:
        return _address(command, start), _address(command, end, LARGEST + 1)  # It is exclusive.
    start, plus, size = text.rpartition("+")
    if not dots and plus and start and size:
        return _address(command, start), None, _address(command, size)
    raise WordError(command, f'"{text}" is not a range: give START..END or START+SIZE')


_TAKING = ("address", "command")


class GdbWords:
    """Stands for the words that GDB itself offers after one of its commands."""

    def __init__(self, command: str) -> None:
        self.command = command


EXPRESSION = GdbWords("print")
FILE = GdbWords("core-file")
COMMAND = GdbWords("")
"""What GDB offers for a whole line."""


def complete(
    command: Command, text: str, values: Callable[[Parameter], Iterable[str]]
) -> list[str] | GdbWords:
    """What the last word of `text`, typed after the command, can become.

    `values` returns the values to offer for a parameter now. For an address or a file GDB's own completion is
    to be used instead.
    """
    typed = text.rpartition(" ")[2]
    asking = None if typed.startswith("--") and "=" not in typed else _asking(command, text)
    if asking is not None:
        return _about_list(command, *asking, typed, is_grouped=GROUP.name in text)
    before = split(text[: len(text) - len(typed)])
    parameter, offered = _expected(command, before, typed)
    if parameter is not None and parameter.kind in ("address", "range") and not typed.startswith("-"):
        return [choice for choice in parameter.choices if choice.startswith(typed)] or EXPRESSION
    if parameter is not None and parameter.kind == "command" and not text.lstrip().startswith("-"):
        return COMMAND
    if parameter is not None and parameter.kind == "file" and not typed.startswith("-"):
        # Where a file may have another name too, that is offered once it is begun.
        named = values(parameter) if typed and parameter.complete is not None else ()
        return [value for value in named if value.startswith(typed)] or FILE
    if parameter is not None:
        offered = [*offered, *values(parameter)]
    name, equals, start = typed.partition("=")
    if equals:
        return [f"{name}={value}" for value in offered if value.startswith(start)]
    return [value for value in offered if value.startswith(typed)]


def _asking(command: Command, text: str) -> tuple[Option, str] | None:
    """The option about the command's list whose value is being typed, and the value so far."""
    *_, last = (None, *re.finditer(r"(?<!\S)(--[\w-]+)[= ]", text))
    option = next((one for one in command.options if last is not None and one.name == last[1]), None)
    if last is None or option is None or option.kind not in ("expression", "fields"):
        return None
    value = text[last.end() :]
    return None if option.kind == "fields" and " " in value else (option, value)


def _about_list(command: Command, option: Option, value: str, typed: str, *, is_grouped: bool) -> list[str]:
    """What `typed`, the last word of the value of an option about the list, can become."""
    from gdbplugin.query import completion

    if option.kind == "expression":
        found = completion.expressions(command.form.schema, value)
    else:
        found = completion.names(command.form.schema, value, is_grouped=is_grouped)
    start = len(value) - len(value.rpartition(" ")[2])
    before = typed[: len(typed) - (len(value) - start)]
    return [before + one[start:] for one in found]


def _expected(command: Command, before: list[str], typed: str) -> tuple[Parameter | None, list[str]]:
    """The parameter whose value is typed, and the options that can stand there instead."""
    options = {option.name: option for option in command.options}
    last = options.get(before[-1]) if before else None
    if last is not None and last.kind != "flag":
        return last, []
    name, equals, _ = typed.partition("=")
    if equals:
        return options.get(name), []
    given = {word.partition("=")[0] for word in before} - {name for name in options if options[name].repeated}
    if any(option.name in given for option in _OUTPUTS):
        given |= {option.name for option in _OUTPUTS}
    position = _count_positional(options, before)
    # An address, and a command of GDB, take all words that follow.
    taking = [argument for argument in command.arguments[:position] if argument.kind in _TAKING]
    expected = (*taking, *command.arguments[position : position + 1], None)[0]
    return expected, [name for name in options if name not in given]


def _count_positional(options: dict[str, Option], before: Iterable[str]) -> int:
    count, is_value = 0, False
    in_expression = False
    for word in before:
        if word.startswith("--"):
            option = options.get(word.partition("=")[0])
            in_expression = option is not None and option.kind == "expression"
            is_value = "=" not in word and option is not None and option.kind != "flag"
        elif is_value or in_expression:
            is_value = False
        else:
            count += 1
    return count
