"""The stopped machine as a session sees it: memory from the guest's mapped RAM if there is one, else by GDB.

GDB is asked by the plugin's own MI command `-tinyos-machine`: so a stub's ways are dealt with in one place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gdbplugin.aarch64.description import REGISTERS
from gdbplugin.aarch64.regime import OF_TRANSLATION
from gdbplugin.machine import PhysicalReadError, UnreadableMemoryError
from gdbplugin.session import mi
from gdbplugin.session.errors import CommandFailedError, ReadFailedError
from gdbplugin.session.gdb import Gdb
from gdbplugin.session.ram import MappedRam

# A query costs more than a register: those mostly wanted together are asked for together, of all cores.
_OF_STATE = (
    *OF_TRANSLATION,
    "ID_AA64MMFR1_EL1",
    "TCR2_EL1",
    "CNTFRQ_EL0",
    "CNTVCT_EL0",
    "CNTV_CVAL_EL0",
    "SP_EL0",
)
_OTHERS = ("PC", *(name for name in REGISTERS if name not in _OF_STATE))


def ask(gdb: Gdb, question: str, *words: str) -> Any:
    """The plugin's answer to a question of `gdbplugin.debugger.machine_queries`. Raises a `SessionError`."""
    command = " ".join(["-tinyos-machine", question, *map(mi.quote, words)])
    try:
        return json.loads(gdb.ask(command).payload["json"])
    except CommandFailedError as error:
        raise ReadFailedError(error.reason) from error


class SessionMachine:
    """The machine GDB is stopped at; satisfies `gdbplugin.machine.Machine`. Valid for one stop."""

    def __init__(self, gdb: Gdb, ram: MappedRam | None) -> None:
        self._gdb = gdb
        self._ram = ram
        self._registers: dict[tuple[str, int], int | None] = {}
        found = ask(gdb, "state", *_OF_STATE)
        self._cores: tuple[int, ...] = tuple(found["cores"])
        self._keep(found["registers"])
        self.selected_core: int = found["selected"]
        """The core whose thread is selected in GDB."""

    @property
    def cores(self) -> Sequence[int]:
        """See `Machine`."""
        return self._cores

    def read_physical(self, address: int, length: int) -> bytes:
        """See `Machine`; also raises a `SessionError`."""
        if self._ram is not None and address >= 0 and address + length <= self._ram.size:
            return self._ram.read(address, length)
        found = ask(self._gdb, "physical", hex(address), str(length))
        if "contents" not in found:
            kind = UnreadableMemoryError if found["unreadable"] else PhysicalReadError
            raise kind(address, length, found["lack"])
        return bytes.fromhex(found["contents"])

    def register(self, name: str, core: int) -> int | None:
        """See `Machine`; also raises a `SessionError`."""
        if core not in self._cores:
            return None
        if (name, core) not in self._registers:
            together = _OTHERS if name in _OTHERS else (name,)
            self._keep(ask(self._gdb, "registers", *together))
        return self._registers[name, core]

    def _keep(self, values_by_core: list[dict[str, int | None]]) -> None:
        for core, values in zip(self._cores, values_by_core, strict=True):
            self._registers.update({(name, core): value for name, value in values.items()})


class SessionSymbols:
    """The names of the kernel's file, by GDB; satisfies `gdbplugin.kernel.target.Symbols`.

    They are the same at every stop: each is asked for once.
    """

    def __init__(self, gdb: Gdb) -> None:
        self._gdb = gdb
        self._addresses: dict[str, int | None] = {}
        self._names: dict[int, str | None] = {}

    def address(self, name: str) -> int | None:
        """See `Symbols`."""
        if name not in self._addresses:
            self._addresses.update(ask(self._gdb, "symbol-addresses", name))
        return self._addresses[name]

    def name(self, address: int) -> str | None:
        """See `Symbols`."""
        if address not in self._names:
            self._names[address] = ask(self._gdb, "symbol-name", hex(address))
        return self._names[address]

    def sections(self) -> Sequence[tuple[int, int, str]]:
        """See `Symbols`."""
        return [(start, end, name) for start, end, name in ask(self._gdb, "sections")]
