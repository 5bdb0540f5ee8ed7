"""What `-tinyos-machine` answers: the machine as `gdbplugin.machine.Machine` has it, and the program's names.

A session outside GDB makes a `Machine` of these answers. Each is JSON; what cannot be read is a `null` or a
`lack` in it, and what went wrong otherwise an error of the command.
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
    """The JSON text for a question and its words; raises `gdb.GdbError`."""
    name, *rest = arguments or [""]
    question = _QUESTIONS.get(name)
    if question is None:
        raise failure(f'-tinyos-machine: there is no question "{name}"; they are: {", ".join(_QUESTIONS)}')
    try:
        inspect.signature(question).bind(*rest)
    except TypeError as error:
        raise failure(f"-tinyos-machine {name}: {error}") from error
    try:
        return json.dumps(question(*rest))
    except (MachineError, LayoutError) as error:
        raise failure(str(error)) from error
    except UnicodeDecodeError as error:
        raise not_decoded(error) from error
    except (gdb.error, gdb.MemoryError, ValueError) as error:
        raise failure(f"-tinyos-machine {name}: {error}") from error


def _state(*names: str) -> dict[str, Any]:
    """The numbers of the `cores`, the one `selected` in GDB, and the `registers` named, as `_registers`."""
    cores = list(current.machine().cores)
    return {"cores": cores, "selected": current.selected_core(), "registers": _registers(*names)}


def _registers(*names: str) -> list[dict[str, int | None]]:
    """The values of registers by name, core by core; null for one that is not available."""
    machine = current.machine()
    return [{name: machine.register(name, core) for name in names} for core in machine.cores]


def _physical(address: str, length: str) -> dict[str, str | bool]:
    """Physical memory as hexadecimal `contents`; or why there is a `lack`, `unreadable` if only here."""
    machine = current.machine()
    try:
        return {"contents": machine.read_physical(int(address, 0), int(length, 0)).hex()}
    except PhysicalReadError as error:
        return {"lack": error.reason, "unreadable": isinstance(error, UnreadableMemoryError)}


def _address(text: str) -> int:
    """The value of an expression of a user's, as the commands evaluate it."""
    return evaluate(text)


def _symbol_addresses(*names: str) -> dict[str, int | None]:
    """Where the program's symbols lie."""
    symbols = GdbSymbols()
    return {name: symbols.address(name) for name in names}


def _symbol_name(address: str) -> str | None:
    """What the program calls what lies at an address."""
    return GdbSymbols().name(int(address, 0))


def _sections() -> list[tuple[int, int, str]]:
    """The program's sections: start, exclusive end, name."""
    return [*GdbSymbols().sections()]


def _disassembled(core: str, address: str, word: str) -> str | None:
    """The text of an instruction, as seen from a core."""
    current.machine()
    return disassemble(int(core, 0), int(address, 0), int(word, 0))


_QUESTIONS: dict[str, Callable[..., Any]] = {
    "state": _state,
    "registers": _registers,
    "physical": _physical,
    "address": _address,
    "symbol-addresses": _symbol_addresses,
    "symbol-name": _symbol_name,
    "sections": _sections,
    "disassembled": _disassembled,
}
