"""The readers of the MMU's commands, with what GDB adds to them: the program's names."""

from __future__ import annotations

from typing import Any

from gdbplugin.debugger.symbols import GdbSymbols
from gdbplugin.kernel.maps import AddressMap
from gdbplugin.kernel.maps import read_maps as read
from gdbplugin.kernel.stopped import Stopped


def read_maps(stopped: Stopped, **words: Any) -> AddressMap:
    """See `gdbplugin.kernel.maps.read_maps`."""
    return read(stopped, GdbSymbols(), **words)
