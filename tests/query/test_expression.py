"""Expressions: against a second implementation, against Python itself, and hostile ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gdbplugin.query.expression import Expression
from gdbplugin.query.operations import FUNCTIONS, ExpressionError
from tests.query import naive

ROW = {"a": 3, "b": None, "s": "red", "t": "blue", "f": True, "n": {"x": 5, "s": "in"}, "l": [1, 2]}


def value(text, row=ROW):
    return Expression(text, naive.Known())(row)


def outcome(evaluate):
    """The value and its type, or that there is none."""
    try:
        found = evaluate()
    except (ExpressionError, naive.NaiveError, SyntaxError) as error:
        # `t` is never such a text: that is said before any row is seen.
        assume("is never" not in str(error))
        return "error", None
    return type(found), found


@settings(max_examples=1500, deadline=None)
@given(naive.expressions, naive.rows())
def test_an_expression_means_what_a_second_implementation_says(text, row):
    found = outcome(lambda: value(text, row))
    assert found == outcome(lambda: naive.value(text, row))


@settings(max_examples=500, deadline=None)
@given(naive.expressions, naive.rows(nulls=False))
def test_without_null_it_means_what_python_says(text, row):
    assume("None" not in text)
    names = {**row, "n": SimpleNamespace(**row["n"])}
    try:
        found = Expression(text, naive.Known())(row)
    except ExpressionError:
        assume(False)
    try:
        expected = eval(text, {"__builtins__": {}, "lower": str.lower, **_functions()}, names)
    except ZeroDivisionError:
        expected = found
    except TypeError:  # A list and a tuple have no order in Python; here both are lists.
        expected = found
    assert listed(found) == listed(expected)


def _functions():
    return {"len": len, "abs": abs, "min": min, "max": max}


def listed(found):
    return list(found) if isinstance(found, tuple) else found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a == 3 and s == 'red'", True),
        ("n.x > 4K", False),
        ("n.x << 10 == 5K", True),
        ("1M == 0x100000 and 1GiB == 1 << 30", True),
        ("0b101 + 0o17 + 1_000", 1020),
        ("b > 1 or b <= 1", False),
        ("b == null and b is None and a is not null", True),
        ("b + 1", None),
        ("a / 0", None),
        ("'e' in s and 2 in l and s not in ('blue', 'in')", True),
        ("startswith(n.s, 'i') and endswith(s, \"d\")", True),
        ("1 < a <= 3 < n.x", True),
        ("-2 ** 2", -4),
        ("2 ** 3 ** 2", 512),
        ("not not f", True),
        ("()", []),
        ("(1,)", [1]),
        (r"'it\'s' == \"it's\"".replace('\\"', '"'), True),
        ("max(a, n.x, 4) == 5 and min(a, b, 1) is null", True),
    ],
)
def test_what_expressions_mean(text, expected):
    assert value(text) == expected


HOSTILE = [
    ("__import__('os')", 1, 'no function "__import__"'),
    ("s.upper()", 1, 'no function "s.upper"'),
    ("a.__class__", 1, "no field a.__class__"),
    ("(1).__class__", 4, "'.' is not part of an expression"),
    ("a[0]", 2, "is one too many"),
    ("lambda: 1", 7, "':' is not part of an expression"),
    ("[a for a in l]", 4, '"]" is missing for the "[" at 1'),
    ("a := 1", 3, "':' is not part"),
    ("f'{a}'", 2, "is one too many"),
    ("a = 3", 3, "== compares"),
    ("a && f", 4, "stands where a field or a value is missing"),
    ("a || f", 4, "stands where"),
    ("!f", 1, "use `not`"),
    ("a ==", 5, "the expression ends where"),
    ("", 1, "the expression ends where"),
    ("'red", 1, "the text that begins here does not end"),
    (r"'\x41'", 2, "is not an escape"),
    ("4X", 1, "is not a number"),
    ("1__0", 1, "is not a number"),
    ("9" * 100, 1, "is not a number"),
    ("(a", 3, '")" is missing for the "(" at 1'),
    ("len()", 1, "len takes 1 values, not 0"),
    ("min(a)", 1, "min takes 2 or more values, not 1"),
    ("open(s)", 1, 'no function "open"'),
    ("t == 'green'", 6, 't is never "green", but "red" or "blue"'),
    ("t in ('red', 'gren')", 6, 't is never "gren"'),
    ("a < s", 3, "a number and a text have no order"),
    ("l < l", 3, "a list and a list have no order"),
    ("a + s", 3, "+ takes numbers, not a text"),
    ("s * 999999999", 3, "* takes numbers, not a text"),
    ("a in s", 3, "a number cannot be in a text"),
    ("a in a", 3, "nothing is in a number"),
    ("-s", 1, "- takes a number, not a text"),
    ("1 << 99999999999", 3, "cannot be computed"),
    ("9 ** 9 ** 9", 3, "cannot be computed"),
    ("9 ** 99999", 3, "cannot be computed"),
    ("2 ** 0.5", 3, "cannot be computed"),
    ("1 << -1", 3, "cannot be computed"),
    ("2 ** 200 * 2 ** 200", 10, "more than 256 bits"),
    ("lower(a)", 1, "lower does not take a number"),
    ("(" * 50 + "a" + ")" * 50, 31, "at most 30 levels can be nested"),
    ("2" + " ** 2" * 50, 148, "at most 30 levels can be nested"),
    ("a " * 500, 401, "at most 200 words and signs"),
    ("a" * 5000, 2001, "it may have 2,000 characters"),
    ("a == 1\0", 7, "is not part of an expression"),
]


@pytest.mark.parametrize(("text", "position", "said"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_refused_is_said_in_one_line_with_its_place(text, position, said):
    with pytest.raises(ExpressionError) as raised:
        value(text)
    message = str(raised.value)
    assert message.startswith(f"at character {position} of the expression: ")
    assert said in message
    assert "\n" not in message


@settings(max_examples=1000, deadline=None)
@given(st.text(st.sampled_from("ab sn.xlt'\"\\()[],+-*/<>=!&|~0123Kxandornti\n\0é"), max_size=40))
def test_any_text_has_a_value_or_one_line_that_refuses_it(text):
    refused = ""
    try:
        value(text)
    except ExpressionError as error:
        refused = str(error)
    assert "\n" not in refused
    assert refused == "" or refused.startswith("at character ")


LONG = ("a " + "+ a " * 99, "not " * 150 + "a", "-" * 150 + "a", "(" * 28 + "a" + ")" * 28)


@pytest.mark.parametrize("text", LONG, ids=range(len(LONG)))
def test_what_is_long_but_allowed_is_evaluated(text):
    value(text)


def test_the_functions_are_few_and_known():
    assert set(FUNCTIONS) == {"abs", "endswith", "len", "lower", "max", "min", "startswith"}


def test_an_expression_knows_what_it_names():
    assert Expression("a > 1 and n.x in l or null", naive.Known()).names == {"a", "n.x", "l"}
