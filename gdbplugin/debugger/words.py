"""The words of a user: what they are as values, or which of them is wrong and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import gdb

from gdbplugin.debugger import interrupts, stop
from gdbplugin.debugger.text import failure, fitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.debugger.command import Argument, Command, Option, Word

# Compiled where they are first used: most commands are given without any word.
_WORD = r"""(?:'[^']*'|"[^"]*"|\S)+"""
_NUMBER = r"(?:0[xX][0-9a-fA-F_]{1,40}|[0-9][0-9_]{0,40})\Z"
_ADDRESS_MASK = (1 << 64) - 1
_DIGITS = r"(?<![\w$])[0-9][0-9a-zA-Z_]{40,}"
_TOO_LARGE = "has more than 64 bits"
# Of an expression: what would write or call. `==`, `!=`, `<=` and `>=` only compare.
_CHANGES = r"\+\+|--|(?<![=!<>])=(?!=)|<<=|>>="
_CALLS = r"(?<![\w$:])(?!sizeof\b|alignof\b|_Alignof\b|as\b)[A-Za-z_][\w:]*\s*\("


class WordError(gdb.GdbError):
    """A word that the command does not take. The message names the word and the usage."""

    def __init__(self, command: Command, word: str, reason: str) -> None:
        super().__init__(fitted(f'tinyos {command.word}: "{word}" {reason}. Usage: {command.usage}'))


class ExpressionError(Exception):
    """An expression that stands for no address. The message goes on where the expression ends."""


def split(text: str) -> list[str]:
    """The words of a command line; quotes are kept, for in an expression they mean something."""
    return re.findall(_WORD, text)


def parse(command: Command, words: Sequence[str]) -> dict[str, Any]:
    """The values of the words given, by their keys. Raises `WordError`."""
    options = {option.name: option for option in command.all_options}
    given: dict[str, Any] = {}
    places: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            places.append(word)
            continue
        name, equals, value = word.partition("=")
        option = options.get(name)
        if option is None:
            raise WordError(command, word, "is not understood")
        if option.key in given:
            raise WordError(command, name, "is given twice")
        given[option.key] = _option_value(command, option, value if equals else None, rest)
    given.update(_arguments(command, places))
    return given


def _option_value(command: Command, option: Option, attached: str | None, rest: list[str]) -> Any:
    if option.kind == "flag":
        if attached is not None:
            raise WordError(
                command, f"{option.name}={attached}", f"is too much: {option.name} takes no value"
            )
        return True
    if attached is None:
        if not rest or rest[0].startswith("--"):
            raise WordError(command, option.name, f"needs a value, {option.metavar}")
        attached = rest.pop(0)
    return value(command, option, attached)


def _arguments(command: Command, places: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for argument in command.arguments:
        if not places:
            if argument.required:
                raise _missing(command, argument)
            break
        word = " ".join(places) if argument.kind == "address" else places[0]
        places = [] if argument.kind == "address" else places[1:]
        given[argument.key] = value(command, argument, word)
    if places:
        raise WordError(command, places[0], "is not understood")
    return given


def _missing(command: Command, argument: Argument) -> gdb.GdbError:
    return failure(f"tinyos {command.word}: {argument.name} is missing. Usage: {command.usage}")


def value(command: Command, word: Word, text: str) -> Any:
    """What a word stands for. Raises `WordError`."""
    if word.kind != "address":
        text = text.strip("'\"")
    if word.kind == "number":
        number = _number(command, word, text)
        if word.choices and str(number) not in word.choices:
            raise WordError(command, text, f"is none of {', '.join(word.choices)}")
        return number
    if word.choices and text not in word.choices:
        matching = [choice for choice in word.choices if choice.lower() == text.lower()]
        if not matching:
            raise WordError(command, text, f"is none of {', '.join(word.choices)}")
        text = matching[0]
    if word.kind == "address":
        return address(command, text)
    if word.kind == "range":
        return _range(command, text)
    return text


def _number(command: Command, word: Word, text: str) -> int:
    if not re.match(_NUMBER, text):
        raise WordError(command, text, f"is no number: {word.metavar} is decimal, or hexadecimal as 0x1f")
    found = _integer(text)
    if found > _ADDRESS_MASK:
        raise WordError(command, text, _TOO_LARGE)
    return found


def _integer(text: str) -> int:
    return int(text.replace("_", ""), 16 if text[:2] in ("0x", "0X") else 10)


def _range(command: Command, text: str) -> tuple[int, int]:
    """Start and exclusive end."""
    start_text, dots, end_text = text.partition("..")
    size_text = ""
    if not dots:
        start_text, _, size_text = text.rpartition("+")
    if not start_text or not (end_text or size_text):
        raise WordError(command, text, "is no range: give START..END or START+SIZE")
    start = address(command, start_text)
    end = start + address(command, size_text) if size_text else address(command, end_text)
    if end <= start:
        raise WordError(command, text, "is a range of nothing: END, exclusive, is not beyond START")
    return start, end


def address(command: Command, text: str) -> int:
    """What `expression` makes of a word. Raises `WordError`."""
    try:
        return expression(text)
    except ExpressionError as error:
        raise WordError(command, text, str(error)) from error


def expression(text: str) -> int:
    """A number, or what GDB makes of an expression that neither writes nor calls.

    What lies in memory as a whole, a function or a struct, stands for the address where it lies. Raises
    `ExpressionError`, and `NoTargetError` for one that cannot be had while the target runs.
    """
    if re.match(_NUMBER, text):
        found = _integer(text)
        if found > _ADDRESS_MASK:
            raise ExpressionError(_TOO_LARGE)
        return found
    if re.search(_DIGITS, text):
        raise ExpressionError(_TOO_LARGE)  # Before GDB, which very many digits make abort.
    if re.search(_CHANGES, text) or re.search(_CALLS, text):
        raise ExpressionError("would assign or call something, which no expression here may")
    try:
        return _evaluate(text) if _MAY_CALL.isdisjoint(text) else _evaluate_without_calls(text)
    except (gdb.error, gdb.MemoryError, OverflowError, ValueError) as error:
        stop.require_not_running()
        raise ExpressionError(f"is no address: {str(error).rstrip('.')}") from error


def _evaluate(text: str) -> int:
    found = gdb.parse_and_eval(text)
    if found.type.strip_typedefs().code in _WHOLE and found.address is not None:
        found = found.address
    return int(found) & _ADDRESS_MASK


def _evaluate_without_calls(text: str) -> int:
    """What GDB makes of an expression while it may not have the target run a function.

    There are more ways to call one than the text tells: through a pointer, a convenience variable, or
    for a string. `with` gives the user's setting back.
    """
    outcome: list[int | Exception] = []

    def evaluate() -> None:
        try:
            outcome.append(_evaluate(text))
        except (gdb.error, gdb.MemoryError, OverflowError, ValueError) as error:
            # GDB would print it, and the traceback, where it was raised; it is raised again outside.
            outcome.append(error)

    _pending.append(evaluate)
    try:
        # Within GDB's own `python`, Ctrl-C would come out as an error in Python.
        with interrupts.held():
            # The user's Python gets no name by it.
            call = f"__import__({__name__!r}, fromlist=['']).run_pending()"
            gdb.execute(f"with may-call-functions off -- python {call}", to_string=True)
    finally:
        _pending.clear()
    (found,) = outcome
    if isinstance(found, Exception):
        raise found
    return found


_pending: list[Callable[[], None]] = []


def run_pending() -> None:
    """Called back through GDB, while functions may not be called."""
    for action in _pending:
        action()


# What an expression that could have a function called has in it.
_MAY_CALL = frozenset("({\"'")
_WHOLE = (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION, gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_FUNC)
