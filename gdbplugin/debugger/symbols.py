"""What GDB knows of the program: symbols, disassembly, values of expressions; and -tinyos-machine.

`-tinyos-machine` answers the queries of a session outside GDB, which makes a `gdbplugin.machine.Machine` of
the answers. They are JSON: what cannot be read is `null` or `lack` there; any other failure is an error of
the command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import gdb

from gdbplugin.commands.parsing import LARGEST, number
from gdbplugin.debugger import current
from gdbplugin.debugger.guards import errors_in_one_line, failure, printed, sigint_deferred
from gdbplugin.machine import PhysicalReadError, SelectionError, UnreadableMemoryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_ADDRESS = re.compile(r"is (?:at|a function at address|static storage at address) (0x[0-9a-f]+)")
_SECTION = re.compile(r"^\s*(0x[0-9a-f]+) - (0x[0-9a-f]+) is (\S+)$", re.MULTILINE)

_CORE_SECTIONS = re.compile(r"(?ms)^Local core dump file:.*?(?=^Local exec file:|\Z)")
"""The part of GDB's list with what a dump has of memory."""
_MOST_BYTES = 1 << 28
"""Of one answer with physical memory, which is several times as long as text."""

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
        # Not by `gdb.format_address`: it depends on three settings, reads debug information and complains
        # about it, and calls Rust's trait functions `{impl#1}::fmt`.
        try:
            said = printed(f"info symbol {address:#x}")
        except gdb.error:
            return None
        if said.startswith("No symbol matches"):
            return None
        return _HASH.sub("", said.partition(" in section ")[0].strip())

    def sections(self) -> Sequence[tuple[int, int, str]]:
        """The program's sections: start, end (exclusive), name."""
        said = _CORE_SECTIONS.sub("", printed("info files"))
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
        with sigint_deferred(), gdb.with_parameter("may-call-functions", False):
            return _value(text)
    except (gdb.error, gdb.MemoryError, OverflowError, ValueError) as error:
        current.require_not_running()
        reason = str(error).rstrip(".")
        raise SelectionError(f'"{text}" is not an address: {reason}') from error


def _value(text: str) -> int:
    found = gdb.parse_and_eval(text)
    code = found.type.strip_typedefs().code
    if code in _LIES_IN_MEMORY and found.address is not None:
        return int(found.address) & LARGEST
    if code in _LIES_IN_MEMORY or not found.type.sizeof:
        raise ValueError("it has no address and no value")
    if code in (gdb.TYPE_CODE_FLT, gdb.TYPE_CODE_DECFLOAT):
        raise ValueError("it is a floating-point number")
    value = int(found)
    if not -(1 << 63) <= value <= LARGEST:
        raise SelectionError(f'"{text}" {_TOO_LARGE}')
    return value & LARGEST


def answer(arguments: Sequence[str]) -> str:
    """The answer to a query as JSON text; its name is the first argument. Raises `gdb.GdbError`."""
    import inspect  # These two take longer to import than most commands take.
    import json

    name, *rest = arguments or [""]
    query = _QUERIES.get(name)
    if query is None:
        raise failure(f'-tinyos-machine: no query "{name}" (known: {", ".join(_QUERIES)})')
    try:
        inspect.signature(query).bind(*rest)
    except TypeError as error:
        raise failure(f"-tinyos-machine {name}: {error}") from error
    with errors_in_one_line(), current.live_target_selected():
        try:
            return json.dumps(query(*rest))
        except ValueError as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            raise failure(f"-tinyos-machine {name}: {error}") from error


def _state(*names: str) -> dict[str, Any]:
    """The `cores`, the one `selected` in GDB, and the named `registers` as `_registers` gives them."""
    cores = list(current.machine().cores)
    return {"cores": cores, "selected": current.selected_core(), "registers": _registers(*names)}


def _registers(*names: str) -> list[dict[str, int | None]]:
    """The values of registers by name, for each core; null if not available."""
    machine = current.machine()
    return [{name: machine.register(name, core) for name in names} for core in machine.cores]


def _physical(address: str, length: str) -> dict[str, str | bool]:
    """Physical memory as hexadecimal `contents`, or the reason as `lack`; `unreadable` if only from here."""
    machine, size = current.machine(), int(length, 0)
    if not 0 <= size <= _MOST_BYTES:
        raise ValueError(f"a length is from 0 to {_MOST_BYTES:,} bytes, not {size:,}")
    try:
        return {"contents": machine.read_physical(int(address, 0), size).hex()}
    except PhysicalReadError as error:
        return {"lack": error.reason, "unreadable": isinstance(error, UnreadableMemoryError)}


def _address(text: str) -> int:
    """The value of a user's expression, as the commands evaluate it."""
    return evaluate(text)


def _symbol_addresses(*names: str) -> dict[str, int | None]:
    """The addresses of symbols by name; null for an unknown one."""
    symbols = GdbSymbols()
    return {name: symbols.address(name) for name in names}


def _symbol_name(address: str) -> str | None:
    """The name of the symbol at an address."""
    return GdbSymbols().name(int(address, 0))


def _sections() -> list[tuple[int, int, str]]:
    """The program's sections: start, end (exclusive), name."""
    return [*GdbSymbols().sections()]


def _memory_map() -> list[tuple[int, int, str, str]]:
    """QEMU's map of physical memory: start, end (exclusive), kind and name of each range."""
    current.machine()
    return [(*entry,) for entry in current.memory_map().ranges]


def _moved() -> None:
    """The session has brought the machine to another moment."""
    from gdbplugin.debugger import travel

    travel.moved()


def _disassembled(core: str, address: str, word: str) -> str | None:
    """The disassembly of an instruction, as a core sees memory."""
    cores = current.machine().cores
    if int(core, 0) not in cores:
        raise ValueError(f"no core {core} (known: {', '.join(map(str, cores))})")
    return disassemble(int(core, 0), int(address, 0), int(word, 0))


_QUERIES: dict[str, Callable[..., Any]] = {
    "state": _state,
    "registers": _registers,
    "physical": _physical,
    "address": _address,
    "symbol-addresses": _symbol_addresses,
    "symbol-name": _symbol_name,
    "sections": _sections,
    "disassembled": _disassembled,
    "moved": _moved,
    "memory-map": _memory_map,
}
