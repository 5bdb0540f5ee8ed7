"""The kernel's probes: places in its code where something happens. Format: `kernel/src/probes.rs`."""

from __future__ import annotations

import struct
from pathlib import Path

from gdbplugin.layout.elf import ElfError, read_sections
from gdbplugin.layout.types import LayoutError
from gdbplugin.records import dataclass

SWITCH = 0x100
"""The kind of a probe where TTBR0 was given another address space; other kinds are those of events."""

_SECTION = ".debugger_probes"
_ENTRY = struct.Struct("<QQ8s8s")


@dataclass(frozen=True)
class Probe:
    """A place in the code. `first` and `second` are the registers that hold its two figures there."""

    address: int
    kind: int
    first: str
    second: str


def read_probes(path: Path, debug: Path | None = None) -> tuple[Probe, ...]:
    """The probes of an ELF file, or of its separate debug file: tools move them there with the DWARF.

    Raises `LayoutError` where there are none, or where they cannot be read.
    """
    try:
        data = read_sections(path).text(_SECTION)
        if not data and debug is not None:
            data = read_sections(debug).text(_SECTION)
    except ElfError as error:
        raise LayoutError(f"cannot read the probes of {path}: {error}") from error
    if not data or len(data) % _ENTRY.size:
        raise LayoutError(f"{path} has no probes for debuggers (section {_SECTION}): build a newer kernel")
    return tuple(
        Probe(address, kind, _register(first), _register(second))
        for address, kind, first, second in _ENTRY.iter_unpack(data)
    )


def _register(name: bytes) -> str:
    return name.rstrip(b"\0").decode("ascii", errors="replace")
