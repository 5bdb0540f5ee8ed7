"""What the value of an option about a list can become. Pure: the fields come from the schema."""

from __future__ import annotations

import re

from gdbplugin.query.expression import OPERATORS, tokens
from gdbplugin.query.fields import Fields, fields_of
from gdbplugin.query.operations import FUNCTIONS, ExpressionError
from gdbplugin.query.question import ROWS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_AFTER_A_VALUE = ("and", "in", "not in", "or")
_SIGNS_OF_VALUES = (")", "]")


def names(schema: str, value: str, *, is_grouped: bool = False) -> list[str]:
    """The values that names of fields with commas between them can become, each as a whole."""
    before, comma, last = value.rpartition(",")
    sign = "-" if last.startswith("-") else ""
    given = {name.strip().removeprefix("-") for name in before.split(",")}
    known = [*([ROWS] if is_grouped else []), *(field.name for field in fields_of(schema).all)]
    head = before + comma + sign
    return [head + name for name in known if name.startswith(last[len(sign) :]) and name not in given]


def expressions(schema: str, value: str) -> list[str]:
    """The values that the beginning of an expression can become: its last word, or its last text."""
    fields = fields_of(schema)
    # A quote that begins it all is for the command line, not for the expression.
    outer = value[:1] if value[:1] in ("'", '"') and value.count(value[0]) == 1 else ""
    text = value[len(outer) :]
    text, word = _parted(text)
    offered = _offered(fields, text, word, "'" if outer == '"' else '"')
    return [outer + text + one for one in offered if one.startswith(word)]


def _parted(text: str) -> tuple[str, str]:
    """An expression's beginning, and the word or the open text at its end."""
    complete = re.match(r"(?:\"[^\"]*\"|'[^']*'|[^\"'])*", text)
    place = complete.end() if complete else 0
    if place < len(text):
        return text[:place], text[place:]
    word = re.search(r"[\w.]*\Z", text)
    start = word.start() if word else len(text)
    return text[:start], text[start:]


def _offered(fields: Fields, before: str, word: str, quote: str) -> Iterable[str]:
    """The words that can come after the beginning of an expression."""
    try:
        found = tokens(before)[:-1]
    except ExpressionError:
        return ()
    last = found[-1] if found else None
    quote = word[:1] if word[:1] in ("'", '"') else quote
    texts = [f"{quote}{choice}{quote}" for choice in _choices(fields, [one.text for one in found])]
    if word[:1] == quote:
        return texts
    is_value = last is not None and (
        last.kind in ("number", "string")
        or (last.kind == "name" and last.text not in OPERATORS)
        or last.text in _SIGNS_OF_VALUES
    )
    if is_value:
        return _AFTER_A_VALUE
    return [*texts, *(field.name for field in fields.all), *(f"{name}(" for name in FUNCTIONS), "not", "null"]


def _choices(fields: Fields, words: list[str]) -> tuple[str, ...]:
    """The texts that the field can be that is compared last: `state ==`, `state in (`."""
    while words and words[-1] not in ("==", "!=", "in"):
        if words[-1] not in ("(", "[", ",") and words[-1][:1] not in "\"'":
            return ()
        words = words[:-1]
    names = [word for word in words[:-1] if word != "not"]
    known = {field.name: field for field in fields.all}
    return known[names[-1]].choices if names and names[-1] in known else ()
