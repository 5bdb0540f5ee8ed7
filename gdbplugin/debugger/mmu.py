"""The readers of the MMU's commands, with what GDB adds to them: the program's names, its disassembler."""

from __future__ import annotations

from typing import Any

from gdbplugin.debugger.disassembly import disassemble
from gdbplugin.debugger.symbols import GdbSymbols
from gdbplugin.kernel import fault, maps
from gdbplugin.kernel.stopped import Stopped


def read_maps(stopped: Stopped, **words: Any) -> maps.AddressMap:
    """See `gdbplugin.kernel.maps.read_maps`."""
    return maps.read_maps(stopped, GdbSymbols(), **words)


def read_fault(stopped: Stopped, **words: Any) -> fault.Fault:
    """See `gdbplugin.kernel.fault.read_fault`."""
    return fault.read_fault(stopped, GdbSymbols(), disassemble, **words)
