"""The readers of commands to which GDB adds something: the program's names, its disassembler.

Each imports what it needs: no command has a use for what the others read with.
"""

from __future__ import annotations

from gdbplugin.debugger.symbols import GdbSymbols

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.check_outcome import Check
    from gdbplugin.kernel.fault import Fault
    from gdbplugin.kernel.maps import AddressMap
    from gdbplugin.kernel.stopped import Stopped
    from gdbplugin.kernel.target import Kernel


def read_maps(stopped: Stopped, **words: Any) -> AddressMap:
    """See `gdbplugin.kernel.maps.read_maps`."""
    from gdbplugin.kernel import maps

    return maps.read_maps(stopped, GdbSymbols(), **words)


def read_check(kernel: Kernel) -> Check:
    """See `gdbplugin.kernel.check.read_check`."""
    from gdbplugin.kernel import check

    return check.read_check(kernel, GdbSymbols())


def read_fault(stopped: Stopped, **words: Any) -> Fault:
    """See `gdbplugin.kernel.fault.read_fault`."""
    from gdbplugin.debugger.disassembly import disassemble
    from gdbplugin.kernel import fault

    return fault.read_fault(stopped, GdbSymbols(), disassemble, **words)
