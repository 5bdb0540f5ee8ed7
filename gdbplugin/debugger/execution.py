"""Runs a command: parses its arguments, reads its object, shows it, and turns errors into one line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import gdb

from gdbplugin.commands import parsing
from gdbplugin.debugger.target import GdbTarget
from gdbplugin.debugger.text import failure, not_decoded, write
from gdbplugin.kernel.kernel import SelectionError
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import MachineError
from gdbplugin.render.style import Style, is_dumb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.commands.descriptor import Command, Parameter
    from gdbplugin.kernel.journal import Noticed

# The width of the widest view.
_WIDEST = Style().width


def run(command: Command, argument: str) -> None:
    """Run a command for a user; errors of the target or the arguments become a `gdb.GdbError`."""
    with _errors_in_one_line(command):
        values = parsing.parse(command, parsing.split(argument))
        shown = command.read(GdbTarget(quiet="json" in values), _with_limit(command, values))
        if "json" in values:
            gdb.write(_json(command, values, shown) + "\n")
        else:
            chosen = style()
            write(command.form_for(values).show(shown, chosen), chosen)
        _be_strict(command, values, shown)


def as_json(command: Command, words: Sequence[str]) -> str:
    """A command's object as JSON; errors as in `run`."""
    with _errors_in_one_line(command):
        values = parsing.parse(command, words)
        shown = command.read(GdbTarget(quiet=True), values)
        _be_strict(command, values, shown)
        return _json(command, values, shown)


def complete(command: Command, text: str, word: str) -> list[str] | int:
    """The completions of `word`, the last part of `text`, in the form that `gdb.Command.complete` returns."""
    offered = parsing.complete(command, text, offered_values)
    if isinstance(offered, parsing.Expression):
        return gdb.COMPLETE_EXPRESSION
    # GDB also breaks words at dashes and equals signs: `word` may be only the end of what was typed.
    head = len(text.rpartition(" ")[2]) - len(word)
    return [value[head:] for value in offered]


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
    return {"limit": limit, **values} if limit and takes_one and "json" not in values else values


def _be_strict(command: Command, values: dict[str, Any], shown: Noticed) -> None:
    count = shown.journal.finding_count
    if "strict" in values and count:
        raise failure(f"tinyos {command.word}: {count:,} finding{'s' if count > 1 else ''}")


def _json(command: Command, values: dict[str, Any], shown: Noticed) -> str:
    from gdbplugin.commands.encoding import to_json

    return to_json(command.form_for(values).schema, shown)


@contextlib.contextmanager
def _errors_in_one_line(command: Command) -> Iterator[None]:
    """Turn every expected error into a `gdb.GdbError`: GDB prints only those as a plain message."""
    try:
        yield
    except parsing.WordError as error:
        raise failure(str(error)) from error
    except SelectionError as error:
        raise failure(f"tinyos {command.word}: {error}. Usage: {command.usage}") from error
    except (MachineError, LayoutError) as error:
        raise failure(str(error)) from error
    except gdb.GdbError:
        raise
    except (gdb.error, gdb.MemoryError) as error:
        raise failure(f"GDB failed: {error}") from error
    except UnicodeDecodeError as error:
        raise not_decoded(error) from error
