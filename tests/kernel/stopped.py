"""Target machines for the tests of the commands on the MMU: TinyOS made of bytes, and bare ones."""

from __future__ import annotations

from gdbplugin.kernel.diagnostics import Diagnostics
from gdbplugin.kernel.target import Target
from gdbplugin.machine import BytesMachine, MachineError
from tests.kernel.synthetic import World


def not_tinyos():
    raise MachineError("this is not TinyOS")


def stopped_world(world=None, core=0):
    """A small TinyOS; core 0's TTBR0 is task 1's."""
    kernel = (world or World()).kernel()
    return Target(kernel.machine, core, kernel.diagnostics, lambda: kernel)


def stopped_machine(machine, core=0):
    """A machine on which something else runs."""
    return Target(machine, core, Diagnostics(), not_tinyos)


def bare(registers, memory=None, cores=1):
    """A machine of these registers on each core."""
    return stopped_machine(BytesMachine(memory or {}, {core: dict(registers) for core in range(cores)}))


class Names:
    """A program with a few names; satisfies `gdbplugin.kernel.target.Symbols`."""

    def __init__(self, symbols=None, sections=()):
        self.symbols = symbols or {}
        self._sections = sections

    def address(self, name):
        return self.symbols.get(name)

    def name(self, address):
        below = [(where, name) for name, where in self.symbols.items() if where <= address < where + 0x1000]
        return f"{max(below)[1]} + {address - max(below)[0]}" if below else None

    def sections(self):
        return self._sections
