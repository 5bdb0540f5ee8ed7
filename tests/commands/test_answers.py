"""Questions about the lists of commands, over the synthetic kernel: the rows, in JSON and CSV."""

from __future__ import annotations

import csv
import io
import json

import pytest

from gdbplugin.commands import COMMANDS, answers
from gdbplugin.commands.descriptor import to_json
from gdbplugin.kernel.lint_rules import RULES
from gdbplugin.machine import SelectionError
from gdbplugin.query.fields import fields_of
from tests.commands.asking import BY_WORD, LISTS, NEEDS, asked, asked_json, rows_in, world
from tests.kernel.stopped import stopped_world


@pytest.mark.parametrize("line", LISTS)
def test_an_expression_that_is_always_true_changes_nothing(line):
    plain, found = asked_json(line), asked_json(f"{line} --where 1 == 1")
    rows = rows_in(line, plain)
    if line != "events":  # It shows the newest ones unless it is asked about all.
        assert found == plain
    assert rows_in(line, found)[-len(rows) :] == rows
    assert rows


@pytest.mark.parametrize("line", LISTS)
def test_one_that_is_never_true_leaves_a_valid_object(line):
    found = asked_json(f"{line} --where 1 == 2")
    assert rows_in(line, found) == []
    title = asked(f"{line} --where 1 == 2").splitlines()[0]
    assert "(0 of " in title


@pytest.mark.parametrize("line", LISTS)
def test_csv_has_the_rows_of_json(line):
    fields = fields_of(BY_WORD[line.split()[0]].form.schema)
    names = ",".join(field.name for field in fields.all)
    expected = asked_json(f"{line} --columns {names}")["rows"]
    found = list(csv.DictReader(io.StringIO(asked(f"{line} --columns {names} --csv"))))
    assert len(found) == len(expected) > 0
    for row, one in zip(found, expected, strict=True):
        for name, value in one.items():
            if value is None or isinstance(value, str):
                assert row[name] == (value or "")
            else:
                assert json.loads(row[name]) == value
    assert asked(f"{line} --csv").splitlines()[0] == ",".join(field.name for field in fields.columns)


@pytest.mark.parametrize("line", LISTS)
def test_every_list_can_be_grouped(line):
    field = fields_of(BY_WORD[line.split()[0]].form.schema).columns[0].name
    found = asked_json(f"{line} --group {field}")
    assert found["schema"] == "tinyos.table/1"
    assert sum(row["rows"] for row in found["rows"]) == found["matching"] == found["total"] > 0
    assert found["columns"][:2] == [field, "rows"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lazy --where 'state == \"zero\"'", ["zero"]),
        ("lazy --where state != 'zero' and owner == 1 --limit 3", ["pending", "pending", "allocated"]),
        ("lazy --sort -state --limit 1", ["zero"]),
        ("lazy --state pending --where access_count > 0", ["pending"]),
    ],
)
def test_a_limit_counts_the_rows_that_match(line, expected):
    assert [page["state"] for page in asked_json(line)["pages"]] == expected


def test_the_count_of_an_object_is_that_of_the_rows_that_match():
    assert asked_json("lazy --where 'state == \"allocated\"' --limit 1")["matching"] == 2


def test_the_newest_events_that_match():
    assert [event["kind"] for event in asked_json("events 1 --where core == 0")["events"]] == ["StackGrowth"]
    assert [event["kind"] for event in asked_json("events 1 --where kind == 'TaskStarted'")["events"]] == [
        "TaskStarted"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lazy --group state --columns virtual_address", "virtual_address does not add up: with --group, "),
        ("stacks --group policy --columns id", "id does not add up"),
        (f"{NEEDS['search']} --group region.name --columns address", "address does not add up"),
    ],
)
def test_addresses_and_ids_are_not_summed(line, said):
    with pytest.raises(SelectionError) as caught:
        asked(line)
    assert said in str(caught.value)


def test_only_a_rows_own_fields_are_summed():
    found = fields_of("tinyos.search/1")
    line = f"{NEEDS['search']} --group section"
    assert asked_json(line)["columns"] == ["section", "rows", "alias_count"]
    nested = f"{line} --columns stack.current_size"
    assert found.field("stack.current_size").adds_up
    assert asked_json(nested)["columns"] == ["section", "rows", "stack.current_size"]


def test_a_mistyped_name_lists_a_few_fields():
    with pytest.raises(SelectionError) as caught:
        asked(f"{NEEDS['search']} --columns qqqq")
    said = str(caught.value)
    assert said.startswith('no field "qqqq" (known: found, address, physical, text, ')
    assert said.count(",") <= 12
    assert " more)" in said


def test_a_kernel_without_the_list_has_no_rows():
    bare = world()
    command = BY_WORD["context"]
    shown = command.read(stopped_world(bare), {})
    plain = json.loads(to_json(command.form.schema, shown))
    plain["context"]["spaces"] = None
    question = answers.question(command, {"where": "asid == 1"})
    answer = question.answer(plain, shown.diagnostics)
    assert (len(answer), answer.total) == (0, 0)
    assert json.loads(answers.as_json(question, plain, answer)) == plain


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("rule == 'wxm'", 'at character 9 of the expression: rule is never "wxm" (did you mean "wxn"?)'),
        ("rule in ('wxn', 'none')", 'rule is never "none", but "writable-executable", "el0-kernel", '),
    ],
)
def test_a_rule_that_there_is_not_is_an_error(expression, said):
    with pytest.raises(SelectionError) as caught:
        asked(f"lint --where {expression}")
    assert said in str(caught.value)


def test_the_rules_of_lint_are_those_of_its_schema():
    assert fields_of("tinyos.lint/1").field("rule").choices == tuple(rule.name for rule in RULES)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("events --where kind == 'StackGroth'", 'no row has kind "StackGroth" (did you mean "StackGrowth"?)'),
        ("tasks --where state != 'Sleping'", 'no row has state "Sleping"; the rows have "Ready"'),
        ("stacks --where 'Conserative' == policy", 'no row has policy "Conserative" (did you mean "Conserv'),
        ("stacks --where policy in ('Conservative', 'x')", 'no row has policy "x"; the rows have "Conserv'),
        ("stacks --where policy == 'Conservative'", ""),
        ("events --where 'Growth' in kind", ""),
        ("events --where kind == '\033'", ""),
    ],
)
def test_a_text_that_no_row_has_is_a_note(line, said):
    assert ("Note: no row has" in asked(line)) == bool(said)
    assert said in asked(line)
    for options in ("", " --columns core"):
        if "core" in options and "events" not in line:
            continue
        found = asked_json(line + options)
        assert any(note.startswith(said) for note in found["notes"]) or not said


@pytest.mark.parametrize("word", [command.word for command in COMMANDS if command.form.rows is not None])
def test_a_mistake_is_found_before_anything_is_read(word):
    command = BY_WORD[word]
    with pytest.raises(SelectionError, match='no field "nonsense"'):
        answers.question(command, {"columns": "nonsense"})
