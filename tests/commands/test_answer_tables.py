"""Questions about the lists of commands, over the synthetic kernel: the tables that are shown."""

from __future__ import annotations

import json

import pytest

from gdbplugin.commands import answers
from gdbplugin.commands.descriptor import to_json
from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.query.fields import fields_of
from gdbplugin.recording.discipline import BrokenRule, Discipline, RecordedInstruction
from gdbplugin.render import Style
from tests.commands.asking import BY_WORD, LISTS, asked, asked_json, world
from tests.kernel.stopped import stopped_world

TITLES = {"context": "Spaces", "lazy": "Pages", "maps": "Mappings", "pressure": "Strategies"}


@pytest.mark.parametrize("line", LISTS)
def test_every_list_is_a_table_that_fits(line):
    columns = fields_of(BY_WORD[line.split()[0]].form.schema).columns
    for width in (40, 60, 80, 100, 200):
        text = asked(f"{line} --sort {columns[0].name}", Style("ascii", width=width))
        table = [row for row in text.splitlines() if row.startswith("  ")]
        names, rule = table[0].split(), table[1]
        assert set(rule) == {" ", "-"}
        if len(names) > 1:
            assert max(map(len, table)) <= max(width, 40)
        left_out = {field.name for field in columns} - set(names)
        assert (left_out != set()) == ("(too narrow for: " in text)


def test_a_table_has_units_names_and_a_title_that_counts():
    said = asked("stacks --where id == 1 --columns id,current_size,base_address,is_active,policy")
    assert said.splitlines()[:4] == [
        "Stacks (1 of 2)",
        "  id  current_size    base_address  is_active  policy",
        "  --  ------------  --------------  ---------  ------------",
        "   1          12 K  0x700000400000  yes        Conservative",
    ]
    assert asked("lazy --where owner == 1 --limit 1").splitlines()[0] == "Pages (1 of 5 that match, of 5)"
    assert asked("lazy --group state,owner").splitlines()[0] == "Pages by state, owner (5)"
    assert asked("lazy --limit 2 --sort state").splitlines()[0] == "Pages (2 of 5)"


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("events --group core", "Events by core (2)"),
        ("events 1 --group core", "Events by core (1 of 2)"),
        ("events 1 --group core --where core == 0", "Events by core (1 of 2 that match, of 2)"),
        ("lazy --group virtual_address --limit 2", "Pages by virtual_address (2 of 5 groups, of 5)"),
        ("lazy --group state --limit 3", "Pages by state (5)"),
        ("lazy --group state --where owner == 1", "Pages by state (5 of 5)"),
        (
            "lazy --group state --where state != 'zero' --limit 1",
            "Pages by state (1 of 2 groups, of 4 that match, of 5)",
        ),
    ],
)
def test_a_title_says_what_groups_leave_out(line, title):
    assert asked(line).splitlines()[0] == title


def test_the_columns_of_a_list_are_a_rows_own_fields_and_a_few_within_them():
    names = {
        word: [field.name for field in fields_of(BY_WORD[word].form.schema).columns]
        for word in ("search", "history", "lint")
    }
    assert names["search"] == [
        "found",
        "address",
        "physical",
        "text",
        "section",
        "field",
        "device",
        "alias_count",
    ]
    assert "event.kind" in names["history"]
    assert names["lint"] == ["rule", "section", "object", "found"]


def test_columns_without_a_value_are_left_out_first():
    command = BY_WORD["tasks"]
    question = answers.question(command, {"sort": "id"})
    shown = command.read(stopped_world(world()), {})
    plain = json.loads(to_json(command.form.schema, shown))
    for task in plain["tasks"]:
        task.update(state=None, function="f" * 3, line=1)
    wide = answers._text(question, question.answer(plain, shown.diagnostics), Style("ascii", width=150))
    assert "state" not in wide.splitlines()[1].split()
    assert "switch_count" in wide.splitlines()[1].split()


def test_what_is_asked_about_is_left_out_last():
    said = asked("lazy --where allocation_time >= 0 --sort access_count", Style("ascii", width=62))
    assert said.splitlines()[1].split() == ["virtual_address", "access_count", "allocation_time"]


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize(
    "line",
    [
        "lint --columns rule,object,found",
        "lint --columns object,rule",
        "lazy --columns virtual_address,physical_address,allocation_time,access_count,owner",
        "lazy --group virtual_address,physical_address,state --columns access_count",
    ],
)
def test_columns_that_are_asked_for_are_never_left_out(line, width):
    said = asked(line, Style("ascii", width=width))
    expected = asked_json(line)["columns"]
    assert f"\n  {expected[0]}" in said  # The title may take several lines.
    assert said.partition(f"\n  {expected[0]}")[2].split()[: len(expected) - 1] == expected[1:]
    assert "too narrow" not in said
    for row in asked_json(line)["rows"]:
        for value in row.values():
            assert all(word in said for word in str(value).split()) or isinstance(value, int)


def test_texts_become_several_lines_before_a_column_is_left_out():
    said = asked("check --where true", Style("ascii", width=80))
    assert said.splitlines()[1].split() == ["object", "expected", "found"]
    assert max(map(len, said.splitlines())) <= 80


def test_findings_are_rows_and_are_not_shown_twice():
    said = asked("check --where 'startswith(object, \"stack\")'")
    assert said.startswith("Findings (")
    assert "Findings:" not in said
    assert "Note: " in said
    assert "Findings: " in asked("stacks --sort id")


def test_what_lint_finds_is_called_findings_and_is_shown_once():
    said = asked("lint --where rule == 'wxn'")
    assert said.startswith("Findings (1 of 3)\n")
    assert "Findings:" not in said
    assert "expected" not in said
    assert asked("lint --group rule").startswith("Findings by rule (3)\n")
    assert asked_json("lint --columns rule")["list"] == "broken"


def test_what_breaks_the_rules_of_translation_is_shown_once():
    at = RecordedInstruction(1, 0, 0x80_0000, None, None, None)
    diagnostics = Diagnostics()
    diagnostics.add_finding("a page", "a DSB", "none")
    diagnostics.add_note("some records were overwritten")
    broken = (BrokenRule("a page", "a DSB", "none", at, at),)
    shown = Discipline(1, 0, 0, 1, broken, 9, 0, diagnostics=diagnostics)
    values = {"columns": "what,found"}
    said = answers.printed(answers.question(BY_WORD["tlb"], values), values, shown, Style("ascii"))
    assert said.splitlines() == [
        "Broken (1)",
        "  what    found",
        "  ------  -----",
        "  a page  none",
        "Note: some records were overwritten",
    ]


def test_a_text_of_the_target_cannot_control_the_terminal():
    bad = stopped_world(world())
    command = BY_WORD["tasks"]
    question = answers.question(command, {"columns": "name"})
    shown = command.read(bad, {})
    changed = json.loads(to_json(command.form.schema, shown))
    changed["tasks"][0]["name"] = "\033[2Jx\n"
    said = answers._text(question, question.answer(changed, shown.diagnostics), Style("ascii"))
    assert "\033" not in said
    assert ".[2Jx." in said


def test_a_long_table_says_how_to_see_the_rest(monkeypatch):
    monkeypatch.setattr(answers, "_ROWS_SHOWN", 2)
    said = asked("lazy --sort state")
    assert len([line for line in said.splitlines() if "0x2000" in line]) == 2
    assert "the first 2 are shown; narrow it with --where, or use --json or --csv for all" in said
