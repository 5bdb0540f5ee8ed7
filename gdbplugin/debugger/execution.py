"""Running a command: its words parsed, its object read, its view written, its errors made one line each."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gdb

from gdbplugin.debugger import stop
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.target import Kernel
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import MachineError
from gdbplugin.render.style import Style

if TYPE_CHECKING:
    from gdbplugin.debugger.command import Command


def run(command: Command, argument: str) -> None:
    """Run a command; whatever goes wrong with the target or the words becomes a `gdb.GdbError`."""
    with _errors_in_one_line():
        given = _flags(command, gdb.string_to_argv(argument))
        view = importlib.import_module(command.view)
        shown, journal = _read(command)
        if "--json" in given:
            gdb.write(_json(command, shown, journal) + "\n")
        else:
            gdb.write(view.text(shown, journal, Style(encoding=gdb.host_charset())))


def as_json(command: Command, arguments: Sequence[str]) -> str:
    """A command's object as JSON; errors as in `run`."""
    with _errors_in_one_line():
        _flags(command, arguments)
        return _json(command, *_read(command))


def _read(command: Command) -> tuple[Any, Journal]:
    """The command's object, and what was noticed on the way."""
    journal = Journal()
    with stop.machine() as machine:
        kernel = Kernel(machine, stop.layout(machine), journal)
        return _resolve(command.reader)(kernel), journal


def _json(command: Command, shown: Any, journal: Journal) -> str:
    view = importlib.import_module(command.view)
    content = {"schema": command.schema, "findings": _findings(journal), "notes": journal.notes}
    content.update(view.content(shown, journal))
    return json.dumps(content)


def _findings(journal: Journal) -> list[dict[str, str]]:
    return [vars(finding) for finding in journal.findings]


def _resolve(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _flags(command: Command, words: Sequence[str]) -> set[str]:
    """The options given; an error that names the word and the usage for anything else."""
    for word in words:
        if word not in command.flags:
            usage = " ".join(f"[{flag}]" for flag in command.flags)
            raise gdb.GdbError(
                f'tinyos {command.word}: "{word}" is not understood. Usage: tinyos {command.word} {usage}'
            )
    return set(words)


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """GDB prints only `GdbError` as a plain message, so what may be expected to go wrong becomes one."""
    try:
        yield
    except (MachineError, LayoutError) as error:
        raise gdb.GdbError(str(error)) from error
    except gdb.GdbError:
        raise
    except (gdb.error, gdb.MemoryError) as error:
        raise gdb.GdbError(f"GDB could not do it: {error}") from error
    except UnicodeEncodeError as error:
        raise gdb.GdbError(f"the host charset cannot show this: {error}") from error
