"""Questions about rows: against a second implementation, and what is refused."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cmp_to_key

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.machine import SelectionError
from gdbplugin.query import fields
from gdbplugin.query.question import Question
from scripts.lib import schemas

SCHEMA = {
    "x-list": ["held", "things"],
    "x-count": ["matching"],
    "properties": {"held": {"anyOf": [{"$ref": "#/$defs/Held"}, {"type": "null"}]}, "matching": {}},
    "$defs": {
        "Held": {"properties": {"things": {"type": ["array", "null"], "items": {"$ref": "#/$defs/Thing"}}}},
        "Thing": {
            "properties": {
                "a": {"type": ["integer", "null"], "description": "A number."},
                "page_count": {"type": ["number", "null"]},
                "s": {"type": ["string", "null"]},
                "t": {"enum": ["red", "blue", None]},
                "f": {"type": ["boolean", "null"]},
                "n": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}]},
                "l": {"type": "array", "items": {"type": "integer"}},
                "m": {"type": "object", "additionalProperties": {"type": "string"}},
            }
        },
        "Inner": {
            "description": "Something inside.",
            "properties": {"x": {"type": "integer"}, "size": {"type": "integer"}},
        },
    },
}
FIELDS = fields.Fields(SCHEMA)


@pytest.fixture(autouse=True, scope="module")
def made_up():
    """The schema above has a name."""
    with pytest.MonkeyPatch.context() as patch:
        known = fields.fields_of
        found = {"tinyos.things/1": FIELDS}
        patch.setattr("gdbplugin.query.question.fields_of", lambda schema: found.get(schema) or known(schema))
        yield


def rows_of(rows, **words):
    """The answer's rows, for rows in an object."""
    asked = Question("tinyos.things/1", **words)
    return asked.answer({"held": {"things": rows}, "matching": 99}, Diagnostics())


def things():
    numbers = st.one_of(st.none(), st.integers(-3, 3))
    return st.lists(
        st.fixed_dictionaries(
            {
                "a": numbers,
                "page_count": st.one_of(numbers, st.just(0.5)),
                "s": st.sampled_from([None, "", "x", "Y", "é"]),
                "f": st.sampled_from([None, True, False]),
                "n": st.one_of(st.none(), st.fixed_dictionaries({"x": st.integers(0, 2), "size": numbers})),
            }
        ),
        max_size=8,
    )


def at(row, name):
    for step in name.split("."):
        row = None if row is None else row.get(step)
    return row


def compare(names):
    def decide(left, right):
        for name in names:
            a, b = at(left, name.removeprefix("-")), at(right, name.removeprefix("-"))
            if a == b:
                continue
            if a is None or b is None:  # Last, whichever way the order is.
                return 1 if a is None else -1
            return (1 if a > b else -1) * (-1 if name[0] == "-" else 1)
        return 0

    return cmp_to_key(decide)


NAMES = ("a", "s", "f", "n.x", "page_count")
some = st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3)
limits = st.one_of(st.none(), st.integers(0, 9))


@settings(max_examples=400, deadline=None)
@given(things(), some, st.data(), limits, limits)
def test_rows_are_chosen_sorted_and_limited_as_a_naive_program_does(rows, names, data, first, last):
    signed = [name if data.draw(st.booleans()) else f"-{name}" for name in names]
    chosen = data.draw(some)
    found = rows_of(
        rows,
        where="a != 1 and a < 3",
        sort=",".join(signed),
        columns=",".join(chosen),
        first=first,
        last=last,
    )
    expected = [row for row in rows if row["a"] is not None and row["a"] != 1 and row["a"] < 3]
    assert (found.total, found.matching) == (len(rows), len(expected))
    if last is not None:
        expected = expected[len(expected) - min(last, len(expected)) :]
    expected = sorted(expected, key=compare(signed))[:first]
    assert list(found) == [{name: at(row, name) for name in chosen} for row in expected]


@settings(max_examples=400, deadline=None)
@given(things(), some)
def test_groups_are_those_of_a_naive_program(rows, names):
    found = rows_of(rows, group=",".join(names))
    summed = [name for name in ("page_count",) if name not in names]
    by_key = defaultdict(list)
    for row in rows:
        by_key[tuple(repr(at(row, name)) for name in names)].append(row)
    expected = {}
    for key, members in by_key.items():
        sums = []
        for name in summed:
            values = [at(row, name) for row in members if at(row, name) is not None]
            sums.append(sum(values) if values else None)
        expected[key] = [len(members), *sums]
    assert found.columns == (*names, "rows", *summed)
    assert {
        tuple(repr(row[name]) for name in names): [row[name] for name in ("rows", *summed)] for row in found
    } == expected
    assert len(found) == len(expected)
    firsts = [row[names[0]] for row in found]
    present = [value for value in firsts if value is not None]
    assert present == sorted(present)
    assert firsts[len(present) :] == [None] * (len(firsts) - len(present))


def test_groups_are_sorted_by_their_own_columns():
    rows = [{"s": "x", "page_count": 1}, {"s": "Y", "page_count": 5}, {"s": "x", "page_count": 1}]
    found = rows_of(rows, group="s", sort="-rows", columns="page_count", first=1)
    assert list(found) == [{"s": "x", "rows": 2, "page_count": 2}]


def test_the_object_keeps_everything_but_its_list_and_count():
    shown = {"held": {"things": [{"a": 1}, {"a": 2}], "other": 5}, "matching": 2, "notes": []}
    asked = Question("tinyos.things/1", where="a == 2")
    changed = asked.changed(shown, asked.answer(shown, Diagnostics()))
    assert json.loads(json.dumps(changed)) == {
        "held": {"things": [{"a": 2}], "other": 5},
        "matching": 1,
        "notes": [],
    }
    assert len(shown["held"]["things"]) == 2


@pytest.mark.parametrize("held", [None, {"things": None}])
def test_a_list_that_the_kernel_does_not_have_stays_null(held):
    shown = {"held": held, "matching": None}
    asked = Question("tinyos.things/1", where="a == 2")
    answer = asked.answer(shown, Diagnostics())
    assert (len(answer), answer.total) == (0, 0)
    assert asked.changed(shown, answer) == shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            {"where": "page_cont > 1"},
            'at character 1 of the expression: no field "page_cont" (did you mean',
        ),
        ({"sort": "-page_conut"}, 'no field "page_conut" (did you mean page_count?)'),
        ({"columns": "a,zzz"}, 'no field "zzz" (known: a, page_count, s, t, f, n, n.x'),
        ({"columns": "a,,s"}, '"a,,s" has an empty name'),
        ({"columns": "a,a"}, "a is given twice"),
        ({"sort": "-"}, "has an empty name"),
        ({"sort": "l"}, "l is not one value"),
        ({"sort": "n"}, "n is not one value"),
        ({"group": "l"}, "l is not one value"),
        (
            {"group": "s", "sort": "a"},
            "groups have no a to be sorted by (known: s, rows, page_count)",
        ),
        ({"group": "s", "sort": "rowz"}, 'no field "rowz"'),
        ({"group": "s", "columns": "t"}, "t does not add up: with --group, --columns are sums of sizes"),
        ({"group": "s", "columns": "a"}, "sums of sizes and counts (known: page_count, n.size)"),
        ({"where": "t == 'green'"}, 't is never "green"'),
        ({"where": "n.y == 1"}, 'no field "n.y"'),
        ({"where": "s.upper == 1"}, 'no field "s.upper"'),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(words, said):
    with pytest.raises(SelectionError) as raised:
        Question("tinyos.things/1", **words)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_fields_are_typed_described_and_bounded():
    assert FIELDS.field("n.x").types == {"integer"}
    assert FIELDS.field("n").meaning == "Something inside."
    assert FIELDS.field("a").meaning == "A number."
    assert FIELDS.field("t").choices == ("red", "blue")
    assert FIELDS.field("m.EL0").types == {"string", "null"}
    assert [field.name for field in FIELDS.columns] == ["a", "page_count", "s", "t", "f", "n.x", "n.size"]
    assert [field.name for field in FIELDS.top] == ["a", "page_count", "s", "t", "f", "n", "l", "m"]


def test_an_object_within_itself_has_an_end():
    inner = {"properties": {"x": {"type": "integer"}, "n": {"$ref": "#/$defs/Inner"}}}
    row = {"type": "array", "items": {"$ref": "#/$defs/Inner"}}
    schema = {"x-list": ["rows"], "properties": {"rows": row}, "$defs": {"Inner": inner}}
    assert [field.name for field in fields.Fields(schema).columns] == [
        *("x", "n.x", "n.n.x", "n.n.n.x", "n.n.n.n.x"),
    ]


LISTS = [name for name, text in schemas.schemas().items() if fields.LIST in json.loads(text)]


@pytest.mark.parametrize("name", LISTS)
def test_the_fields_of_every_list_can_be_asked(name):
    schema = json.loads((schemas.DIRECTORY / name).read_text())["title"]
    known = fields.fields_of(schema)
    assert known.all
    for field in known.all:
        assert field.types, field.name
        assert field.meaning, field.name
    columns = ",".join(field.name for field in known.columns)
    Question(schema, where=" or ".join(f"{field.name} is null" for field in known.columns[:40]), sort=columns)
    Question(schema, group=known.columns[0].name)


@pytest.mark.parametrize("name", LISTS)
def test_a_field_is_shown_in_the_unit_that_its_meaning_says(name):
    schema = json.loads((schemas.DIRECTORY / name).read_text())["title"]
    for field in fields.fields_of(schema).all:
        said = field.meaning.lower()
        if not field.types & {"integer", "number"}:
            continue
        if said.startswith(("virtual address", "physical address", "address of", "first input address")):
            assert field.unit == "address", field
        if "in bytes" in said or said.startswith("bytes of"):
            assert field.unit == "bytes", field
        if field.unit == "count":
            assert not said.startswith(("number of its", "its number", "the id")), field
