"""The kernel's marks for debuggers: where in its code something happens. Format: `kernel/src/marks.rs`."""

from __future__ import annotations

import struct
from pathlib import Path

from gdbplugin.layout.elf import ElfError
from gdbplugin.layout.sections import read_sections
from gdbplugin.layout.types import LayoutError
from gdbplugin.records import dataclass

SWITCH = 0x100
"""The kind of a mark where another address space was put into TTBR0; other kinds are those of events."""

_SECTION = ".debugger_marks"
_ENTRY = struct.Struct("<QQ8s8s")


@dataclass(frozen=True)
class Mark:
    """A place in the code. `first` and `second` are the registers that hold its two figures there."""

    address: int
    kind: int
    first: str
    second: str


def read_marks(path: Path, debug: Path | None = None) -> tuple[Mark, ...]:
    """The marks of an ELF file, or of its separate debug file, into which tools move them with the DWARF.

    Raises `LayoutError` where there are none, or where they cannot be read.
    """
    try:
        data = read_sections(path).text(_SECTION)
        if not data and debug is not None:
            data = read_sections(debug).text(_SECTION)
    except ElfError as error:
        raise LayoutError(f"cannot read the marks of {path}: {error}") from error
    if not data or len(data) % _ENTRY.size:
        raise LayoutError(f"{path} has no marks for debuggers (section {_SECTION}): build a newer kernel")
    return tuple(
        Mark(address, kind, _register(first), _register(second))
        for address, kind, first, second in _ENTRY.iter_unpack(data)
    )


def _register(name: bytes) -> str:
    return name.rstrip(b"\0").decode("ascii", errors="replace")
