"""The lines of Python that give what a command gives: what `--python` prints."""

from __future__ import annotations

import os

from gdbplugin.commands.descriptor import ASKING, CORE, CSV
from gdbplugin.machine import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gdbplugin.commands.descriptor import Command
    from gdbplugin.kernel.target import Target

_LEAST_HEXADECIMAL = 1 << 16


def lines(command: Command, values: Mapping[str, Any], target: Target) -> str:
    """A program that gives the object, or the rows, that the values ask for. Raises `SelectionError`.

    Nothing is read: only how a session with this target begins, and the core that is selected.
    """
    method, given = f"tinyos.{command.word}", []
    if command.asks(dict(values)):
        method, given = "tinyos.table", _asked(command, values)
    words = command.words(dict(values)) | _selected_core(command, values, target)
    kinds = {parameter.key: parameter.kind for parameter in (*command.arguments, *command.options)}
    given += [f"{name}={literal(value, kinds[name])}" for name, value in words.items()]
    return (
        "from gdbplugin.session import TinyOS\n\n"
        f"with {target.session_code} as tinyos:\n"
        f"    found = {method}({', '.join(given)})\n"
    )


def _asked(command: Command, values: Mapping[str, Any]) -> list[str]:
    """The arguments of `TinyOS.table` that ask a question about the command's list."""
    from gdbplugin.commands import answers

    answers.question(command, dict(values))  # A mistake in it is said now.
    keys = [option.key for option in ASKING if option is not CSV and option.key in values]
    return [f'"{command.word}"', *(f"{key}={literal(values[key])}" for key in keys)]


def _selected_core(command: Command, values: Mapping[str, Any], target: Target) -> dict[str, int]:
    """The core that the command would use and a new session would not: another than the first."""
    chosen = any(argument.key in values and argument.kind == "text" for argument in command.arguments)
    if CORE not in command.options or chosen or not values.keys().isdisjoint(("core", "all")):
        return {}
    try:
        core = target.core
    except MachineError:
        return {}  # Nothing is stopped: none is selected.
    return {"core": core} if core else {}


def call(method: str, *arguments: object, **words: object) -> str:
    """The text of a call; what is None, False or empty is left out."""
    given = [literal(argument) for argument in arguments]
    given += [f"{name}={literal(value)}" for name, value in words.items() if value]
    return f"{method}({', '.join(given)})"


def shown_path(path: str) -> str:
    """A path as a person would write it: relative to the current directory if it is in there."""
    here = os.path.join(os.getcwd(), "")
    return os.path.join(here, path).removeprefix(here) or os.curdir if path else ""


def literal(value: object, kind: str = "") -> str:
    """A value as Python has it: addresses hexadecimal, texts in double quotes where they can be."""
    if isinstance(value, tuple):
        parts = [literal(part, kind) for part in value]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(name)}: {literal(one, kind)}' for name, one in value.items())}}}"
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value) if kind in ("address", "range") or value >= _LEAST_HEXADECIMAL else str(value)
    if isinstance(value, str) and value.isprintable() and not set(value) & set('"\\'):
        return f'"{value}"'
    return repr(value)
