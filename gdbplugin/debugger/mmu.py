"""The readers of commands to which GDB adds something: the program's names, its disassembler."""

from __future__ import annotations

from gdbplugin.debugger.disassembly import disassemble
from gdbplugin.debugger.symbols import GdbSymbols
from gdbplugin.kernel import check, fault, maps
from gdbplugin.kernel.check_outcome import Check
from gdbplugin.kernel.stopped import Stopped
from gdbplugin.kernel.target import Kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read_maps(stopped: Stopped, **words: Any) -> maps.AddressMap:
    """See `gdbplugin.kernel.maps.read_maps`."""
    return maps.read_maps(stopped, GdbSymbols(), **words)


def read_check(kernel: Kernel) -> Check:
    """See `gdbplugin.kernel.check.read_check`."""
    return check.read_check(kernel, GdbSymbols())


def read_fault(stopped: Stopped, **words: Any) -> fault.Fault:
    """See `gdbplugin.kernel.fault.read_fault`."""
    return fault.read_fault(stopped, GdbSymbols(), disassemble, **words)
