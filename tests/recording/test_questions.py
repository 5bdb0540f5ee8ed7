"""Questions about lists of the past, and the lines of Python that ask them, on a recorded machine."""

from __future__ import annotations

import json

import pytest

from gdbplugin.commands import COMMANDS
from gdbplugin.commands.descriptor import to_json
from gdbplugin.query.fields import fields_of
from gdbplugin.query.question import Table
from gdbplugin.session import QemuOptions, TinyOS
from tests.schemas.validation import validate

BY_WORD = {command.word: command for command in COMMANDS}
PAGE = 0x2000_0000_4000


@pytest.fixture(scope="module")
def recorded(tinyos_kernel):
    """A machine that is recorded, held still."""
    with TinyOS.boot(options=QemuOptions(kernel=tinyos_kernel, record=True)) as machine:
        machine.shell("hold")
        machine.interrupt()
        yield machine


class Shared:
    """A session in a `with` that does not end it."""

    def __init__(self, session):
        self._session = session

    def __enter__(self):
        return self._session

    def __exit__(self, *_):
        pass


LINES = (
    "checkpoints",
    "checkpoints --sort -instructions",
    "checkpoints --columns id,records",
    "diff now now",
    "diff now now --where 'kind == \"stacks\"'",
    f"history --page {PAGE:#x}",
    f"history --page {PAGE:#x} --where 'kind == \"store\" and before != after' --sort -instructions",
    f"history --page {PAGE:#x} --group function",
    f"history --page {PAGE:#x} --n 3 --columns number,event.kind,what",
    "recording",
    "recording --columns start,end",
    "tlb",
    "tlb --where 'what != \"\"'",
)


@pytest.mark.parametrize("line", LINES)
def test_the_lines_of_python_give_the_same(recorded, line, monkeypatch):
    with recorded.stopped() as debugger:
        printed = recorded.json(line)
        program = debugger.execute(f"tinyos {line} --python")
        assert "record=True" in program
        monkeypatch.setattr(TinyOS, "boot", lambda *_, **__: Shared(recorded))
        names = {}
        exec(program, names)
    found = names["found"]
    command = BY_WORD[line.split()[0]]
    validate(printed)
    if isinstance(found, Table):
        rows = printed["rows"] if printed["schema"] == "tinyos.table/1" else _rows(printed, found.of)
        assert [dict(row) for row in found] == rows
    else:
        assert json.loads(to_json(command.form.schema, found)) == printed


def _rows(printed, schema):
    for step in fields_of(schema).path:
        printed = printed[step]
    return printed


def test_the_newest_changes_that_match(recorded):
    changes = [one for one in recorded.history(page=PAGE, n=10_000) if one.kind == "store"]
    found = recorded.table("history", page=PAGE, where='kind == "store"', n=2)
    assert [row["number"] for row in found] == [one.number for one in changes[-2:]]
    assert found.matching == len(changes) > 2
    functions = recorded.table("history", page=PAGE, group="kind")
    assert sum(row["rows"] for row in functions) == functions.total
