"""Questions about the hits of `tinyos search`: all of them are read, up to a bound that is said."""

from __future__ import annotations

import json

import pytest

from gdbplugin.commands import answers, parsing, search
from gdbplugin.kernel.target import Target
from gdbplugin.render import Style
from tests.commands.test_search import MARK, Stored
from tests.kernel.stopped import stopped_world
from tests.schemas.validation import validate

START = 0x20_0000
MARKS = 200


@pytest.fixture(autouse=True)
def marked(monkeypatch):
    """Memory with so many marks, one behind the other."""
    page = MARK.to_bytes(8, "little") * MARKS
    monkeypatch.setattr(Target, "stored_memory", lambda _: Stored({START: page.ljust(4096, b"\0")}))


def asked(line):
    """What a search for the mark prints."""
    command = search.COMMAND
    values = parsing.parse(command, parsing.split(f"{MARK:#x} {line}"))
    question = answers.question(command, values)
    return answers.printed(question, values, command.read(stopped_world(), values), Style("ascii"))


def asked_json(line):
    found = json.loads(asked(f"{line} --json"))
    validate(found)
    return found


def test_all_hits_are_read_before_some_are_chosen():
    found = asked_json(f"--where physical >= {START + 0x400:#x} --sort -physical --limit 3")
    last = START + 8 * (MARKS - 1)
    assert [hit["physical"] for hit in found["hits"]] == [last, last - 8, last - 16]
    assert asked("--where found == found --limit 3").startswith("Hits (3 of 200 that match, of 200)")
    assert [row["rows"] for row in asked_json("--group device")["rows"]] == [MARKS]


def test_without_a_question_the_limit_ends_the_search():
    command = search.COMMAND
    assert len(command.read(stopped_world(), {"value": MARK})) == 50


@pytest.mark.parametrize("most", [100, MARKS, MARKS + 1])
def test_where_the_reading_ended_is_said(monkeypatch, most):
    monkeypatch.setattr(search.COMMAND.form, "most", most)
    said = f"only the first {most} rows were read: there may be more"
    table = answers.table(search.COMMAND, stopped_world(), {"value": MARK, "sort": "-physical", "limit": 1})
    assert [row["physical"] for row in table] == [START + 8 * (min(most, MARKS) - 1)]
    for told in (asked("--sort -physical --limit 1"), "".join(table.notes)):
        assert (said in told) == (most <= MARKS)
    assert any(said in note for note in asked_json("--columns text")["notes"]) == (most <= MARKS)


def test_the_text_of_a_hit_is_shown():
    said = asked("--where true --limit 1")
    assert "text" in said.splitlines()[1].split()
