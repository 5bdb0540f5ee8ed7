"""The plugin's objects as a session returns them: what each `tinyos` command shows, as a frozen dataclass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from gdbplugin.commands import (
    check,
    context,
    events,
    fault,
    lazy,
    maps,
    pressure,
    registers,
    report,
    stacks,
    stats,
    translate,
)
from gdbplugin.commands.descriptor import Parameter
from gdbplugin.kernel.target import Target
from gdbplugin.session.target import SessionTarget

_Parameters = ParamSpec("_Parameters")
_Object = TypeVar("_Object")


class Readable(Protocol):
    """A session, as far as objects are read from it."""

    def reading(self) -> AbstractContextManager[SessionTarget]:
        """The stopped target; held still for the length of the `with` if it runs."""


def _method(
    read: Callable[Concatenate[Target, _Parameters], _Object],
) -> Callable[Concatenate[Readable, _Parameters], _Object]:
    """A method that reads what a command reads."""

    @functools.wraps(read)
    def method(session: Readable, /, *arguments: _Parameters.args, **words: _Parameters.kwargs) -> _Object:
        with session.reading() as target:
            return read(target, *arguments, **words)

    return method


class Objects:
    """What the plugin shows, as values. Each method is one `tinyos` command, its arguments the command's.

    A running target is held still for the moment. An address may be an expression of GDB's. The `findings`
    and `notes` of what is returned are those that the command prints; the list-like ones can be iterated.
    Raises `ReadFailedError` where there is no such object, or the session's other errors.
    """

    check = _method(check.read)
    context = _method(context.read)
    events = _method(events.read)
    fault = _method(fault.read)
    lazy = _method(lazy.read)
    maps = _method(maps.read)
    pressure = _method(pressure.read)
    registers = _method(registers.read)
    report = _method(report.read)
    stacks = _method(stacks.read)
    stats = _method(stats.read)
    translate = _method(translate.read)

    def offered_values(self: Readable, parameter: Parameter) -> list[str]:
        """The values to offer when a parameter of a command is completed, such as the IDs of stacks."""
        if parameter.complete is None:
            return list(parameter.choices)
        with self.reading() as target:
            return [str(value) for value in parameter.complete(target)]
