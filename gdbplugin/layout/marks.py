"""The kernel's marks for debuggers: where in its code something happens. Format: `kernel/src/marks.rs`."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from gdbplugin.layout.types import LayoutError

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


def read_marks(path: Path) -> tuple[Mark, ...]:
    """The marks of an ELF file; raises `LayoutError` where it has none, or cannot be read."""
    # Not at the top: this import alone takes as long as a command should.
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(_SECTION)
            data = b"" if section is None else section.data()
    except (OSError, ELFError) as error:
        raise LayoutError(f"cannot read the marks of {path}: {error}") from error
    if not data or len(data) % _ENTRY.size:
        raise LayoutError(f"{path} has no marks for debuggers (section {_SECTION}): build a newer kernel")
    return tuple(
        Mark(address, kind, _register(first), _register(second))
        for address, kind, first, second in _ENTRY.iter_unpack(data)
    )


def _register(name: bytes) -> str:
    return name.rstrip(b"\0").decode("ascii", errors="replace")
