"""Evaluates the addresses that a user types, without letting an expression write or call anything."""

from __future__ import annotations

import re

import gdb

from gdbplugin.commands.parsing import LARGEST, number
from gdbplugin.debugger import sigint, stop
from gdbplugin.kernel.kernel import WrongWordError

# Compiled when first used: most commands are given without any address.
_MANY_DIGITS = r"(?<![\w$])[0-9][0-9a-zA-Z_]{40,}"
_TOO_LARGE = "has more than 64 bits"
# `==`, `!=`, `<=` and `>=` only compare.
_CHANGES = r"\+\+|--|(?<![=!<>])=(?!=)|<<=|>>="
_CALLS = r"(?<![\w$:])(?!sizeof\b|alignof\b|_Alignof\b|as\b)[A-Za-z_][\w:]*\s*\("
# An expression that could call a function contains one of these.
_MAY_CALL = frozenset("({\"'")
_LIES_IN_MEMORY = (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION, gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_FUNC)


def evaluate(text: str) -> int:
    """The value of a number, or of an expression that neither writes nor calls, as 64 bits.

    A function, a struct, a union or an array stands for its address. Raises `WrongWordError`, and
    `NoTargetError` for one that cannot be evaluated while the target runs.
    """
    found = number(text)
    if (found is not None and found > LARGEST) or re.search(_MANY_DIGITS, text):
        raise WrongWordError(text, _TOO_LARGE)  # Very many digits would make GDB abort.
    if found is not None:
        return found
    if re.search(_CHANGES, text) or re.search(_CALLS, text):
        raise WrongWordError(text, "would assign or call something, which is not allowed here")
    try:
        if _MAY_CALL.isdisjoint(text):
            return _value(text)
        # There are more ways to call a function than the text shows: through a pointer, a convenience
        # variable, or for a string. Ctrl-C in here would lose the user's own setting.
        with sigint.held(), gdb.with_parameter("may-call-functions", False):
            return _value(text)
    except (gdb.error, gdb.MemoryError, OverflowError, ValueError) as error:
        stop.require_not_running()
        raise WrongWordError(text, f"is not an address: {str(error).rstrip('.')}") from error


def _value(text: str) -> int:
    found = gdb.parse_and_eval(text)
    if found.type.strip_typedefs().code in _LIES_IN_MEMORY and found.address is not None:
        found = found.address
    return int(found) & LARGEST
