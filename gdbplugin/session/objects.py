"""What a session can show: a method for each command that reads, and moments to compare."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from gdbplugin.commands import (
    COMMANDS,
    answers,
    back,
    backtrace,
    check,
    checkpoint,
    checkpoints,
    context,
    diff,
    during,
    events,
    fault,
    history,
    lazy,
    lint,
    maps,
    pressure,
    recording,
    registers,
    report,
    rewind,
    search,
    stacks,
    stats,
    tasks,
    tlb,
    translate,
    where,
    writer,
)
from gdbplugin.commands.parsing import LARGEST
from gdbplugin.kernel.during import During
from gdbplugin.kernel.moment import Moment
from gdbplugin.kernel.target import Target
from gdbplugin.moments import read_difference, read_now
from gdbplugin.query.question import Table
from gdbplugin.render import Style
from gdbplugin.session.connection import Connection
from gdbplugin.session.errors import ReadFailedError
from gdbplugin.session.mi import COMMAND_SECONDS
from gdbplugin.words import nearest

_Parameters = ParamSpec("_Parameters")
_Object = TypeVar("_Object")


def _method(
    read: Callable[Concatenate[Target, _Parameters], _Object],
) -> Callable[Concatenate[Objects, _Parameters], _Object]:
    """A method that returns what a command reads."""

    @functools.wraps(read)
    def method(session: Objects, /, *arguments: _Parameters.args, **words: _Parameters.kwargs) -> _Object:
        _require_numbers(*arguments, *words.values())
        with session.stopped_target() as target:
            return read(target, *arguments, **words)

    return method


def _require_numbers(*values: object) -> None:
    """Raise a `ReadFailedError` for a number that the command would not take."""
    for value in values:
        if isinstance(value, int) and not 0 <= value <= LARGEST:
            raise ReadFailedError(f"{value} is not a number from 0 to {LARGEST:#x}")


class Objects(Connection):
    """The methods that are named like a `tinyos` command return the object that the command shows.

    Their arguments are the command's. A running target is stopped for a moment.
    """

    back = _method(back.read)
    backtrace = _method(backtrace.read)
    check = _method(check.read)
    checkpoint = _method(checkpoint.read)
    checkpoints = _method(checkpoints.read)
    context = _method(context.read)
    diff = _method(diff.read)
    events = _method(events.read)
    fault = _method(fault.read)
    history = _method(history.read)
    lazy = _method(lazy.read)
    lint = _method(lint.read)
    maps = _method(maps.read)
    pressure = _method(pressure.read)
    recording = _method(recording.read)
    registers = _method(registers.read)
    report = _method(report.read)
    rewind = _method(rewind.read)
    search = _method(search.read)
    stacks = _method(stacks.read)
    stats = _method(stats.read)
    tasks = _method(tasks.read)
    tlb = _method(tlb.read)
    translate = _method(translate.read)
    where = _method(where.read)
    writer = _method(writer.read)

    def table(
        self,
        command: str,
        *,
        where: str | None = None,
        sort: str | None = None,
        group: str | None = None,
        columns: str | None = None,
        **words: Any,
    ) -> Table:
        """The rows of a command's list: `table("lazy", where="access_count > 3", sort="-access_count")`.

        The command is one that has `--where` and the like; they mean the same here. `words` are its other
        parameters, as its own method takes them. Each row is a dict as `--json` has it; with `columns` or
        `group` its keys are the columns. Raises `ReadFailedError` for a mistake in them.
        """
        found = next((one for one in COMMANDS if one.word == command and one.form.rows is not None), None)
        if found is None:
            known = [one.word for one in COMMANDS if one.form.rows is not None]
            raise ReadFailedError(f"no list {command}{nearest(command, known)} (known: {', '.join(known)})")
        _require_numbers(*words.values())
        asked = {"where": where, "sort": sort, "group": group, "columns": columns}
        with self.stopped_target() as target:
            return answers.table(found, target, {**asked, **words})

    def during(
        self,
        command: str,
        *,
        kind: Sequence[str] = (),
        limit: int | None = None,
        timeout: float = COMMAND_SECONDS,
        until_interrupted: bool = False,
    ) -> During:
        """Carry out a command of GDB, and return what changed during it, also if it fails.

        After `timeout` seconds the machine is stopped; with `until_interrupted` by Ctrl-C too, which then
        raises nothing. `error` of the result says so.
        """
        with self.stopped_target() as target:
            target.limit_commands(timeout, until_interrupted)
            return during.read(target, command, kind=kind, limit=limit)

    def moment(self) -> Moment:
        """Everything that `diff` compares, as it is now. It stays so while the machine runs on."""
        with self.stopped_target() as target:
            return read_now(target, "an earlier moment")

    @contextlib.contextmanager
    def unchanged(self, *kinds: str) -> Iterator[None]:
        """Raise an `AssertionError` with the difference if the `with` changes an object of these kinds.

        They are those of `diff`: `unchanged("stacks", "mappings")`; without any, all but counters. What only
        counts, and times, may change, unless `"counters"` is given.
        """
        before = self.moment()
        yield
        with self.stopped_target() as target:
            found = read_difference(target, before, None, kinds).of_states("counters" in kinds)
            if found:
                raise AssertionError(diff.show(found, Style("ascii")))
