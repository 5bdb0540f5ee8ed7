"""What commands read inside GDB: the stopped machine, and GDB's symbols, expressions and disassembler."""

from __future__ import annotations

from gdbplugin.debugger import current
from gdbplugin.kernel.journal import Journal
from gdbplugin.kernel.kernel import Kernel
from gdbplugin.kernel.target import Symbols, Target
from gdbplugin.machine import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gdbplugin.kernel.kernel_test import KernelTest


class GdbTarget(Target):
    """GDB's selected target, for one command; `quiet` if its output is for a program.

    Its first use raises `NoTargetError` if nothing is stopped.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        journal = Journal()
        super().__init__(None, None, journal, lambda: find_kernel(current.machine(), journal))
        self._quiet = quiet

    @property
    def machine(self) -> Machine:
        """The stopped machine."""
        return current.machine()

    @property
    def core(self) -> int:
        """The core of the selected thread."""
        current.machine()
        return current.selected_core()

    @property
    def symbols(self) -> Symbols:
        """The symbols of the loaded program."""
        from gdbplugin.debugger.symbols import GdbSymbols

        return GdbSymbols()

    def disassemble(self, core: int, address: int, word: int) -> str | None:
        """The disassembly of the instruction `word` at a virtual address."""
        from gdbplugin.debugger.symbols import disassemble

        return disassemble(core, address, word)

    def run_test(self, test: KernelTest) -> Any:
        """Make the target run one of the kernel's own tests."""
        from gdbplugin.debugger import request

        return request.run(test, self.journal, self._quiet)

    def last_test(self, test: KernelTest) -> Any:
        """What the last run of a test on this connection changed."""
        from gdbplugin.debugger import request

        return request.latest(test)

    def _evaluate(self, expression: str) -> int:
        from gdbplugin.debugger.symbols import evaluate

        return evaluate(expression)


def find_kernel(machine: Machine, journal: Journal) -> Kernel:
    """TinyOS on the stopped machine; raises a `MachineError` if another program is loaded."""
    return Kernel(machine, current.layout(machine), journal, current.history(), current.decoded())
