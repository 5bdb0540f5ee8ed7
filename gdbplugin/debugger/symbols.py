"""The names of the loaded program, as GDB knows them, and its disassembler; neither asks the target."""

from __future__ import annotations

import re
from collections.abc import Sequence

import gdb

from gdbplugin.debugger.text import printed

_ADDRESS = re.compile(r"is (?:at|a function at address|static storage at address) (0x[0-9a-f]+)")
_SECTION = re.compile(r"^\s*(0x[0-9a-f]+) - (0x[0-9a-f]+) is (\S+)$", re.MULTILINE)

_HASH = re.compile(r"::h[0-9a-f]{16}\b|(?<=\w)\[[0-9a-f]{8,16}\]")
"""What rustc adds to make a symbol unique: to a function's path (legacy mangling), to a crate's name (v0)."""


class GdbSymbols:
    """The loaded program's names; satisfies `gdbplugin.kernel.target.Symbols`."""

    def address(self, name: str) -> int | None:
        """See `Symbols`."""
        try:
            said = printed(f"info address {name}")
        except gdb.error:
            return None  # GDB raises for a name that it does not know.
        found = _ADDRESS.search(said)
        return int(found[1], 16) if found else None

    def name(self, address: int) -> str | None:
        """See `Symbols`."""
        try:
            said = printed(f"info symbol {address:#x}")
        except gdb.error:
            return None
        if said.startswith("No symbol matches"):
            return None
        return _HASH.sub("", said.partition(" in section ")[0].strip())

    def sections(self) -> Sequence[tuple[int, int, str]]:
        """See `Symbols`."""
        said = printed("info files")
        return [(int(start, 16), int(end, 16), name) for start, end, name in _SECTION.findall(said)]
