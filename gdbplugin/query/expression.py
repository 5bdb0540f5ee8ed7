"""The expressions of `--where`: parsed and evaluated here, so that nothing of Python's can be reached.

The grammar is a part of Python's: comparisons, which may be chained, `in`, `and`, `or`, `not`, arithmetic,
bits, and some functions. A field is a name, with dots for one within another. A number may have a unit, as
`64K`. The values are those of JSON. What a field lacks is `null` (or `None`): arithmetic with it gives null,
and no order holds for it, so that such a row does not match. So is a division by zero.

Bounded: the text, the nesting, and the size of every number. An error names the character, from 1.
"""

from __future__ import annotations

import re

from gdbplugin.machine import SelectionError
from gdbplugin.query.operations import (
    BINARY,
    FUNCTIONS,
    MOST_VALUES,
    both,
    calculated,
    called,
    chained,
    comparer,
    either,
    error_at,
    negated,
    power,
    signed,
    value_of,
)
from gdbplugin.records import NamedTuple, Protocol
from gdbplugin.words import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from gdbplugin.query.operations import Evaluate, Row

_MOST_NESTED = 30
_LONGEST = 2000
_LONGEST_NUMBER = 80
_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>[0-9][0-9A-Za-z_]*(?:\.[0-9]\w*)?)
    |(?P<name>[A-Za-z_]\w*(?:\.\w+)*)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<sign>\*\*|//|<<|>>|<=|>=|==|!=|[-+*/%&|^~<>()\[\],])
    )""",
    re.VERBOSE | re.ASCII,
)
_INTEGER = re.compile(r"0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9_]*")
_SIZE = re.compile(r"([0-9]+)([KMGT])(?:iB)?")
_FLOAT = re.compile(r"[0-9]+\.[0-9]+(?:[eE][0-9]+)?")
_ESCAPED = re.compile(r"\\(.)")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
OPERATORS = ("and", "or", "not", "in", "is")
"""The words that are operators, and so no value."""


class Known(Protocol):
    """The fields that an expression may name."""

    def require(self, name: str) -> object:
        """Raise a `SelectionError` if there is no such field."""

    def choices(self, name: str) -> Sequence[str]:
        """The only texts that a field can be; empty if it can be others."""


class _Token(NamedTuple):
    """A part of the text: its kind, and where it stands."""

    kind: str
    text: str
    position: int


class _Node(NamedTuple):
    """A part of an expression: how it is evaluated, where it stands, and its name if it is a field."""

    evaluate: Evaluate
    position: int
    field: str = ""
    constants: tuple[Any, ...] | None = None


class Expression:
    """An expression over the fields of a row. Raises `ExpressionError` if the text is not one."""

    def __init__(self, text: str, known: Known) -> None:
        parser = _Parser(tokens(text), known)
        self._evaluate = parser.whole()
        self.names = frozenset(parser.names)
        """The fields that it names."""
        self.compared = tuple(dict.fromkeys(parser.compared))
        """Fields, each with a text that it is compared with, of which it is not known what they can be."""

    def __call__(self, row: Row) -> Any:
        """Its value for a row. Raises `ExpressionError` where the values of the row do not fit."""
        return self._evaluate(row)


def tokens(text: str) -> list[_Token]:
    """The parts of an expression, and one of kind `end`."""
    found, place, end = [], 0, len(text.rstrip())
    if end > _LONGEST:
        raise error_at(_LONGEST, f"it may have {_LONGEST:,} characters")
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            start = place + len(text[place:]) - len(text[place:].lstrip())
            raise error_at(start, f"{text[start]!r} is not part of an expression{_hint(text, start)}")
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind)))
        place = match.end()
        if len(found) > MOST_VALUES:
            raise error_at(match.start(kind), f"an expression has at most {MOST_VALUES} words and signs")
    return [*found, _Token("end", "", end)]


def _hint(text: str, place: int) -> str:
    if text[place] == "=":
        return ": == compares"
    if text[place] in "\"'":
        return ": the text that begins here does not end"
    words = {"&": "and", "|": "or", "!": "not"}
    return f": use `{words[text[place]]}`" if text[place] in words else ""


class _Parser:
    """Parses tokens, the operator that binds least first."""

    def __init__(self, found: list[_Token], known: Known) -> None:
        self._tokens = found
        self._known = known
        self.names: set[str] = set()
        self.compared: list[tuple[str, str]] = []
        self._place = 0
        self._depth = 0

    def whole(self) -> Evaluate:
        """All of it."""
        found = self._either()
        if self._next.kind != "end":
            raise error_at(
                self._next.position,
                f'"{self._next.text}" is one too many, or an operator before it is missing',
            )
        return found.evaluate

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self, *texts: str) -> _Token | None:
        """The next token if it is one of these signs or words; None, and nothing taken, if not."""
        token = self._next
        if token.kind in ("sign", "name") and token.text in texts:
            self._place += 1
            return token
        return None

    def _require(self, text: str, opened: _Token) -> None:
        if self._take(text) is None:
            raise error_at(
                self._next.position, f'"{text}" is missing for the "{opened.text}" at {opened.position + 1}'
            )

    def _either(self) -> _Node:
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise error_at(self._next.position, f"at most {_MOST_NESTED} levels can be nested")
        left = self._both()
        while self._take("or"):
            left = _Node(either(left.evaluate, self._both().evaluate), left.position)
        self._depth -= 1
        return left

    def _both(self) -> _Node:
        left = self._not()
        while self._take("and"):
            left = _Node(both(left.evaluate, self._not().evaluate), left.position)
        return left

    def _not(self) -> _Node:
        negations, first = 0, self._next.position
        while self._take("not"):
            negations += 1
        found = self._comparison()
        for _ in range(min(negations, 2 - negations % 2)):  # Two still make a truth value.
            found = _Node(negated(found.evaluate), first)
        return found

    def _comparison(self) -> _Node:
        left = first = self._binary(0)
        parts: list[tuple[Callable[[Any, Any], Any], Evaluate]] = []
        while True:
            position = self._next.position
            word = self._comparing()
            if not word:
                break
            right = self._binary(0)
            self._compare_text(word, left, right)
            parts.append((comparer(word, position), right.evaluate))
            left = right
        return _Node(chained(first.evaluate, parts), first.position) if parts else first

    def _comparing(self) -> str:
        """The comparison that comes next; empty if none does."""
        if found := self._take("==", "!=", "<", "<=", ">", ">=", "in"):
            return found.text
        if self._take("is"):
            return "!=" if self._take("not") else "=="
        if self._next.text == "not" and self._tokens[self._place + 1].text == "in":
            self._place += 2
            return "not in"
        return ""

    def _compare_text(self, word: str, left: _Node, right: _Node) -> None:
        """Raise an error if a field is compared with a text that it can never be: mostly a mistyped one.

        Where it is not known what a field can be, keep the text, to be looked for in the rows.
        """
        if word not in ("==", "!=", "in", "not in"):
            return
        pairs = [(left, right)] if "in" in word else [(left, right), (right, left)]
        for field, text in [(one.field, text) for one, other in pairs for text in other.constants or ()]:
            if not field or not isinstance(text, str):
                continue
            choices = self._known.choices(field)
            if not choices:
                self.compared.append((field, text))
            elif text not in choices:
                position = right.position if left.field == field else left.position
                said = nearest(text, choices, '"') or f", but {_listed(choices)}"
                raise error_at(position, f'{field} is never "{text}"{said}')

    def _binary(self, level: int) -> _Node:
        """Operators of two numbers that bind as `level` of `BINARY` or more."""
        if level == len(BINARY):
            return self._unary()
        left = self._binary(level + 1)
        while sign := self._take(*BINARY[level]):
            right = self._binary(level + 1)
            operate = BINARY[level][sign.text]
            left = _Node(
                calculated(operate, left.evaluate, right.evaluate, sign.text, sign.position), left.position
            )
        return left

    def _unary(self) -> _Node:
        signs: list[_Token] = []
        while sign := self._take("-", "+", "~"):
            signs.append(sign)
        found = self._power()
        for sign in reversed(signs):
            found = _Node(signed(sign.text, found.evaluate, sign.position), sign.position)
        return found

    def _power(self) -> _Node:
        base = self._atom()
        sign = self._take("**")
        if sign is None:
            return base
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise error_at(sign.position, f"at most {_MOST_NESTED} levels can be nested")
        exponent = self._unary()
        self._depth -= 1
        return _Node(
            calculated(power, base.evaluate, exponent.evaluate, sign.text, sign.position), base.position
        )

    def _atom(self) -> _Node:
        token = self._next
        self._place += 1
        if token.kind == "number":
            return _constant(_number(token), token)
        if token.kind == "string":
            return _constant(_text(token), token)
        if token.text == "(":
            return self._bracketed(token)
        if token.text == "[":
            return self._list(token, "]")
        if token.kind == "name" and token.text not in OPERATORS:
            return self._named(token)
        said = "the expression ends" if token.kind == "end" else f'"{token.text}" stands'
        raise error_at(token.position, f"{said} where a field or a value is missing")

    def _named(self, token: _Token) -> _Node:
        """A word of the language, a function with its arguments, or a field."""
        if self._next.text == "(" and self._next.kind == "sign":
            return self._call(token)
        if token.text in _WORDS:
            return _constant(_WORDS[token.text], token)
        try:
            self._known.require(token.text)
        except SelectionError as error:
            raise error_at(token.position, str(error)) from error
        self.names.add(token.text)
        return _Node(value_of(token.text), token.position, token.text)

    def _call(self, name: _Token) -> _Node:
        if name.text not in FUNCTIONS:
            raise error_at(name.position, f'no function "{name.text}" (known: {", ".join(FUNCTIONS)})')
        least, most, _ = FUNCTIONS[name.text]
        opened = self._next
        self._place += 1
        given = self._items(opened, ")")
        if not least <= len(given) <= most:
            count = str(least) if least == most else f"{least} or more"
            raise error_at(name.position, f"{name.text} takes {count} values, not {len(given)}")
        return _Node(called(name.text, [one.evaluate for one in given], name.position), name.position)

    def _bracketed(self, opened: _Token) -> _Node:
        """What stands in round brackets: one expression, or a list if there is a comma."""
        if self._next.text == ")":
            return self._list(opened, ")")
        first = self._either()
        if self._take(")"):
            return first
        if not self._take(","):
            self._require(")", opened)
        return self._list(opened, ")", first)

    def _list(self, opened: _Token, closing: str, *first: _Node) -> _Node:
        parts = [*first, *self._items(opened, closing)]
        evaluate = [part.evaluate for part in parts]
        known = tuple(value for part in parts for value in part.constants or ())
        return _Node(lambda row: [one(row) for one in evaluate], opened.position, "", known)

    def _items(self, opened: _Token, closing: str) -> list[_Node]:
        """Expressions with commas between them; one may stand before the closing bracket too."""
        found = []
        while not self._take(closing):
            found.append(self._either())
            if not self._take(","):
                self._require(closing, opened)
                break
        return found


def _constant(value: Any, token: _Token) -> _Node:
    return _Node(lambda _: value, token.position, "", (value,))


def _number(token: _Token) -> int | float:
    text = token.text
    if len(text) <= _LONGEST_NUMBER:
        if found := _SIZE.fullmatch(text):
            return int(found[1]) << _UNITS[found[2]]
        if _FLOAT.fullmatch(text):
            return float(text)
        if _INTEGER.fullmatch(text) and not text.endswith("_") and "__" not in text:
            return int(text, 0 if text[1:2].isalpha() else 10)
    raise error_at(
        token.position, f'"{text}" is not a number: give 12, 0x1f, 0b101, 1.5 or a size such as 64K'
    )


def _text(token: _Token) -> str:
    for escape in _ESCAPED.finditer(token.text[1:-1]):
        if escape[1] not in "\\\"'":
            raise error_at(
                token.position + 1 + escape.start(), f"{escape[0]} is not an escape: \\\\, \\\" and \\' are"
            )
    return _ESCAPED.sub(r"\1", token.text[1:-1])


def _listed(choices: Sequence[str]) -> str:
    quoted = [f'"{choice}"' for choice in choices]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
