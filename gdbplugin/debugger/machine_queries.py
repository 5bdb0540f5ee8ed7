"""The queries of `-tinyos-machine`: the stopped machine and the program's symbols, for a session outside GDB.

The session makes a `gdbplugin.machine.Machine` of the answers. They are JSON: what cannot be read is `null`
or `lack` there; any other failure is an error of the command.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence

import gdb

from gdbplugin.debugger import current
from gdbplugin.debugger.symbols import GdbSymbols, disassemble, evaluate
from gdbplugin.debugger.text import failure, not_decoded
from gdbplugin.layout.types import LayoutError
from gdbplugin.machine import MachineError, PhysicalReadError, UnreadableMemoryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def answer(arguments: Sequence[str]) -> str:
    """The answer to a query as JSON text; its name is the first argument. Raises `gdb.GdbError`."""
    name, *rest = arguments or [""]
    query = _QUERIES.get(name)
    if query is None:
        raise failure(f'-tinyos-machine: no query "{name}" (known: {", ".join(_QUERIES)})')
    try:
        inspect.signature(query).bind(*rest)
    except TypeError as error:
        raise failure(f"-tinyos-machine {name}: {error}") from error
    try:
        return json.dumps(query(*rest))
    except (MachineError, LayoutError) as error:
        raise failure(str(error)) from error
    except UnicodeDecodeError as error:
        raise not_decoded(error) from error
    except (gdb.error, gdb.MemoryError, ValueError) as error:
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
    machine = current.machine()
    try:
        return {"contents": machine.read_physical(int(address, 0), int(length, 0)).hex()}
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


def _disassembled(core: str, address: str, word: str) -> str | None:
    """The disassembly of an instruction, as a core sees memory."""
    current.machine()
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
}
