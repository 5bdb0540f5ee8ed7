"""What GDB itself knows: the program's symbols, its disassembly, and the values of expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence

import gdb

from gdbplugin.commands.parsing import LARGEST, number
from gdbplugin.debugger import current, sigint
from gdbplugin.debugger.text import printed
from gdbplugin.kernel.kernel import SelectionError

_ADDRESS = re.compile(r"is (?:at|a function at address|static storage at address) (0x[0-9a-f]+)")
_SECTION = re.compile(r"^\s*(0x[0-9a-f]+) - (0x[0-9a-f]+) is (\S+)$", re.MULTILINE)

_HASH = re.compile(r"::h[0-9a-f]{16}\b|(?<=\w)\[[0-9a-f]{8,16}\]")
"""rustc's hash that makes a symbol unique: after a function's path (legacy mangling) or a crate (v0)."""


class GdbSymbols:
    """The loaded program's symbols; satisfies `gdbplugin.kernel.target.Symbols`."""

    def address(self, name: str) -> int | None:
        """The address of a symbol; None if there is no such symbol."""
        try:
            said = printed(f"info address {name}")
        except gdb.error:
            return None  # GDB raises an error for an unknown name.
        found = _ADDRESS.search(said)
        return int(found[1], 16) if found else None

    def name(self, address: int) -> str | None:
        """The name of the symbol at an address, with `+ OFFSET`; None if there is none."""
        try:
            said = printed(f"info symbol {address:#x}")
        except gdb.error:
            return None
        if said.startswith("No symbol matches"):
            return None
        return _HASH.sub("", said.partition(" in section ")[0].strip())

    def sections(self) -> Sequence[tuple[int, int, str]]:
        """The program's sections: start, end (exclusive), name."""
        said = printed("info files")
        return [(int(start, 16), int(end, 16), name) for start, end, name in _SECTION.findall(said)]


def disassemble(core: int, address: int, word: int) -> str | None:
    """The disassembly of the instruction `word` at a virtual address, as a core sees memory.

    None if GDB reads nothing or another word there: the core may be in another address space by now.
    """
    try:
        with current.seen_from(core):
            inferior = gdb.selected_inferior()
            if int.from_bytes(bytes(inferior.read_memory(address, 4)), "little") != word:
                return None
            (found,) = inferior.architecture().disassemble(address, count=1)
    except (gdb.error, gdb.MemoryError):
        return None
    return str(found["asm"]).replace("\t", " ")


# Compiled at first use: most commands take no address.
_MANY_DIGITS = r"(?<![\w$])[0-9][0-9a-zA-Z_]{40,}"
_TOO_LARGE = "has more than 64 bits"
# Not `==`, `!=`, `<=` and `>=`, which only compare.
_CHANGES = r"\+\+|--|(?<![=!<>])=(?!=)|<<=|>>="
_CALLS = r"(?<![\w$:])(?!sizeof\b|alignof\b|_Alignof\b|as\b)[A-Za-z_][\w:]*\s*\("
# An expression that calls a function has one of these characters.
_MAY_CALL = frozenset("({\"'")
_LIES_IN_MEMORY = (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION, gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_FUNC)


def evaluate(text: str) -> int:
    """The value of a number, or of an expression that neither assigns nor calls, as 64 bits.

    For a function, struct, union or array it is the address. Raises `SelectionError`, or `NoTargetError` if
    the expression cannot be evaluated because the target is running.
    """
    found = number(text)
    if (found is not None and found > LARGEST) or re.search(_MANY_DIGITS, text):
        raise SelectionError(f'"{text}" {_TOO_LARGE}')  # Very many digits make GDB abort.
    if found is not None:
        return found
    if re.search(_CHANGES, text) or re.search(_CALLS, text):
        raise SelectionError(f'"{text}" would assign or call something, which is not allowed here')
    try:
        if _MAY_CALL.isdisjoint(text):
            return _value(text)
        # The text does not show every call: it may go through a pointer or a convenience variable, or
        # allocate a string. Ctrl-C inside would lose the user's own setting.
        with sigint.deferred(), gdb.with_parameter("may-call-functions", False):
            return _value(text)
    except (gdb.error, gdb.MemoryError, OverflowError, ValueError) as error:
        current.require_not_running()
        reason = str(error).rstrip(".")
        raise SelectionError(f'"{text}" is not an address: {reason}') from error


def _value(text: str) -> int:
    found = gdb.parse_and_eval(text)
    if found.type.strip_typedefs().code in _LIES_IN_MEMORY and found.address is not None:
        found = found.address
    return int(found) & LARGEST
