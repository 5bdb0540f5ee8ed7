"""Expressions, and what they mean: written a second time, on Python's own parser and without any care."""

from __future__ import annotations

import ast
import operator

from hypothesis import strategies as st

NUMBERS, TEXTS, FLAGS = ("a", "b", "n.x"), ("s", "t", "n.s"), ("f",)
FIELDS = (*NUMBERS, *TEXTS, *FLAGS)


class Known:
    """The fields of the rows below."""

    def require(self, name):
        from gdbplugin.machine import SelectionError

        if name not in (*FIELDS, "n", "l"):
            raise SelectionError(f"no field {name}")

    def choices(self, name):
        return ("red", "blue") if name == "t" else ()


def rows(*, nulls=True):
    """Rows with all kinds of values; each may be null."""

    def maybe(values):
        return st.one_of(st.none(), values) if nulls else values

    numbers = maybe(st.one_of(st.integers(-8, 8), st.integers(0, (1 << 64) - 1), st.sampled_from([0.5, 2.0])))
    texts = maybe(st.sampled_from(["", "red", "blue", "Red", "a b"]))
    return st.fixed_dictionaries(
        {
            **dict.fromkeys(("a", "b"), numbers),
            **dict.fromkeys(("s", "t"), texts),
            "f": maybe(st.booleans()),
            "n": maybe(st.fixed_dictionaries({"x": numbers, "s": texts})),
            "l": maybe(st.lists(st.integers(0, 5), max_size=3)),
        }
    )


_CONSTANTS = (
    *("0", "1", "2", "7", "0x10", "1.5", "None", "True"),
    *("'red'", '"blue"', "''", "(1, 2)", "['red', 's']"),
)
_SIGNS = (
    *("+", "-", "*", "/", "//", "%", "&", "|", "^", "<<", ">>", "**"),
    *("and", "or", "==", "!=", "<", "<=", ">", ">=", "in", "not in"),
)
_ONE = ("not {}", "-{}", "~{}", "({})", "len({})", "abs({})", "lower({})")
_TWO = ("min({}, {})", "max({}, {})", *(f"{{}} {sign} {{}}" for sign in _SIGNS))
_TWO_BRACKETED = tuple(f"({{}} {sign} {{}})" for sign in _SIGNS)
_THREE = ("{} < {} < {}", "{} <= {} != {}", "{} == {} < {}")


def _larger(inner):
    """Expressions made of smaller ones; not all are expressions to Python either."""

    def filled(patterns, count):
        return st.tuples(st.sampled_from(patterns), *[inner] * count).map(lambda one: one[0].format(*one[1:]))

    return st.one_of(filled(_ONE, 1), filled(_TWO, 2), filled(_TWO_BRACKETED, 2), filled(_THREE, 3))


def _expressions():
    return st.recursive(st.sampled_from((*_CONSTANTS, *FIELDS, "l")), _larger, max_leaves=8)


expressions = _expressions()


class NaiveError(Exception):
    """What the naive evaluation cannot do."""


_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.Pow: operator.pow,
}
_ORDERS = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}


def value(text, row):
    """What an expression makes of a row."""
    return _value(ast.parse(text, mode="eval").body, row)


def _value(node, row):
    match node:
        case ast.Constant(found):
            return found
        case ast.Name(name):
            return row[name]
        case ast.Attribute(inner, name):
            whole = _value(inner, row)
            return None if whole is None else whole[name]
        case ast.Tuple(parts) | ast.List(parts):
            return [_value(part, row) for part in parts]
        case ast.BoolOp(joined, parts):
            for part in parts:
                found = _value(part, row)
                if bool(found) is isinstance(joined, ast.Or):
                    break
            return found
        case ast.UnaryOp(ast.Not(), inner):
            return not _value(inner, row)
        case ast.UnaryOp(sign, inner):
            found = _number(_value(inner, row))
            if found is None:
                return None
            if isinstance(sign, ast.Invert):
                if isinstance(found, float):
                    raise NaiveError
                return -int(found) - 1
            return -found if isinstance(sign, ast.USub) else +found
        case ast.BinOp(left, sign, right):
            return _binary(sign, _value(left, row), _value(right, row))
        case ast.Compare(left, signs, others):
            before = _value(left, row)
            for sign, other in zip(signs, others, strict=True):
                after = _value(other, row)
                if not _compared(sign, before, after):
                    return False
                before = after
            return True
        case ast.Call(ast.Name(name), arguments):
            return _called(name, [_value(argument, row) for argument in arguments])
    raise AssertionError(ast.dump(node))


def _number(found):
    if found is not None and not isinstance(found, int | float):
        raise NaiveError
    return found


def _binary(sign, left, right):
    if left is None or right is None:
        return None
    _number(left), _number(right)
    if isinstance(sign, ast.LShift) and right > 256:
        raise NaiveError
    if isinstance(sign, ast.Pow):
        if isinstance(left, float) or isinstance(right, float) or right < 0:
            raise NaiveError
        if abs(left) > 1 and right > 256:
            raise NaiveError
    try:
        found = _OPERATORS[type(sign)](left, right)
    except ZeroDivisionError:
        return None
    except (TypeError, ValueError, OverflowError) as error:
        raise NaiveError from error
    if isinstance(found, int) and abs(found) >= 1 << 256:
        raise NaiveError
    return found


def _compared(sign, left, right):
    match sign:
        case ast.Eq():
            return left == right
        case ast.NotEq():
            return left != right
        case ast.In() | ast.NotIn():
            wanted = isinstance(sign, ast.In)
            if right is None or (left is None and isinstance(right, str)):
                return not wanted
            if not isinstance(right, str | list | dict):
                raise NaiveError
            if isinstance(right, str) and not isinstance(left, str):
                raise NaiveError
            return (left in list(right) if not isinstance(right, str) else left in right) is wanted
    if left is None or right is None:
        return False
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        raise NaiveError
    if isinstance(left, str) != isinstance(right, str):
        raise NaiveError
    return _ORDERS[type(sign)](left, right)


def _called(name, given):
    if any(one is None for one in given):
        return None
    try:
        return {"len": len, "abs": abs, "lower": str.lower, "min": min, "max": max}[name](*given)
    except TypeError as error:
        raise NaiveError from error
