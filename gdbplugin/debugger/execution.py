"""Running a command: its words parsed, its object read, its view written, its errors made one line each."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence

import gdb

from gdbplugin.debugger import stop, words
from gdbplugin.debugger.text import failure, not_decoded, write
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.stopped import Stopped
from gdbplugin.kernel.target import Kernel, SelectionError, WrongWordError
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import Machine, MachineError
from gdbplugin.render.style import Style, is_dumb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.debugger.command import Command, Form


_WIDEST = Style().width
"""A table is no wider than this anyway."""


def run(command: Command, argument: str) -> None:
    """Run a command; whatever goes wrong with the target or the words becomes a `gdb.GdbError`."""
    with _errors_in_one_line(command):
        given = words.parse(command, words.split(argument))
        form = command.form(given)
        shown, journal = _read(command, form, _with_limit(command, form, given), quiet="json" in given)
        if "json" in given:
            gdb.write(_json(form, shown, journal) + "\n")
        else:
            chosen = style()
            write(importlib.import_module(form.view).text(shown, journal, chosen), chosen)
        _be_strict(command, given, journal)


def as_json(command: Command, arguments: Sequence[str]) -> str:
    """A command's object as JSON; errors as in `run`."""
    with _errors_in_one_line(command):
        given = words.parse(command, arguments)
        form = command.form(given)
        shown, journal = _read(command, form, given, quiet=True)
        _be_strict(command, given, journal)
        return _json(form, shown, journal)


def style() -> Style:
    """What the user's terminal can show, as `set tinyos`, GDB's own settings and NO_COLOR have it."""
    encoding = {"on": "utf-8", "off": "ascii"}.get(_setting("unicode"), gdb.host_charset())
    colour = {"on": True, "off": False}.get(_setting("color"))
    if colour is None:
        colour = (
            bool(gdb.parameter("style enabled"))
            and not os.environ.get("NO_COLOR")
            and not is_dumb(os.environ)
            and os.isatty(1)
        )
    # 0 in GDB's words, None in Python's: unlimited. Without a terminal GDB supposes one of 80 columns.
    width = int(gdb.parameter("tinyos width") or (os.isatty(1) and gdb.parameter("width")) or 0)
    return Style(encoding, colour, width) if 0 < width < _WIDEST else Style(encoding, colour)


def _setting(name: str) -> str:
    return str(gdb.parameter(f"tinyos {name}"))


def _with_limit(command: Command, form: Form, given: dict[str, Any]) -> dict[str, Any]:
    """The words given, and the user's own limit where the command takes one that was not given."""
    limit = gdb.parameter("tinyos limit")
    takes_one = any(option.key == "limit" for option in command.options)
    if not limit or not takes_one or "json" in given or form.reader != command.reader:
        return given
    return {"limit": limit, **given}


def stopped(machine: Machine, journal: Journal) -> Stopped:
    """The stopped machine, for what works whatever runs on it."""
    return Stopped(machine, stop.selected_core(), journal, lambda: find_kernel(machine, journal))


def find_kernel(machine: Machine, journal: Journal) -> Kernel:
    """TinyOS on the stopped machine; raises a `MachineError` where it is not that."""
    return Kernel(machine, stop.layout(machine), journal, stop.history(), stop.decoded())


def _read(command: Command, form: Form, given: dict[str, Any], quiet: bool) -> tuple[Any, Journal]:
    """The form's object, and what was noticed on the way. `quiet` where only a program listens."""
    not_read = {option.key for option in command.all_options if not option.reads or option.form is form}
    values = {key: value for key, value in given.items() if key not in not_read}
    _require_alone(command, form, values)
    journal = Journal()
    module, _, function = form.reader.partition(":")
    reader = getattr(importlib.import_module(module), function)
    if form.needs == "journal":
        return reader(journal, quiet, **values), journal
    machine = stop.machine()
    if form.needs == "stopped":
        return reader(stopped(machine, journal), **values), journal
    return reader(find_kernel(machine, journal), **values), journal


def _require_alone(command: Command, form: Form, values: dict[str, Any]) -> None:
    """An option that selects another form goes with none of the reader's words."""
    selecting = next((option for option in command.options if option.form is form), None)
    if selecting is not None and values:
        raise words.WordError(command, selecting.name, "goes with no other word but --json")


def _be_strict(command: Command, given: dict[str, Any], journal: Journal) -> None:
    if "strict" in given and journal.finding_count:
        count = journal.finding_count
        raise failure(f"tinyos {command.word}: {count:,} finding{'s' if count > 1 else ''}")


def _json(form: Form, shown: Any, journal: Journal) -> str:
    view = importlib.import_module(form.view)
    content = {"schema": form.schema, "findings": _findings(journal), "notes": journal.notes}
    content.update(view.content(shown, journal))
    dumped: str = importlib.import_module("gdbplugin.render.encoding").dumps(content)
    return dumped


def _findings(journal: Journal) -> list[dict[str, str]]:
    return [vars(finding) for finding in journal.findings]


@contextlib.contextmanager
def _errors_in_one_line(command: Command) -> Iterator[None]:
    """GDB prints only `GdbError` as a plain message, so what may be expected to go wrong becomes one."""
    try:
        yield
    except WrongWordError as error:
        raise words.WordError(command, error.word, error.reason) from error
    except SelectionError as error:
        raise failure(f"tinyos {command.word}: {error}. Usage: {command.usage}") from error
    except (MachineError, LayoutError) as error:
        raise failure(str(error)) from error
    except gdb.GdbError:
        raise
    except (gdb.error, gdb.MemoryError) as error:
        raise failure(f"GDB could not do it: {error}") from error
    except UnicodeDecodeError as error:
        raise not_decoded(error) from error
