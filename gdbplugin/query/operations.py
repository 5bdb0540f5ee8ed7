"""What the operators and functions of an expression do with values; `expression.py` parses them."""

from __future__ import annotations

import operator

from gdbplugin.machine import SelectionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Row = Mapping[str, Any]
    Evaluate = Callable[[Row], Any]

MOST_VALUES = 200
_MOST_BITS = 256


class ExpressionError(SelectionError):
    """An expression that is not one, or that a row has no value for. The message has the position."""


def error_at(position: int, reason: str) -> ExpressionError:
    """The error for a part of an expression; `position` counts from 0, the message from 1."""
    shown = "".join(letter if letter.isprintable() else " " for letter in reason)
    return ExpressionError(f"at character {position + 1} of the expression: {shown}")


def value_of(path: str) -> Evaluate:
    """A function that takes a field from a row; null where it, or what it is in, is not there."""
    name, *inner = path.split(".")
    if not inner:
        return lambda row: row.get(name)

    def found(row: Row) -> Any:
        value = row.get(name)
        for step in inner:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    return found


def by_name(name: str) -> Evaluate:
    """A function that takes a column from a row of a table; a dot in its name is part of it."""
    return lambda row: row[name]


def either(left: Evaluate, right: Evaluate) -> Evaluate:
    """`or`, as Python has it: the first value if it is true, else the second."""
    return lambda row: left(row) or right(row)


def both(left: Evaluate, right: Evaluate) -> Evaluate:
    """`and`, as Python has it."""
    return lambda row: left(row) and right(row)


def negated(inner: Evaluate) -> Evaluate:
    """`not`."""
    return lambda row: not inner(row)


def chained(first: Evaluate, parts: list[tuple[Callable[[Any, Any], Any], Evaluate]]) -> Evaluate:
    """`a < b <= c`: each part compares with the value before it."""
    if len(parts) == 1:
        ((compare, only),) = parts
        return lambda row: compare(first(row), only(row))

    def evaluate(row: Row) -> bool:
        left = first(row)
        for compare, right in parts:
            value = right(row)
            if not compare(left, value):
                return False
            left = value
        return True

    return evaluate


_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def comparer(word: str, position: int) -> Callable[[Any, Any], Any]:
    """A function that compares two values; its errors name the position."""
    if word in ("==", "!="):
        return operator.eq if word == "==" else operator.ne
    if word in ("in", "not in"):
        return _member(word == "in", position)
    order = _ORDERS[word]

    def compare(left: Any, right: Any) -> bool:
        if left is None or right is None:
            return False
        if isinstance(left, list | dict) or isinstance(left, str) is not isinstance(right, str):
            raise error_at(position, f"{_kind(left)} and {_kind(right)} have no order")
        try:
            return bool(order(left, right))
        except TypeError as error:
            raise error_at(position, f"{_kind(left)} and {_kind(right)} have no order") from error

    return compare


def _member(wanted: bool, position: int) -> Callable[[Any, Any], bool]:
    def compare(item: Any, whole: Any) -> bool:
        if whole is None or (isinstance(whole, str) and item is None):
            return not wanted
        if isinstance(whole, str) and not isinstance(item, str):
            raise error_at(position, f"{_kind(item)} cannot be in a text")
        if not isinstance(whole, str | list | dict):
            raise error_at(position, f"nothing is in {_kind(whole)}")
        return (item in list(whole) if isinstance(whole, dict) else item in whole) is wanted

    return compare


def calculated(
    operate: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate, sign: str, position: int
) -> Evaluate:
    """What an operator of two numbers makes of them; null if one is null, and for a division by zero."""

    def evaluate(row: Row) -> Any:
        a, b = left(row), right(row)
        if a is None or b is None:
            return None
        for value in (a, b):
            if not isinstance(value, int | float):
                raise error_at(position, f"{sign} takes numbers, not {_kind(value)}")
        try:
            found = operate(a, b)
        except ZeroDivisionError:
            return None
        except (TypeError, ValueError, OverflowError) as error:
            raise error_at(position, f"{a} {sign} {b} cannot be computed") from error
        if isinstance(found, int) and found.bit_length() > _MOST_BITS:
            raise error_at(position, f"the result has more than {_MOST_BITS} bits")
        return found

    return evaluate


def signed(sign: str, inner: Evaluate, position: int) -> Evaluate:
    """A number with `-`, `+` or `~` before it."""
    operators: dict[str, Callable[[Any], Any]] = {"-": operator.neg, "+": operator.pos, "~": operator.invert}

    def evaluate(row: Row) -> Any:
        value = inner(row)
        if value is None:
            return None
        if not isinstance(value, int | float) or (sign == "~" and isinstance(value, float)):
            raise error_at(position, f"{sign} takes a number, not {_kind(value)}")
        return operators[sign](int(value) if isinstance(value, bool) else value)

    return evaluate


def power(base: Any, exponent: Any) -> Any:
    """Only whole numbers, and none that is too large: then it is not computed at all."""
    if not isinstance(base, int) or not isinstance(exponent, int) or exponent < 0:
        raise ValueError
    if base not in (-1, 0, 1) and (base.bit_length() - 1) * exponent > _MOST_BITS:
        raise OverflowError
    return base**exponent


def _shifted(value: Any, by: Any) -> Any:
    """To the left; by so much that the result would be too large, it is not computed."""
    if by > _MOST_BITS:
        raise OverflowError
    return value << by


BINARY: tuple[dict[str, Callable[[Any, Any], Any]], ...] = (
    {"|": operator.or_},
    {"^": operator.xor},
    {"&": operator.and_},
    {"<<": _shifted, ">>": operator.rshift},
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv, "//": operator.floordiv, "%": operator.mod},
)


def called(name: str, arguments: Sequence[Evaluate], position: int) -> Evaluate:
    """A function of `FUNCTIONS`, called with values."""
    _, _, function = FUNCTIONS[name]

    def evaluate(row: Row) -> Any:
        values = [argument(row) for argument in arguments]
        if any(value is None for value in values):
            return None
        try:
            return function(*values)
        except (TypeError, AttributeError) as error:
            kinds = ", ".join(map(_kind, values))
            raise error_at(position, f"{name} does not take {kinds}") from error

    return evaluate


def _length(value: str | list[Any] | dict[str, Any]) -> int:
    return len(value)


FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "abs": (1, 1, abs),
    "endswith": (2, 2, str.endswith),
    "len": (1, 1, _length),
    "lower": (1, 1, str.lower),
    "max": (2, MOST_VALUES, lambda *values: max(values)),
    "min": (2, MOST_VALUES, lambda *values: min(values)),
    "startswith": (2, 2, str.startswith),
}
"""Name -> least and most number of values, and what is made of them. Any that is null makes it null."""


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "null" if value is None else "a list" if isinstance(value, list) else "an object"
